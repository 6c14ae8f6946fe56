import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SIGNATURE_ALGORITHMS } from '../../src/oauth/algorithms.ts';
import { decodeBase64url } from '../../src/oauth/base64url.ts';
import { parseJwsHeader } from '../../src/oauth/compact_jws.ts';
import { verifySignature } from '../../src/oauth/jws_signature.ts';
import { importPublicJwk, readPublicJwk } from '../../src/oauth/public_jwk.ts';
import { Wire } from '../support/wire.ts';

/**
 * Test vectors of Project Wycheproof (Apache-2.0; source and commit stand in the file) through what checks the signature of a proof: the
 * same reading of the key, the same reading of the parts, the same verification. Then those that are texts, over the wire, as token and proof.
 */

interface Vectors {
  readonly source: string;
  readonly commit: string;
  readonly signatures: readonly {
    readonly file: string;
    readonly alg: string;
    readonly jwk: Record<string, unknown>;
    readonly tests: readonly (readonly [
      id: number,
      comment: string,
      message: string,
      signature: string,
      result: string,
    ])[];
  }[];
  readonly jws: readonly {
    readonly comment: string;
    readonly jwk: Record<string, unknown>;
    readonly tests: readonly (readonly [id: number, comment: string, jws: unknown, result: string, flags: string[]])[];
  }[];
}

const vectors = JSON.parse(
  brotliDecompressSync(readFileSync(new URL('./wycheproof_vectors.json.br', import.meta.url))).toString(),
) as Vectors;

function keyFor(jwk: unknown, alg: string) {
  const read = readPublicJwk(jwk, alg);
  return read.ok ? importPublicJwk(read.value) : null;
}

describe('Wycheproof: signatures', () => {
  it.each(vectors.signatures.map((group, index) => [group.file, index, group] as const))(
    'Wycheproof: %s, group %d',
    (_file, _index, { alg, jwk, tests }) => {
      const algorithm = SIGNATURE_ALGORITHMS.get(alg);
      const key = keyFor(jwk, alg);
      if (algorithm === undefined || key === null) throw new Error(`no key for ${alg}`);
      for (const [id, comment, message, signature, result] of tests) {
        const signingInput = Buffer.from(message, 'hex').toString('latin1');
        const good = verifySignature(algorithm, key, { signingInput, signature: Buffer.from(signature, 'hex') });
        expect([id, comment, good]).toEqual([id, comment, result === 'valid']);
      }
    },
  );
});

/** What stage 3 does with the parts of a proof, for payloads that are no claims. */
function accepts(jws: string, jwk: unknown): boolean {
  const parts = jws.split('.');
  const [head = '', payload = '', signature = ''] = parts;
  const header = parseJwsHeader(head, { maxBytes: 8192 });
  const bytes = decodeBase64url(signature);
  if (parts.length !== 3 || !header.ok || decodeBase64url(payload) === null || bytes === null) return false;
  const { alg, crit, b64 } = header.value;
  const algorithm = typeof alg === 'string' ? SIGNATURE_ALGORITHMS.get(alg) : undefined;
  const key = algorithm === undefined ? null : keyFor(jwk, alg as string);
  if (algorithm === undefined || key === null || crit !== undefined || b64 !== undefined) return false;
  return verifySignature(algorithm, key, { signingInput: `${head}.${payload}`, signature: bytes });
}

/** Valid there, and refused here: a key that names another algorithm than the signature has (PS256 for PS384), or one that is no name (ES521). */
const STRICTER = /^(?:Figure20|Figure27)$/;

describe('Wycheproof: JSON Web Signature', () => {
  it.each(vectors.jws.map((group, index) => [group.comment, index, group] as const))(
    'Wycheproof: %s, group %d',
    (_comment, _index, { jwk, tests }) => {
      for (const [id, comment, jws, result] of tests) {
        const accepted = typeof jws === 'string' && accepts(jws, jwk);
        const expected = result === 'valid' && !STRICTER.test(comment);
        expect([id, comment, accepted]).toEqual([id, comment, expected]);
      }
    },
  );
});

describe('Wycheproof: over the wire', () => {
  let wire: Wire;
  beforeAll(async () => {
    wire = await Wire.start();
  });
  afterAll(() => wire.close());

  /** The first of each group: the long ones go through the same code again and again. */
  const texts = vectors.jws.flatMap(({ tests }) =>
    tests.slice(0, 20).flatMap(([, , jws]) => (typeof jws === 'string' ? [jws] : [])),
  );

  it('Wycheproof: none of them is a token or a proof, and none harms', { timeout: 60_000 }, async () => {
    // One header field each: what cannot stand in one is sent by other tests.
    for (const jws of texts.filter((text) => /^[\x21-\x7e]+$/.test(text))) {
      const asToken = await wire.send({ lines: [`Authorization: DPoP ${jws}`, `DPoP: ${jws}`] });
      const asProof = await wire.send({ lines: wire.lines(wire.token(), jws) });
      for (const { answer, upstream } of [asToken, asProof]) {
        expect([400, 401]).toContain(answer.status);
        expect(upstream).toEqual([]);
      }
    }
  });
});
