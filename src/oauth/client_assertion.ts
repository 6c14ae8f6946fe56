import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import type { SigningKey } from './signing_key.ts';

/** Value of `client_assertion_type` (RFC 7523 §2.2). */
export const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** Seconds: it is made for one request and sent at once. */
const LIFETIME = 60;

/** What an assertion is made for. */
export interface AssertionRequest {
  readonly clientId: string;
  /** The issuer identifier of the authorization server: the sole audience, so that no other server can use the assertion. */
  readonly issuer: string;
  readonly key: SigningKey;
  /** Further claims, such as `job`; they cannot replace the registered ones. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly clock: Clock;
}

/** Makes the JWT by which a client authenticates with its key (RFC 7523 §2.2, §3). For one request: a new attempt needs a new one. */
export function makeClientAssertion(request: AssertionRequest): Promise<string> {
  const { clientId, key, clock } = request;
  const now = secondsOf(clock());
  return new SignJWT({ ...request.claims })
    .setProtectedHeader({
      alg: key.alg,
      typ: 'client-authentication+jwt',
      ...(key.kid === null ? {} : { kid: key.kid }),
    })
    .setIssuer(clientId) // RFC 7523 §3 items 1 and 2: issuer and subject are the client.
    .setSubject(clientId)
    .setAudience(request.issuer)
    .setJti(randomUUID())
    .setIssuedAt(now)
    .setNotBefore(now)
    .setExpirationTime(now + LIFETIME)
    .sign(key.privateKey);
}
