import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SIGNATURE_ALGORITHMS, type SignatureAlgorithm } from '../../src/oauth/algorithms.ts';
import { parseCompactJws } from '../../src/oauth/compact_jws.ts';
import { verifySignature } from '../../src/oauth/jws_signature.ts';
import { importPublicJwk, readPublicJwk } from '../../src/oauth/public_jwk.ts';
import { certificateThumbprint, jwkThumbprint } from '../../src/oauth/thumbprint.ts';

/** Whether the signature of a compact JWS holds, whatever its payload is. */
function holds(jws: string, jwk: unknown, alg: string): boolean {
  const read = readPublicJwk(jwk, alg);
  if (!read.ok) throw new Error(read.problem);
  const key = importPublicJwk(read.value);
  if (key === null) throw new Error('no key');
  const dot = jws.lastIndexOf('.');
  const signed = { signingInput: jws.slice(0, dot), signature: Buffer.from(jws.slice(dot + 1), 'base64url') };
  return verifySignature(SIGNATURE_ALGORITHMS.get(alg) as SignatureAlgorithm, key, signed);
}

const flipped = (jws: string) =>
  jws.replace(/\.([^.])([^.]*)$/, (_, first: string, rest: string) => `.${first === 'A' ? 'B' : 'A'}${rest}`);

describe('RFC 7515 appendix A.3: ES256', () => {
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  };
  const jws =
    'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q';

  it('verifies, and does not when it was changed', () => {
    expect(holds(jws, jwk, 'ES256')).toBe(true);
    expect(holds(flipped(jws), jwk, 'ES256')).toBe(false);
  });

  it('is read with its line breaks', () => {
    expect(parseCompactJws(jws, { maxBytes: 1000 })).toMatchObject({
      ok: true,
      value: { header: { alg: 'ES256' }, payload: { iss: 'joe', exp: 1300819380, 'http://example.com/is_root': true } },
    });
  });
});

describe('RFC 8037 appendix A: Ed25519', () => {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' } as const;
  const jws =
    'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg';

  it('A.4: verifies, and does not when it was changed', () => {
    expect(holds(jws, jwk, 'EdDSA')).toBe(true);
    expect(holds(flipped(jws), jwk, 'EdDSA')).toBe(false);
  });

  it('A.3: thumbprint', () => {
    expect(jwkThumbprint(jwk)).toBe('kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k');
  });
});

describe('RFC 7638 §3.1', () => {
  it('thumbprint of the RSA key', () => {
    const n =
      '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw';
    const read = readPublicJwk({ kty: 'RSA', n, e: 'AQAB', alg: 'RS256', kid: '2011-04-29' }, 'RS256');
    if (!read.ok) throw new Error(read.problem);
    expect(jwkThumbprint(read.value)).toBe('NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
  });
});

describe('RFC 8705 appendix A', () => {
  it('x5t#S256 of the certificate', () => {
    const certificate = new X509Certificate(`-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----`);
    expect(certificateThumbprint(certificate.raw)).toBe('A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0');
  });
});
