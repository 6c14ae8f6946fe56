import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { Nonces } from '../proof/nonce.ts';
import { secretInMemory, secretsInFiles } from '../proof/nonce_secrets.ts';
import type { Log } from '../telemetry/log.ts';

/** What nonces are made with, beside the configuration. */
export interface NonceParts {
  readonly clock: Clock;
  readonly log: Log;
  /** What the primary process gave to all its workers; absent: this process has a secret of its own. */
  readonly nonceSecret?: Uint8Array | undefined;
}

/** Makes the nonces of this process. Files win. @throws Error that names the file of a secret and says what was expected */
export function createNonces({ dpop }: GatewayConfig, { clock, log, nonceSecret }: NonceParts): Nonces {
  const files = dpop.nonce_secret_files;
  return new Nonces({
    secrets: files === undefined ? secretInMemory(nonceSecret) : secretsInFiles(files, { clock, log }),
    lifetimeSeconds: dpop.nonce_lifetime_seconds,
    leewaySeconds: dpop.leeway_seconds,
  });
}

/** Issuers whose tokens need proofs with a nonce on every route. */
export function issuersWithNonce({ issuers }: GatewayConfig): ReadonlySet<string> {
  return new Set(issuers.filter(({ dpop_nonce }) => dpop_nonce === 'required').map(({ issuer }) => issuer));
}

/** Whether any proof must carry a nonce. */
export function demandsNonces(config: GatewayConfig): boolean {
  const { dpop, issuers, routes } = config;
  return [dpop.nonce, ...issuers.map((entry) => entry.dpop_nonce), ...routes.map((entry) => entry.dpop_nonce)].includes(
    'required',
  );
}
