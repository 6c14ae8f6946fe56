import { randomUUID } from 'node:crypto';
import { chmod, link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { isNumericDate } from '../oauth/numeric_date.ts';
import type { Log } from '../telemetry/log.ts';

/** A private key that signs tokens, with the times of its life in seconds since the Unix epoch. */
export type SigningJwk = JWK & {
  /** When it was made. */
  readonly iat?: number;
  /** From when on it may sign; it is published before. */
  readonly nbf?: number;
};

/** The private keys in the file. Of those that may sign, the one that may since the latest time does, and the first of several. */
export interface SigningKeys {
  readonly keys: readonly SigningJwk[];
}

/**
 * Reads the keys that sign tokens, or makes one (ES256) and writes it so that only this user can read it. Two processes that start at once
 * end up with the same key.
 * @throws Error that names the file and what is wrong with it; never a part of a key
 */
export async function loadSigningKeys(file: string, log: Log): Promise<SigningKeys> {
  const keys = await readSigningKeys(file);
  if (keys === null) return createSigningKeys(file, log);
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) {
    log.warn({ file, mode: (mode & 0o777).toString(8) }, 'the file with the signing keys can be read by other users');
  }
  return keys;
}

/** The keys in the file; null: there is none yet. @throws Error that names the file and what is wrong with it */
export async function readSigningKeys(file: string): Promise<SigningKeys | null> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new Error(`signing_keys_file: ${file} cannot be read: ${error.message}`);
  });
  return text === null ? null : parseSigningKeys(text, file);
}

async function createSigningKeys(file: string, log: Log): Promise<SigningKeys> {
  const keys = { keys: [await makeSigningKey({ iat: Math.floor(Date.now() / 1000) })] };
  const draft = await writeDraft(file, keys);
  try {
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

/** Makes a key (ES256). */
export async function makeSigningKey(times: Pick<SigningJwk, 'iat' | 'nbf'>): Promise<SigningJwk> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig', ...times };
}

/** Puts other keys into the file, whole and at once. @throws Error that names the file */
export async function writeSigningKeys(file: string, keys: SigningKeys): Promise<void> {
  const draft = await writeDraft(file, keys);
  try {
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw new Error(`signing_keys_file: ${file} cannot be written: ${(error as Error).message}`);
  }
}

/** Writes a file beside `file` that only this user can read, and waits until it is on the disk. */
async function writeDraft(file: string, keys: SigningKeys): Promise<string> {
  const draft = `${file}.${randomUUID()}`;
  try {
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify(keys, null, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await chmod(draft, 0o600);
    return draft;
  } catch (error) {
    await rm(draft, { force: true });
    throw new Error(`signing_keys_file: ${file} cannot be written: ${(error as Error).message}`);
  }
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
async function completeKey(key: unknown, where: string): Promise<SigningJwk> {
  const { kty, crv, x, y, d, kid, iat, nbf } = (key ?? {}) as SigningJwk;
  const isText = [x, y, d].every((member) => typeof member === 'string' && /^[\w-]{43}$/.test(member));
  const unusable = () => new Error(`signing_keys_file: ${where} is not a private EC key on P-256`);
  if (kty !== 'EC' || crv !== 'P-256' || !isText) throw unusable();
  const jwk = { kty, crv, x, y, d } as JWK;
  // A point that is not on the curve.
  await importJWK(jwk, 'ES256').catch(() => Promise.reject(unusable()));
  const times = { ...(isNumericDate(iat) ? { iat } : {}), ...(isNumericDate(nbf) ? { nbf } : {}) };
  return { ...jwk, kid: kid ?? (await calculateJwkThumbprint(jwk)), alg: 'ES256', use: 'sig', ...times };
}
