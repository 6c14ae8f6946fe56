import type { Job } from '../kernel/context.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import { type JobMembers, mapWorkloadClaims, providerOf } from '../oauth/workload_claims.ts';

const TEXTS = [
  'provider',
  'repository',
  'repository_id',
  'workflow',
  'ref',
  'environment',
  'event',
  'run_id',
  'actor',
  'runner',
] as const;

const MAX_TEXT_LENGTH = 1024;

/**
 * Reads the `job` claim that an authorization server puts into the access token of a job: an object with any of the members of `Job`, in
 * which `claims` holds the claims of the workload-identity token it verified. Members that are left out are filled from those claims by the
 * names of the provider (`provider`, else the `iss` among the claims). A member of another type than `Job` gives it is a failure, so that
 * nothing misread reaches a policy; members that `Job` does not have join `claims`. Null when the claim is absent: claims of the same
 * names at the top level of a token are not taken for a job, since nobody says what they mean there.
 */
export function readJob(job: unknown): Parsed<Job | null> {
  if (job === undefined) return parsed(null);
  if (!isJsonObject(job)) return unparsed('job is not an object');
  const claims = claimsOf(job);
  if (claims === null) return unparsed('the claims of job are not an object');
  const stated: Partial<Record<(typeof TEXTS)[number], string | null>> = {};
  for (const name of TEXTS) {
    const value = job[name] ?? null;
    const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
    if (text !== null && !isText(text)) return unparsed('job has a member that is not a text');
    stated[name] = text;
  }
  const refProtected = readFlag(job['ref_protected'] ?? null);
  if (refProtected === undefined) return unparsed('ref_protected of job is not a truth value');
  const provider = stated.provider ?? providerOf(claims);
  const mapped: JobMembers = mapWorkloadClaims(provider, claims);
  return parsed({
    provider,
    repository: stated.repository ?? mapped.repository,
    repository_id: stated.repository_id ?? mapped.repository_id,
    workflow: stated.workflow ?? mapped.workflow,
    ref: stated.ref ?? mapped.ref,
    ref_protected: refProtected ?? mapped.ref_protected,
    environment: stated.environment ?? mapped.environment,
    event: stated.event ?? mapped.event,
    run_id: stated.run_id ?? mapped.run_id,
    actor: stated.actor ?? mapped.actor,
    runner: stated.runner ?? mapped.runner,
    claims,
  });
}

const NORMALISED: ReadonlySet<string> = new Set([...TEXTS, 'ref_protected', 'claims']);

function claimsOf(job: JsonObject): JsonObject | null {
  const { claims } = job;
  if (claims !== undefined && !isJsonObject(claims)) return null;
  const others = Object.entries(job).filter(([name]) => !NORMALISED.has(name));
  return Object.fromEntries([...others, ...Object.entries(claims ?? {})]);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT_LENGTH;
}

/** Providers spell truth values as texts too. Undefined: neither. */
function readFlag(value: unknown): boolean | null | undefined {
  if (value === null || typeof value === 'boolean') return value;
  return value === 'true' ? true : value === 'false' ? false : undefined;
}
