import { isJsonObject } from '../oauth/strict_json.ts';
import type { UsedIdentity } from './used_identities.ts';

/** One job: a key, and whose it is. All times in milliseconds since the Unix epoch. Holds no token. */
export interface BrokerJob {
  readonly id: string;
  /** Of the key that its tokens are bound to. */
  readonly thumbprint: string;
  readonly issuer: string;
  readonly subject: string;
  readonly runId: string | null;
  readonly repository: string | null;
  workflow: string;
  readonly startedAt: number;
  /** When it ends by itself. */
  readonly deadline: number;
  /** When its last token expires; 0 when it has none. */
  tokensUntil: number;
  endedAt: number | null;
}

/** What the file of jobs holds. */
export interface JobsFile {
  readonly jobs: readonly BrokerJob[];
  readonly used: readonly (readonly [string, UsedIdentity])[];
}

/** Reads what was kept. @throws Error when it is not what this program wrote: a job that is misread could not be ended */
export function readJobsFile(kept: unknown, file: string): JobsFile {
  const { version, jobs, used } = isJsonObject(kept) ? kept : {};
  const good =
    version === 1 && Array.isArray(jobs) && jobs.every(isJob) && Array.isArray(used) && used.every(isUsedIdentity);
  if (good) return { jobs, used };
  throw new Error(
    `${file}: not what this program wrote; restore it, or move it away to start without it (running jobs cannot be ended then)`,
  );
}

function isJob(value: unknown): value is BrokerJob {
  if (!isJsonObject(value)) return false;
  const { endedAt } = value;
  return (
    ['id', 'thumbprint', 'issuer', 'subject', 'workflow'].every((name) => typeof value[name] === 'string') &&
    ['runId', 'repository'].every((name) => value[name] === null || typeof value[name] === 'string') &&
    ['startedAt', 'deadline', 'tokensUntil'].every((name) => Number.isFinite(value[name])) &&
    (endedAt === null || Number.isFinite(endedAt))
  );
}

function isUsedIdentity(value: unknown): value is [string, UsedIdentity] {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [id, use] = value as [unknown, unknown];
  return (
    typeof id === 'string' &&
    isJsonObject(use) &&
    Number.isFinite(use['until']) &&
    ['thumbprint', 'run', 'workflow'].every((name) => typeof use[name] === 'string')
  );
}
