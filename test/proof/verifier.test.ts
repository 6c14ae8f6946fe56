import { beforeAll, describe, expect, it } from 'vitest';
import { sha256Base64url } from '../../src/oauth/thumbprint.ts';
import {
  benchOf,
  contextOf,
  IN_DATE,
  makeKey,
  NOW,
  ORIGIN,
  PATH,
  proofBy,
  type TestKey,
  TOKEN,
  tokenOf,
} from './fixture.ts';

let key: TestKey;
let other: TestKey;

beforeAll(async () => {
  [key, other] = await Promise.all([makeKey(), makeKey()]);
});

const certificate = { ...IN_DATE, x5tS256: 'A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0' };
const x5tS256 = certificate.x5tS256;
const another = { ...IN_DATE, x5tS256: 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' };

describe('scheme, binding and route (RFC 9449 §7.1, §7.2, RFC 8705 §3)', () => {
  it('a DPoP-bound token under DPoP with a proof', async () => {
    const bench = benchOf();
    const checked = await bench.verifier.verify(
      contextOf({ proof: proofBy(key, { jti: 'j1' }) }),
      tokenOf({ jkt: key.thumbprint }),
    );
    expect(checked).toEqual({
      ok: true,
      value: { method: 'dpop', thumbprint: key.thumbprint, certificate: null, jti: 'j1', issuedAt: NOW, nonce: null },
    });
  });

  it('RFC 9449 §7.2: proof.bound_token_as_bearer, with a proof, without, with a certificate, wherever bearer is allowed', async () => {
    const bench = benchOf();
    const jkt = key.thumbprint;
    for (const proof of [null, proofBy(key)]) {
      for (const bindings of [['dpop'], ['bearer'], ['dpop', 'mtls', 'bearer']] as const) {
        expect(await bench.verify({ proof, scheme: 'bearer', bindings }, { jkt })).toBe('proof.bound_token_as_bearer');
        expect(await bench.verify({ proof, scheme: 'bearer', bindings, certificate }, { jkt, x5tS256 })).toBe(
          'proof.bound_token_as_bearer',
        );
      }
    }
  });

  it('RFC 9449 §7.1: proof.unbound_token under DPoP, also where bearer is allowed, also with a certificate', async () => {
    const bench = benchOf();
    for (const bindings of [['dpop'], ['dpop', 'mtls', 'bearer']] as const) {
      expect(await bench.verify({ proof: proofBy(key), bindings }, {})).toBe('proof.unbound_token');
      expect(await bench.verify({ proof: null, bindings }, {})).toBe('proof.unbound_token');
      expect(await bench.verify({ proof: proofBy(key), bindings, certificate }, { x5tS256 })).toBe(
        'proof.unbound_token',
      );
    }
  });

  it('proof.unbound_token under Bearer, unless the route names bearer', async () => {
    const bench = benchOf();
    expect(await bench.verify({ proof: null, scheme: 'bearer' }, {})).toBe('proof.unbound_token');
    const checked = await bench.verifier.verify(
      contextOf({ proof: null, scheme: 'bearer', bindings: ['bearer'] }),
      tokenOf({}),
    );
    expect(checked).toEqual({
      ok: true,
      value: { method: 'bearer', thumbprint: null, certificate: null, jti: null, issuedAt: null, nonce: null },
    });
  });

  it('proof.binding_not_allowed: a kind of binding that the route does not take', async () => {
    const bench = benchOf();
    expect(await bench.verify({ proof: proofBy(key), bindings: ['mtls'] }, { jkt: key.thumbprint })).toBe(
      'proof.binding_not_allowed',
    );
    expect(
      await bench.verify({ proof: null, scheme: 'bearer', bindings: ['dpop', 'bearer'], certificate }, { x5tS256 }),
    ).toBe('proof.binding_not_allowed');
  });

  it('RFC 8705 §3: a certificate-bound token with its certificate, with none, with another', async () => {
    const bench = benchOf();
    const under = (given: typeof certificate | null) =>
      bench.verifier.verify(contextOf({ proof: null, scheme: 'bearer', certificate: given }), tokenOf({ x5tS256 }));
    expect(await under(certificate)).toEqual({
      ok: true,
      value: { method: 'mtls', thumbprint: x5tS256, certificate: null, jti: null, issuedAt: null, nonce: null },
    });
    expect(await under(null)).toMatchObject({ denial: { reason: 'proof.certificate_missing' } });
    expect(await under(another)).toMatchObject({ denial: { reason: 'proof.key_mismatch' } });
  });

  it('jkt and x5t#S256 both present: both must hold', async () => {
    const bench = benchOf();
    const both = { jkt: key.thumbprint, x5tS256 };
    expect(await bench.verify({ proof: proofBy(key), certificate }, both)).toBe('passed');
    expect(await bench.verify({ proof: proofBy(key), certificate: null }, both)).toBe('proof.certificate_missing');
    expect(await bench.verify({ proof: proofBy(key), certificate: another }, both)).toBe('proof.key_mismatch');
    expect(await bench.verify({ proof: proofBy(other), certificate }, both)).toBe('proof.key_mismatch');
    expect(await bench.verify({ proof: null, certificate }, both)).toBe('proof.missing');
  });

  it('a certificate that the token does not name does not matter', async () => {
    expect(await benchOf().verify({ proof: proofBy(key), certificate }, { jkt: key.thumbprint })).toBe('passed');
  });
});

describe('what is told to the holder of the key, and to nobody else', () => {
  const jkt = () => ({ jkt: key.thumbprint });
  const earliest = NOW - 60;
  const latest = NOW + 10;

  it.each([
    ['proof.method', { htm: 'POST' }, { expected: { htm: 'GET' }, seen: { htm: 'POST' } }],
    [
      'proof.target',
      { htu: 'http://localhost/v1/projects/p1' },
      { expected: { htu: ORIGIN + PATH }, seen: { htu: 'http://localhost/v1/projects/p1' } },
    ],
    ['proof.too_old', { iat: NOW - 90 }, { expected: { server_time: NOW, earliest, latest }, seen: { iat: NOW - 90 } }],
    [
      'proof.issued_in_future',
      { iat: NOW + 90 },
      { expected: { server_time: NOW, earliest, latest }, seen: { iat: NOW + 90 } },
    ],
    ['proof.expired', { exp: NOW - 1 }, { expected: { server_time: NOW }, seen: { exp: NOW - 1 } }],
    ['proof.not_yet_valid', { nbf: NOW + 90 }, { expected: { server_time: NOW, latest }, seen: { nbf: NOW + 90 } }],
    ['proof.token_hash', { ath: 'x' }, { expected: { ath: sha256Base64url(TOKEN) }, seen: { ath: 'x' } }],
    [
      'proof.claims',
      { jti: '' },
      { expected: { jti: 'a string of 1 to 256 bytes' }, seen: { jti: 'an empty string' } },
    ],
    ['proof.claims', { iat: '5' }, { expected: { iat: 'a number' }, seen: { iat: 'a string' } }],
    ['proof.claims', { htm: [] }, { expected: { htm: 'a non-empty string' }, seen: { htm: 'an array' } }],
    ['proof.claims', { htu: {} }, { expected: { htu: 'a non-empty string' }, seen: { htu: 'an object' } }],
    ['proof.claims', { nonce: null }, { expected: { nonce: 'a string' }, seen: { nonce: 'null' } }],
    ['proof.claims', { exp: true }, { expected: { exp: 'a number' }, seen: { exp: 'a boolean' } }],
  ])('%s after a good signature: what was expected and what was seen', async (reason, claims, disclosure) => {
    const bench = benchOf();
    expect(await bench.refuse({ proof: proofBy(key, claims) }, jkt())).toEqual({ reason, disclosure });
  });

  it.each([
    ['proof.method', { htm: 'POST' }],
    ['proof.target', { htu: 'http://localhost/v1/projects/p1' }],
    ['proof.claims', { jti: '' }],
  ])('%s without a good signature, or by another key: nothing', async (reason, claims) => {
    const bench = benchOf();
    expect(await bench.refuse({ proof: proofBy({ ...other, publicJwk: key.publicJwk }, claims) }, jkt())).toEqual({
      reason,
    });
    expect(await bench.refuse({ proof: proofBy(other, claims) }, jkt())).toEqual({ reason });
  });

  it.each([{ iat: 1 }, { ath: 'x' }, { exp: 1 }])('a wrong signature tells nothing of %j', async (claims) => {
    const proof = proofBy({ ...other, publicJwk: key.publicJwk }, claims);
    expect(await benchOf().refuse({ proof }, jkt())).toEqual({ reason: 'proof.signature' });
  });

  it('what was seen is bounded', async () => {
    const denial = await benchOf().refuse({ proof: proofBy(key, { htu: 'x'.repeat(3000) }) }, jkt());
    expect(denial.disclosure?.seen['htu']).toHaveLength(1025);
  });

  it('no note and no disclosure carries the proof or the token', async () => {
    const bench = benchOf();
    const proofs = [proofBy(key, { ath: 'x' }), proofBy(key, {}, { jwk: { ...key.publicJwk, d: 'secret' } }), 'a.b.c'];
    for (const proof of proofs) {
      const text = JSON.stringify(await bench.refuse({ proof }, jkt()));
      for (const part of [...proof.split('.'), TOKEN, 'secret']) {
        if (part.length > 3) expect(text).not.toContain(part);
      }
    }
  });
});

describe('the cache of keys', () => {
  it('keeps a key once it signed, and none that did not', async () => {
    const bench = benchOf();
    const jkt = key.thumbprint;
    await bench.verify({ proof: proofBy(other) }, { jkt });
    await bench.verify({ proof: proofBy({ ...other, publicJwk: key.publicJwk }) }, { jkt });
    expect(bench.verifier.stats().keys).toEqual({ entries: 0, hits: 0, misses: 2 });
    await bench.verify({ proof: proofBy(key) }, { jkt });
    await bench.verify({ proof: proofBy(key) }, { jkt });
    expect(bench.verifier.stats().keys).toEqual({ entries: 1, hits: 1, misses: 3 });
  });

  it('keeps no header that is larger than keys need, and one entry for each that is not', async () => {
    const bench = benchOf();
    const jkt = key.thumbprint;
    expect(await bench.verify({ proof: proofBy(key, {}, { kid: 'x'.repeat(1500) }) }, { jkt })).toBe('passed');
    expect(bench.verifier.stats().keys.entries).toBe(0);
    for (const kid of ['a', 'b', 'a'])
      expect(await bench.verify({ proof: proofBy(key, {}, { kid }) }, { jkt })).toBe('passed');
    expect(bench.verifier.stats().keys.entries).toBe(2);
  });

  it('a cached key verifies under its own algorithm only', async () => {
    const bench = benchOf({ algorithms: ['PS256', 'RS256'] });
    const own = await makeKey('PS256');
    const jkt = own.thumbprint;
    expect(await bench.verify({ proof: proofBy(own) }, { jkt })).toBe('passed');
    expect(await bench.verify({ proof: proofBy(own, {}, { alg: 'RS256' }) }, { jkt })).toBe('proof.signature');
  });
});
