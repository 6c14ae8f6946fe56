import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { SigningKeyFile } from '../../src/oauth/signing_key_file.ts';

let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sallyport-key-'));
  file = join(directory, 'key.jwk.json');
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function write(content: unknown): void {
  writeFileSync(`${file}.new`, typeof content === 'string' ? content : JSON.stringify(content));
  renameSync(`${file}.new`, file);
}

async function privateJwk(alg: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return exportJWK(privateKey);
}

describe('SigningKeyFile', () => {
  it.each(['ES256', 'EdDSA', 'PS256'])('reads a key for %s, and another one when the file is replaced', async (alg) => {
    const [first, second] = await Promise.all([privateJwk(alg), privateJwk(alg)]);
    write(first);
    const key = new SigningKeyFile(file);
    const one = await key.current();
    expect(one.alg).toBe(alg);
    expect(await key.current()).toBe(one);
    write(second);
    const [other, again] = await Promise.all([key.current(), key.current()]);
    expect(other.thumbprint).toBe((await importSigningKey(second)).thumbprint);
    expect(again?.thumbprint).toMatch(/^.{43}$/);
    expect(await key.current()).toBe(other);
  });

  it('keeps the key when the file becomes unusable or goes, says so once, and takes the next good one', async () => {
    const first = await generatePrivateJwk();
    const problems: string[] = [];
    write(first);
    const key = new SigningKeyFile(file, (problem) => problems.push(problem));
    const one = await key.current();
    write({ ...first, d: undefined });
    expect(await key.current()).toBe(one);
    expect(await key.current()).toBe(one);
    rmSync(file);
    expect(await key.current()).toBe(one);
    write(await generatePrivateJwk());
    expect((await key.current()).thumbprint).not.toBe(one.thumbprint);
    expect(problems).toEqual([
      `${file}: expected one private JWK (P-256, Ed25519 or RSA): the key has no private part`,
    ]);
    expect(problems.join()).not.toContain(String(first.d));
  });

  it.each([
    ['nothing', '', 'expected one private JWK: not JSON'],
    ['a list', '[]', 'expected one private JWK: not a JSON object'],
    ['a repeated member', '{"kty":"EC","kty":"EC"}', 'repeated member'],
    ['PEM', '-----BEGIN PRIVATE KEY-----', 'not JSON'],
    ['too much', ' '.repeat(65_537), 'too large'],
    ['a symmetric key', '{"kty":"oct","k":"AAAA"}', 'another key type'],
  ])('throws for %s', (_, content, problem) => {
    write(content);
    expect(() => new SigningKeyFile(file)).toThrow(problem);
  });

  it('throws for a key whose private part is not one, without telling it', async () => {
    const jwk = await generatePrivateJwk();
    const rsa = await privateJwk('PS256');
    for (const broken of [
      { ...jwk, d: 'AAAA' },
      { ...jwk, d: (await generatePrivateJwk()).d },
      { ...rsa, n: (await privateJwk('PS256')).n },
    ]) {
      write(broken);
      expect(() => new SigningKeyFile(file)).toThrow(/its members do not fit together$/);
    }
    const p384 = await privateJwk('ES384');
    write(p384);
    expect(() => new SigningKeyFile(file)).toThrow('another curve');
  });

  it('throws when there is no file', () => {
    expect(() => new SigningKeyFile(file)).toThrow(`${file}: cannot be read (ENOENT)`);
  });
});
