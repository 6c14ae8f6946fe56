import { randomUUID } from 'node:crypto';
import { chmod, link, open, readFile, rm, stat } from 'node:fs/promises';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import type { Log } from '../telemetry/log.ts';

/** The private keys that sign tokens; the first signs, all are published. */
export interface SigningKeys {
  readonly keys: readonly JWK[];
}

/**
 * Reads the keys that sign tokens, or makes one (ES256) and writes it so that only this user can read it. Two processes that start at once
 * end up with the same key.
 * @throws Error that names the file and what is wrong with it; never a part of a key
 */
export async function loadSigningKeys(file: string, log: Log): Promise<SigningKeys> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new Error(`signing_keys_file: ${file} cannot be read: ${error.message}`);
  });
  if (text === null) return createSigningKeys(file, log);
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) {
    log.warn({ file, mode: (mode & 0o777).toString(8) }, 'the file with the signing keys can be read by other users');
  }
  return parseSigningKeys(text, file);
}

async function createSigningKeys(file: string, log: Log): Promise<SigningKeys> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(privateKey);
  const keys = { keys: [{ ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig' }] };
  const draft = `${file}.${randomUUID()}`;
  try {
    const handle = await open(draft, 'wx', 0o600);
    await handle.writeFile(`${JSON.stringify(keys, null, 2)}\n`);
    await handle.sync();
    await handle.close();
    await chmod(draft, 0o600);
    // Unlike rename, link fails when another process was first; then its key is the one.
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return parseSigningKeys(await readFile(file, 'utf8'), file);
    throw new Error(`signing_keys_file: ${file} cannot be written: ${(error as Error).message}`);
  } finally {
    await rm(draft, { force: true });
  }
  log.info({ file, kid: keys.keys[0]?.kid }, 'made a signing key');
  return keys;
}

async function parseSigningKeys(text: string, file: string): Promise<SigningKeys> {
  const refuse = (what: string) => new Error(`signing_keys_file: ${file} ${what}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw refuse('is not JSON');
  }
  const keys = (parsed as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys) || keys.length === 0) throw refuse('is not a JWK Set with at least one key');
  return { keys: await Promise.all(keys.map((key, index) => completeKey(key, `${file}: keys[${index}]`))) };
}

/** Takes the members that matter and leaves the rest, so that nothing odd in the file is published. */
async function completeKey(key: unknown, where: string): Promise<JWK> {
  const { kty, crv, x, y, d, kid } = (key ?? {}) as JWK;
  const isText = [x, y, d].every((member) => typeof member === 'string' && /^[\w-]{43}$/.test(member));
  if (kty !== 'EC' || crv !== 'P-256' || !isText) {
    throw new Error(`signing_keys_file: ${where} is not a private EC key on P-256`);
  }
  const jwk = { kty, crv, x, y, d } as JWK;
  return { ...jwk, kid: kid ?? (await calculateJwkThumbprint(jwk)), alg: 'ES256', use: 'sig' };
}
