import type { Contender } from './contenders/contender.ts';
import { usageOf, usedBetween } from './cpu.ts';
import { sendAll } from './load.ts';
import { BAD_KINDS, type Caller, makeRequests } from './requests.ts';

/** What one batch cost one contender. */
export interface Sample {
  /** Microseconds of CPU of the contender's own processes for each request. */
  readonly cpuUs: number;
  /** Microseconds of CPU of its Redis for each request. */
  readonly redisUs: number;
  readonly perSecond: number;
  readonly rssBytes: number;
}

/** Sends a batch and takes down what it cost. @throws Error when an answer has another status than expected */
export async function measure(
  contender: Contender,
  requests: readonly Buffer[],
  { connections, status }: { connections: number; status: number },
): Promise<Sample> {
  const own = usageOf(contender.program.pid);
  const redis = contender.redis === null ? null : usageOf(contender.redis.pid);
  const result = await sendAll(requests, { port: contender.program.port, connections, tls: contender.tls });
  const after = usageOf(contender.program.pid);
  const redisAfter = contender.redis === null ? null : usageOf(contender.redis.pid);
  expectOnly(contender, result.statuses, status);
  const count = requests.length;
  return {
    cpuUs: usedBetween(own, after) / count,
    redisUs: redis === null || redisAfter === null ? 0 : usedBetween(redis, redisAfter) / count,
    perSecond: count / result.seconds,
    rssBytes: after.rssBytes,
  };
}

function expectOnly({ name }: Contender, statuses: ReadonlyMap<number, number>, expected: number): void {
  if (statuses.size === 1 && statuses.has(expected)) return;
  throw new Error(`${name}: expected ${expected} only, got ${JSON.stringify([...statuses])}`);
}

const TRIES = 20;

/**
 * Sends requests that were answered before, and ones that are wrong, to a contender that says it checks.
 * @throws Error when one of them is let through: then no number of this run means anything
 */
export async function expectRefusals(contender: Contender, caller: Caller, used: readonly Buffer[]): Promise<void> {
  const { checks, program, name, tls } = contender;
  const attempts: [string, readonly Buffer[]][] = checks.replay ? [['replayed', used.slice(0, TRIES)]] : [];
  if (checks.proof) for (const kind of BAD_KINDS) attempts.push([kind, await makeRequests(caller, kind, TRIES)]);
  if (checks.token) attempts.push(['no_credentials', await makeRequests(caller, 'no_credentials', TRIES)]);
  // Good requests, but from a caller without the certificate that the token is bound to.
  if (caller.certificateBound) attempts.push(['without certificate', used.slice(0, TRIES)]);
  for (const [kind, requests] of attempts) {
    const how = kind === 'without certificate' && tls !== undefined ? { ca: tls.ca } : tls;
    // One connection each: some contenders close it with a refusal.
    for (const request of requests) {
      const { statuses } = await sendAll([request], { port: program.port, connections: 1, tls: how });
      const through = [...statuses.keys()].some((status) => status < 400);
      if (through) throw new Error(`${name} let a request through that is ${kind}`);
    }
  }
}
