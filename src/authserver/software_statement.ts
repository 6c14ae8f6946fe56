import { type Clock, secondsOf } from '../kernel/clock.ts';
import { allowedAlgorithms } from '../oauth/algorithms.ts';
import { parseCompactJws } from '../oauth/compact_jws.ts';
import { Jwks } from '../oauth/jwks.ts';
import { loadFileKeys, loadRemoteKeys } from '../oauth/key_loader.ts';
import { isNumericDate } from '../oauth/numeric_date.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { findSigner } from '../oauth/signer.ts';
import type { JsonObject } from '../oauth/strict_json.ts';

/** Who signs software statements, as the configuration gives it. */
export interface StatementIssuer {
  readonly issuer: string;
  readonly jwks_uri?: string | undefined;
  readonly jwks_file?: string | undefined;
  readonly algorithms: readonly string[];
}

const MAX_BYTES = 16_384;
const TIMEOUT_MS = 5000;
const AGE_MS = 600_000;
const FILE_AGE_MS = 5000;
const SKEW_SECONDS = 10;
/** Claims of the JWT itself; everything else is client metadata (RFC 7591 §2.3). */
const OWN_CLAIMS = ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti'];

/** The issuers of software statements that are believed. */
export class SoftwareStatements {
  readonly #issuers: ReadonlyMap<string, { readonly algorithms: ReadonlyMap<string, unknown>; readonly keys: Jwks }>;
  readonly #clock: Clock;

  constructor(issuers: readonly StatementIssuer[], clock: Clock) {
    this.#clock = clock;
    this.#issuers = new Map(
      issuers.map((one) => [one.issuer, { algorithms: allowedAlgorithms(one.algorithms), keys: openKeys(one, clock) }]),
    );
  }

  /**
   * Verifies a statement (RFC 7591 §2.3): form, issuer, algorithm, signature, times. @returns the metadata it states; a failure whose
   * `problem` is `unapproved` where nobody who is believed signed it
   */
  async verify(statement: string): Promise<Parsed<JsonObject>> {
    const jws = parseCompactJws(statement, { maxBytes: MAX_BYTES });
    if (!jws.ok) return jws;
    const { header, payload } = jws.value;
    const issuer = typeof payload['iss'] === 'string' ? this.#issuers.get(payload['iss']) : undefined;
    if (issuer === undefined) return unparsed('unapproved');
    const { alg, kid } = header;
    if (typeof alg !== 'string' || !issuer.algorithms.has(alg)) return unparsed('its algorithm is not allowed');
    if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return unparsed('a critical header');
    if (kid !== undefined && typeof kid !== 'string') return unparsed('kid is not a text');
    const signer = await findSigner(jws.value, { keys: issuer.keys, alg, kid });
    if (!signer.ok)
      return unparsed(signer.why === 'unavailable' ? 'its keys cannot be had' : 'its signature is not good');
    const now = secondsOf(this.#clock());
    for (const name of ['exp', 'nbf', 'iat']) {
      if (payload[name] !== undefined && !isNumericDate(payload[name]))
        return unparsed(`${name} is not a time in seconds`);
    }
    const { exp, nbf, iat } = payload as { exp?: number; nbf?: number; iat?: number };
    if (exp !== undefined && now >= exp) return unparsed('exp has passed');
    if (Math.max(nbf ?? 0, iat ?? 0) > now + SKEW_SECONDS) return unparsed('it lies ahead');
    return parsed(Object.fromEntries(Object.entries(payload).filter(([name]) => !OWN_CLAIMS.includes(name))));
  }

  close(): void {
    for (const { keys } of this.#issuers.values()) keys.close();
  }
}

function openKeys({ issuer, jwks_uri: jwksUri, jwks_file: file }: StatementIssuer, clock: Clock): Jwks {
  const remote = { issuer, jwksUri, timeoutMs: TIMEOUT_MS, allowInsecure: false, metadataAgeMs: AGE_MS, clock };
  return new Jwks({
    load: file === undefined ? loadRemoteKeys(remote) : loadFileKeys(file),
    clock,
    maxAgeMs: file === undefined ? AGE_MS : FILE_AGE_MS,
    staleMs: 86_400_000,
    cooldownMs: 30_000,
    answerMs: 2000,
  });
}
