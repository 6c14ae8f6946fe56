import type { Job } from '../kernel/context.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { plainClaim } from '../oauth/workload_claims.ts';

/** Which workload identity tokens speak for a client: their issuer, and what they must say, each with the values that are taken. */
export interface WorkloadRule {
  readonly issuer: string;
  readonly claims: Readonly<Record<string, readonly string[]>>;
  /** Members of the job, which are named alike for every CI system. */
  readonly job: Readonly<Record<string, readonly string[]>>;
}

/** What a rule is held against. */
export interface Speaker {
  readonly issuer: string;
  readonly claims: JsonObject;
  readonly job: Job;
}

/** Whether a token speaks for whoever the rule is for. A claim that is missing, or no single value, holds no condition. */
export function fits(rule: WorkloadRule, { issuer, claims, job }: Speaker): boolean {
  return rule.issuer === issuer && holds(rule.claims, claims) && holds(rule.job, job as unknown as JsonObject);
}

function holds(conditions: WorkloadRule['claims'], values: JsonObject): boolean {
  return Object.entries(conditions).every(([name, allowed]) => {
    const value = plainClaim(values, name);
    return value !== null && allowed.includes(value);
  });
}
