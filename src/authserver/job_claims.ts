import { type JobClaimName, type JobClaims, jobClaims } from '../config/authserver_clients.ts';
import type { Job } from '../kernel/context.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';

/** What one client's tokens may say of the job. */
export interface JobRules {
  /** The same in every token. */
  readonly claims: JobClaims;
  /** What the client may state itself. */
  readonly from_assertion: readonly JobClaimName[];
}

/** `job` of a token: what is stated, and the claims of the workload identity token where there was one. */
export type TokenJob = JobClaims & { readonly claims?: Readonly<Record<string, unknown>> };

/**
 * The `job` claim of a token: what a workload identity token says, what is fixed for the client, and what its assertion states and it may
 * state. The assertion is signed with the client's own key, so a claim in it is the client's word and no more: without leave, or against what
 * is fixed or verified, it refuses instead of being dropped, since a policy could read a missing claim in a way nobody meant.
 * @returns undefined when there is nothing to say
 */
export function jobOf(rules: JobRules, stated: unknown, verified: Job | null = null): Parsed<TokenJob | undefined> {
  const said = jobClaims.safeParse(stated ?? {});
  if (!said.success) return unparsed('job in the client assertion has an unknown or invalid member');
  for (const [name, value] of Object.entries(said.data)) {
    const allowed = rules.from_assertion.includes(name as JobClaimName) || rules.claims[name as JobClaimName] === value;
    if (!allowed) return unparsed(`the client may not state job.${name}`);
  }
  const own: Readonly<Record<string, unknown>> = { ...rules.claims, ...said.data };
  const known: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(verified ?? {})) if (value !== null) known[name] = value;
  for (const [name, value] of Object.entries(own)) {
    if (Object.hasOwn(known, name) && known[name] !== value)
      return unparsed(`job.${name} is another than the workload identity token says`);
  }
  const job = { ...own, ...known } as TokenJob;
  return parsed(Object.keys(job).length === 0 ? undefined : job);
}
