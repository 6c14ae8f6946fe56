import type { Clock } from '../kernel/clock.ts';
import type { Job } from '../kernel/context.ts';
import { allowedAlgorithms, type SignatureAlgorithm } from './algorithms.ts';
import { Jwks, type JwksHealth } from './jwks.ts';
import { loadFileKeys, loadRemoteKeys } from './key_loader.ts';

/** One trusted issuer of workload identity tokens, as the configuration gives it. */
export interface WorkloadIssuerOptions {
  /** `job.provider`; of `github`, `gitlab`, `buildkite` and `circleci` the names of the claims are known. */
  readonly provider: string | null;
  readonly issuer: string;
  /** One of them must be in `aud`. */
  readonly audience: readonly string[];
  readonly jwks_uri?: string | undefined;
  readonly jwks_file?: string | undefined;
  readonly algorithms: readonly string[];
  /** Claims that a token must have, each with the values that are taken. */
  readonly conditions: Readonly<Record<string, readonly string[]>>;
  /** Claims that give members of the job, before those that the provider's names give. */
  readonly job_claims: Readonly<Partial<Record<keyof Job, string>>>;
  /** Whether a token is good once, or again with the key of its first use. */
  readonly use: 'once' | 'one_key';
  readonly max_lifetime_seconds: number;
  readonly allow_insecure: boolean;
}

/** What issuers are kept with. */
export interface WorkloadKeysOptions {
  readonly clock: Clock;
  /** Told when the keys of an issuer become usable, or cannot be loaded. */
  readonly onKeys?: ((issuer: string, health: JwksHealth) => void) | undefined;
}

/** A trusted issuer with its keys, which load in the background. */
export interface WorkloadIssuer {
  readonly options: WorkloadIssuerOptions;
  readonly algorithms: ReadonlyMap<string, SignatureAlgorithm>;
  readonly keys: Jwks;
}

const FETCH_TIMEOUT_MS = 5000;
/** The longest time that a caller waits for keys. */
const ANSWER_MS = 2000;
const MAX_AGE_MS = 600_000;
/** How old the content of a file may be: reading it is cheap. */
const FILE_AGE_MS = 5000;
const STALE_MS = 86_400_000;
const COOLDOWN_MS = 30_000;

/** Begins to load the keys of an issuer. */
export function openWorkloadIssuer(
  options: WorkloadIssuerOptions,
  { clock, onKeys }: WorkloadKeysOptions,
): WorkloadIssuer {
  const { issuer, jwks_file: keysFile } = options;
  const load =
    keysFile !== undefined
      ? loadFileKeys(keysFile)
      : loadRemoteKeys({
          issuer,
          jwksUri: options.jwks_uri,
          timeoutMs: FETCH_TIMEOUT_MS,
          allowInsecure: options.allow_insecure,
          metadataAgeMs: MAX_AGE_MS,
          clock,
        });
  const keys = new Jwks({
    load,
    clock,
    maxAgeMs: keysFile === undefined ? MAX_AGE_MS : FILE_AGE_MS,
    staleMs: STALE_MS,
    cooldownMs: COOLDOWN_MS,
    answerMs: ANSWER_MS,
    onLoad: onKeys === undefined ? undefined : onChange((health) => onKeys(issuer, health)),
  });
  return { options, algorithms: allowedAlgorithms(options.algorithms), keys };
}

/** Tells only what differs from the time before, so that an outage is told once when it begins and once when it ends. */
function onChange(tell: (health: JwksHealth) => void): (health: JwksHealth) => void {
  let last = '';
  return (health) => {
    const now = JSON.stringify([health.state, health.keys, health.skipped, health.problem]);
    if (now === last) return;
    last = now;
    tell(health);
  };
}
