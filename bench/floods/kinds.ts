import { randomBytes, randomUUID } from 'node:crypto';
import { type Caller, ISSUER, type Kind, makeRequests, PATH, RESOURCE } from '../requests.ts';

/** What a flood is made of: requests that must all be refused. */
export interface Flood {
  readonly name: string;
  readonly status: number;
  /** Whole requests, each different from the others. @param caller somebody who may call, whose token an attacker may have */
  make(caller: Caller, count: number): Promise<Buffer[]>;
}

/** The floods that are measured: by strangers, by who stole a token, and by a caller that is refused and goes on. */
export const FLOODS: readonly Flood[] = [
  strangers('unknown kids', (caller) => withToken(caller, forged(randomUUID()))),
  strangers('signatures that are not the issuer’s', (caller) => withToken(caller, forged('bench'))),
  strangers('tokens that are no JWT (the issuer is asked)', (caller) => withToken(caller, randomUUID())),
  strangers('proofs that are no JWT, with a stolen token', (caller) => withToken(caller, caller.token)),
  proofs('signatures of proofs that are wrong, with a stolen token', 'bad_signature', 401),
  proofs('proofs by another key, with a stolen token', 'other_key', 401),
  proofs('a caller that the policy refuses', 'uncovered', 403),
  strangers('WebSocket handshakes without credentials, each on a new connection', upgrade),
];

function strangers(name: string, line: (caller: Caller) => string): Flood {
  return {
    name,
    status: 401,
    make: async (caller, count) => Array.from({ length: count }, () => Buffer.from(line(caller), 'latin1')),
  };
}

function proofs(name: string, kind: Kind, status: number): Flood {
  return { name, status, make: (caller, count) => makeRequests(caller, kind, count) };
}

function withToken({ authority }: Caller, token: string): string {
  return `GET ${PATH} HTTP/1.1\r\nHost: ${authority}\r\nAuthorization: DPoP ${token}\r\nDPoP: not.a.proof\r\n\r\n`;
}

function upgrade({ authority }: Caller): string {
  const fields = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';
  const key = randomBytes(16).toString('base64');
  return `GET ${PATH} HTTP/1.1\r\nHost: ${authority}\r\n${fields}Sec-WebSocket-Key: ${key}\r\n\r\n`;
}

const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function forged(kid: string): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: ISSUER, aud: RESOURCE, sub: 'x', client_id: 'x', jti: randomUUID(), iat: now, exp: now + 300 };
  const header = { typ: 'at+jwt', alg: 'ES256', kid };
  const bound = { ...claims, cnf: { jkt: 'x'.repeat(42).concat('A') } };
  return `${segment(header)}.${segment(bound)}.${randomBytes(64).toString('base64url')}`;
}
