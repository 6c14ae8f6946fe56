import type { EndedKeys } from '../ended_jobs/ended_keys.ts';
import type { PolicyHolder } from './policy_holder.ts';
import type { Shadow } from './shadow.ts';
import type { Services } from './stages.ts';

/** Whether requests can be served, and what says so. */
export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly ReadinessCheck[];
}

/** One thing that must work. */
export interface ReadinessCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail?: string;
}

/** What readiness depends on beside the services. */
export interface Circumstances {
  readonly policy: PolicyHolder;
  readonly shadow: Shadow | null;
  /** Requests under way are finished, new ones should go elsewhere. */
  readonly stopping: boolean;
}

/** A policy that could not be replaced does not make the gateway unready: the one before it decides; the detail says so. */
export function policyCheck(policy: PolicyHolder): ReadinessCheck {
  const { revision, pendingFailure } = policy.status();
  const detail = pendingFailure === null ? revision : `${revision} (a newer one was refused: ${pendingFailure})`;
  return { name: 'policy', ok: true, detail };
}

/** A candidate decides nothing, so nothing about it makes the gateway unready; the detail says how it is. */
export function shadowCheck(shadow: Shadow): ReadinessCheck {
  const { revision, pendingFailure } = shadow.status();
  const known = revision ?? 'none yet';
  const detail = pendingFailure === null ? known : `${known} (a newer one was refused: ${pendingFailure})`;
  return { name: 'shadow', ok: true, detail };
}

/** The list of ended jobs, where there is one. */
export function endedJobsChecks(endedKeys: EndedKeys | null): ReadinessCheck[] {
  if (endedKeys === null) return [];
  const { healthy, detail } = endedKeys.health();
  return [{ name: 'ended_jobs', ok: healthy, detail }];
}

/** What the services say of themselves. */
export function readinessOf(
  { tokens, stores, endedKeys, auditor }: Services,
  { policy, shadow, stopping }: Circumstances,
): Readiness {
  const { ready, issuers } = tokens.health();
  const replay = [...stores].map(([kind, store]) => ({ kind, ...store.health() }));
  const checks: ReadinessCheck[] = [
    { name: 'issuers', ok: ready, detail: issuers.map(({ issuer, state }) => `${issuer}: ${state}`).join('; ') },
    {
      name: 'replay_store',
      ok: replay.every(({ healthy }) => healthy),
      detail: replay.map(({ kind, detail }) => (replay.length === 1 ? detail : `${kind}: ${detail}`)).join('; '),
    },
    ...endedJobsChecks(endedKeys),
    policyCheck(policy),
    ...(shadow === null ? [] : [shadowCheck(shadow)]),
    { name: 'records', ok: auditor.available() },
    { name: 'running', ok: !stopping, ...(stopping && { detail: 'stopping' }) },
  ];
  return { ready: checks.every(({ ok }) => ok), checks };
}
