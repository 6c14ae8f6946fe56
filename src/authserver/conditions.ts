import type { WorkloadConfig } from '../config/authserver_clients.ts';
import { lists } from './clients.ts';

/** Which workload identity tokens are meant: their issuer, and what they must say, as the configuration has it. */
export interface ConditionedBy {
  readonly issuer: string;
  /** Members of the job, and claims as `claims.NAME`; each with the values that are taken. */
  readonly conditions: Readonly<Record<string, readonly string[]>>;
}

/** The conditions of a workload in one list. */
export function conditionsOf({ issuer, claims, job }: WorkloadConfig): ConditionedBy {
  const ofClaims = Object.entries(lists(claims)).map(([name, values]) => [`claims.${name}`, values] as const);
  return { issuer, conditions: { ...lists(job), ...Object.fromEntries(ofClaims) } };
}

/** The same for people. */
export function printConditions({ issuer, conditions }: ConditionedBy): string {
  const said = Object.entries(conditions).map(([name, values]) => `${name} ${values.join(' or ')}`);
  return [`issuer ${issuer}`, ...said].join(', ');
}
