import type { Confirmation, VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';

/** What is known of the key of a job. */
export type KeyStanding = 'live' | 'ended' | 'unavailable';

/** Who knows which jobs have ended, by the thumbprint of their key. */
export interface JobKeys {
  judge(thumbprint: string): MaybePromise<KeyStanding>;
}

/**
 * Whether the job of a token is still running: the keys that the token is bound to are not among those of ended jobs. A token that is bound
 * to no key belongs to no job that could end. Refuses with `token.job_ended` and `token.ended_jobs_unavailable`.
 */
export function checkJobRuns(token: VerifiedToken, keys: JobKeys): MaybePromise<Checked<VerifiedToken>> {
  const { jkt, x5tS256 } = token.confirmation;
  const thumbprint = jkt ?? x5tS256;
  if (thumbprint === undefined) return pass(token);
  // Where both are there, both must be of a running job.
  if (jkt !== undefined && x5tS256 !== undefined) return judgeBoth(token, keys);
  const standing = keys.judge(thumbprint);
  return standing instanceof Promise ? standing.then((late) => conclude(token, late)) : conclude(token, standing);
}

/** The thumbprints that a token is bound to. */
export function thumbprintsOf({ jkt, x5tS256 }: Confirmation): string[] {
  return [jkt, x5tS256].filter((thumbprint) => thumbprint !== undefined);
}

async function judgeBoth(token: VerifiedToken, keys: JobKeys): Promise<Checked<VerifiedToken>> {
  const standings = await Promise.all(thumbprintsOf(token.confirmation).map((thumbprint) => keys.judge(thumbprint)));
  if (standings.includes('ended')) return deny('token.job_ended');
  return conclude(token, standings.includes('unavailable') ? 'unavailable' : 'live');
}

function conclude(token: VerifiedToken, standing: KeyStanding): Checked<VerifiedToken> {
  if (standing === 'live') return pass(token);
  return deny(standing === 'ended' ? 'token.job_ended' : 'token.ended_jobs_unavailable');
}
