import type { Denial } from './denial.ts';

/** The outcome of a check: a value, or the denial that ends the request. Refusing is a value here, never an exception. */
export type Checked<T> = Passed<T> | Denied;

/** A check that passed, with what it established. */
export interface Passed<T> {
  readonly ok: true;
  readonly value: T;
}

/** A check that refused. */
export interface Denied {
  readonly ok: false;
  readonly denial: Denial;
}

/** What a check may return when it sometimes has to wait. */
export type MaybePromise<T> = T | Promise<T>;

/** Wraps the value that a check established. */
export function pass<T>(value: T): Passed<T> {
  return { ok: true, value };
}
