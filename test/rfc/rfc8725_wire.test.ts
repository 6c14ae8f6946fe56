import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectRefused } from '../support/expect_outcome.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { RESOURCE, Wire } from '../support/wire.ts';

/** RFC 8725 over the wire: what is not told by the other tests of its sections. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A proof by an RSA key of any size, with the thumbprint that a token would be bound to. */
function rsaProof(bits: number, token: string): string {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  const { kty, n, e } = publicKey.export({ format: 'jwk' });
  const input = `${segment({ typ: 'dpop+jwt', alg: 'PS256', jwk: { kty, n, e } })}.${segment(wire.proofClaims(token))}`;
  return `${input}.${pss(input, privateKey).toString('base64url')}`;
}

const pss = (input: string, key: KeyObject) => sign('sha256', Buffer.from(input), { key, padding: 6, saltLength: 32 });

describe('RFC 8725 §3.5: keys of a size that holds', () => {
  it.each([1024, 1536, 2040])('RFC 8725 §3.5: a proof by an RSA key of %d bits is refused', async (bits) => {
    const token = wire.token();
    expectRefused(await wire.send({ lines: wire.lines(token, rsaProof(bits, token)) }), 'proof.key');
  });
});

describe('RFC 8725 §3.6: nothing compressed or encrypted', () => {
  it('RFC 8725 §3.6: five parts, as encryption has, are no token and no proof', async () => {
    const jwe = `${segment({ alg: 'RSA-OAEP-256', enc: 'A256GCM', zip: 'DEF', typ: 'at+jwt' })}.AA.AA.AA.AA`;
    expectRefused(await wire.send({ lines: wire.lines(jwe, wire.proof(jwe)) }), 'token.malformed');
    expectRefused(await wire.send({ lines: wire.lines(wire.token(), jwe) }), 'proof.malformed');
  });

  it('RFC 8725 §3.6: algorithms of encryption are not taken with three parts either', async () => {
    for (const alg of ['RSA-OAEP-256', 'dir', 'PBES2-HS256+A128KW', 'A128GCMKW', 'ECDH-ES']) {
      const changes = { header: { alg, enc: 'A256GCM', p2c: 2_000_000_000, p2s: 'AA' } };
      const token = wire.token(changes);
      expectRefused(await wire.send({ lines: wire.lines(token) }), 'token.algorithm');
      const good = wire.token();
      expectRefused(await wire.send({ lines: wire.lines(good, wire.proof(good, changes)) }), 'proof.algorithm');
    }
  });

  it('RFC 8725 §3.6: a compressed payload is not inflated', async () => {
    const token = wire.signToken(wire.tokenHeader({ zip: 'DEF' }), Buffer.from([0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]));
    expectRefused(await wire.send({ lines: wire.lines(token) }), 'token.malformed');
  });
});

describe('RFC 8725 §3.9: the audience', () => {
  it.each<[string, unknown]>([
    ['missing', undefined],
    ['null', null],
    ['empty', ''],
    ['an empty list', []],
    ['of another resource', 'https://other.example.com/v1'],
    ['the origin', 'https://cloud.example.com'],
    ['this resource and more', `${RESOURCE}/projects`],
    ['this resource with a slash', `${RESOURCE}/`],
    ['this resource in upper case', RESOURCE.toUpperCase()],
    ['this resource in an object', { [RESOURCE]: true }],
    ['this resource in a list in a list', [[RESOURCE]]],
    ['the issuer', 'https://as.example.com'],
  ])('RFC 8725 §3.9: a token whose audience is %s is refused', async (_, aud) => {
    const { answer, upstream, summary } = await wire.call({ token: wire.token({ claims: { aud } }) });
    expect([answer.status, upstream]).toEqual([401, []]);
    expect(['token.audience', 'token.claims']).toContain(summary['reason']);
  });
});
