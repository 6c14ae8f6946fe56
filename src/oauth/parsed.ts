/** The outcome of reading input that was not checked before: a value, or why not. The stage that asked turns `problem` into a reason. */
export type Parsed<T> = ParsedValue<T> | ParseFailure;

/** Input that was read. */
export interface ParsedValue<T> {
  readonly ok: true;
  readonly value: T;
}

/** Input that was refused. */
export interface ParseFailure {
  readonly ok: false;
  /** A short fixed text, never built from the input: it may stand in a record. */
  readonly problem: string;
}

/** Wraps what was read. */
export function parsed<T>(value: T): ParsedValue<T> {
  return { ok: true, value };
}

/** Refuses input with a fixed text. */
export function unparsed(problem: string): ParseFailure {
  return { ok: false, problem };
}
