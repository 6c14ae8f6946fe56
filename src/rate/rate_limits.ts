import { createHash } from 'node:crypto';
import type { RateClassConfig } from '../config/schema.ts';
import type { AuthorizedRequest, RateClassUse } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';

/** Gives back what a request was admitted with; may be called at any time after its end, and more than once. */
export type Release = () => void;

/** How one class counts: in memory or in Redis. Rejects when it cannot be asked. */
export interface RateCounter {
  /** Counts one request. @returns 0, or milliseconds until the next would be admitted */
  count(key: string): MaybePromise<number>;
  /** Takes one of the places for requests at the same time; null: none is free. */
  hold(key: string): MaybePromise<Release | null>;
}

/** What requests are counted by. */
export interface RateLimits {
  /**
   * Admits an authorized request to the rate classes that its policy demands. Refuses with `rate.exceeded`, `rate.too_many_at_once`,
   * `rate.store_unavailable`, and `policy.unknown_obligation` for a class that is not configured.
   */
  admit(authorized: AuthorizedRequest): MaybePromise<Checked<Release>>;
  close(): Promise<void>;
}

/** What rate limits are made of. */
export interface RateLimitsParts {
  readonly classes: Readonly<Record<string, RateClassConfig>>;
  /** Makes the counter of a class. */
  counterOf(name: string, rate: RateClassConfig): RateCounter;
  close(): Promise<void>;
}

/** Seconds after which a request may be tried again where no place was free: nobody knows when one will be. */
const PLACE_RETRY_SECONDS = 1;
const NOTHING_HELD = pass<Release>(() => undefined);

/** Makes the rate limits of a gateway. */
export function createRateLimits({ classes, counterOf, close }: RateLimitsParts): RateLimits {
  const counters = new Map<string, RateCounter>();
  for (const [name, rate] of Object.entries(classes)) counters.set(name, counterOf(name, rate));
  return {
    admit(authorized) {
      const uses = authorized.decision.obligations.rateClasses;
      return uses.length === 0 ? NOTHING_HELD : admitAll(counters, authorized, uses);
    },
    close,
  };
}

/** All classes, one after the other; what was held is given back when a later one refuses. */
async function admitAll(
  counters: ReadonlyMap<string, RateCounter>,
  authorized: AuthorizedRequest,
  uses: readonly RateClassUse[],
): Promise<Checked<Release>> {
  const held: Release[] = [];
  const release: Release = () => {
    for (const give of held.splice(0)) give();
  };
  for (const use of uses) {
    const counter = counters.get(use.name);
    const refused =
      counter === undefined
        ? deny('policy.unknown_obligation', 'a rate class that is not configured')
        : await admitOne(counter, keyOf(authorized, use), held);
    if (refused !== null) {
      release();
      return refused;
    }
  }
  return pass(release);
}

/** A place first: a request that finds none is not counted. */
async function admitOne(counter: RateCounter, key: string, held: Release[]) {
  try {
    const place = await counter.hold(key);
    if (place === null) return deny('rate.too_many_at_once', { retryAfterSeconds: PLACE_RETRY_SECONDS });
    held.push(place);
    const waitMs = await counter.count(key);
    return waitMs === 0 ? null : deny('rate.exceeded', { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) });
  } catch (error) {
    return deny('rate.store_unavailable', (error as Error).message);
  }
}

/** Of the policy's key, else of the job; a digest, so that keys have one length and hold nothing readable. */
function keyOf({ token }: AuthorizedRequest, { key }: RateClassUse): string {
  const parts = key === null ? ['job', token.issuer, ...jobParts(token)] : ['key', key];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}

/** A job is one run; a token that names no run stands for its client. */
function jobParts({ job, clientId }: AuthorizedRequest['token']): (string | null)[] {
  if (job === null || job.run_id === null) return [clientId];
  return [job.provider, job.repository_id ?? job.repository, job.run_id];
}
