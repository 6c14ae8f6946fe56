import { calculateJwkThumbprint, EmbeddedJWK, type JWK, jwtVerify } from 'jose';
import { describe, expect, it } from 'vitest';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { sha256Base64url } from '../../src/oauth/thumbprint.ts';
import { makeKey } from '../support/issuer.ts';

const CLOCK = () => 1_795_348_800_900;

async function make(changes: Partial<Parameters<typeof makeProof>[0]> = {}) {
  const { privateKey, publicJwk } = await makeKey();
  return makeProof({
    privateKey,
    publicJwk,
    method: 'POST',
    url: 'https://as.example.com/token',
    clock: CLOCK,
    ...changes,
  });
}

describe('RFC 9449 §4.2: making a proof', () => {
  it.each([
    ['ES256', 'ES256'],
    ['ES384', 'ES384'],
    ['PS256', 'PS256'],
    ['EdDSA', 'EdDSA'],
  ])('a key for %s: jose verifies it, and there is nothing in it but what is needed', async (alg, expected) => {
    const { privateKey, publicJwk, thumbprint } = await makeKey(alg);
    const proof = await makeProof({ privateKey, publicJwk, method: 'GET', url: 'https://a.example/b', clock: CLOCK });
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      currentDate: new Date(CLOCK()),
    });
    expect(protectedHeader).toEqual({ typ: 'dpop+jwt', alg: expected, jwk: publicJwk });
    expect(await calculateJwkThumbprint(protectedHeader['jwk'] as JWK)).toBe(thumbprint);
    expect(payload).toEqual({
      htm: 'GET',
      htu: 'https://a.example/b',
      iat: 1_795_348_800,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it('ath is the hash of the access token, nonce what the server asked for', async () => {
    const { payload } = await jwtVerify(await make({ accessToken: 'a.b.c', nonce: 'n-1' }), EmbeddedJWK);
    expect(payload).toMatchObject({ ath: sha256Base64url('a.b.c'), nonce: 'n-1' });
  });

  it.each([
    ['https://a.example/b?c=d', 'https://a.example/b'],
    ['https://a.example/b#c?d', 'https://a.example/b'],
    ['https://a.example?c', 'https://a.example'],
    ['https://A.example:443/%7e/../b;c', 'https://A.example:443/%7e/../b;c'],
  ])('htu of %s is %s, byte for byte', async (url, htu) => {
    expect((await jwtVerify(await make({ url }), EmbeddedJWK)).payload['htu']).toBe(htu);
  });

  it('RFC 9449 §11.1: no two proofs share a jti', async () => {
    const { privateKey, publicJwk } = await makeKey();
    const request = { privateKey, publicJwk, method: 'GET', url: 'https://a.example/', clock: CLOCK };
    const proofs = await Promise.all(Array.from({ length: 50 }, () => makeProof(request)));
    const identifiers = await Promise.all(
      proofs.map(async (proof) => (await jwtVerify(proof, EmbeddedJWK)).payload.jti),
    );
    expect(new Set(identifiers).size).toBe(50);
  });

  it('rejects an algorithm that the key cannot sign with', async () => {
    await expect(make({ alg: 'PS256' })).rejects.toThrow(TypeError);
    await expect(make({ publicJwk: { kty: 'OKP', crv: 'X25519', x: 'x' } })).rejects.toThrow('no signature algorithm');
  });
});
