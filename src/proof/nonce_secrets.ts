import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { versionOf } from '../files/version.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Log } from '../telemetry/log.ts';

/** Bytes of a secret; HMAC-SHA-256 gains nothing from fewer (RFC 2104 §3). */
const BYTES = { least: 32, most: 4096 } as const;
/** Milliseconds between two looks at the files. */
const LOOK_EVERY_MS = 1000;

/** The secrets that nonces are made with: the first makes new ones, the others are still known. Never empty. */
export interface NonceSecrets {
  current(): readonly KeyObject[];
}

/** One secret that is in memory only: of this process, or what its primary process handed on to it. */
export function secretInMemory(secret: Uint8Array = newNonceSecret()): NonceSecrets {
  const keys = [createSecretKey(secret)];
  return { current: () => keys };
}

/** A secret that nobody knows. */
export function newNonceSecret(): Uint8Array {
  return randomBytes(BYTES.least);
}

/** What secrets in files are watched with. */
export interface SecretFilesOptions {
  readonly clock: Clock;
  readonly log: Pick<Log, 'info' | 'error'>;
}

/**
 * Secrets in files, the current one first. They are looked at once a second at most, when they are needed, and read again when one has
 * changed; content that cannot be used is refused and said so, and the secrets before it stay.
 * @throws Error that names the file and says what was expected
 */
export function secretsInFiles(files: readonly string[], { clock, log }: SecretFilesOptions): NonceSecrets {
  let version = versionOf(...files);
  let keys = readNonceSecrets(files);
  let lookedAt = clock();
  return {
    current() {
      const now = clock();
      if (Math.abs(now - lookedAt) < LOOK_EVERY_MS) return keys;
      lookedAt = now;
      const seen = versionOf(...files);
      if (seen === version) return keys;
      version = seen;
      try {
        keys = readNonceSecrets(files);
        log.info({ files: files.length }, 'new secrets for nonces are in use');
      } catch (error) {
        log.error({ err: error }, 'the new secrets for nonces were refused; the old ones stay');
      }
      return keys;
    },
  };
}

/** Reads the secrets. A line end behind a secret is no part of it. @throws Error that names the file and says what was expected */
export function readNonceSecrets(files: readonly string[]): KeyObject[] {
  return files.map(readSecret);
}

function readSecret(file: string): KeyObject {
  let bytes: Buffer;
  try {
    const { mode, size } = statSync(file);
    if ((mode & 0o077) !== 0) throw new Error(`${file}: others may read or change this secret; chmod 600 ${file}`);
    if (size > BYTES.most) throw unusable(file, `${size} bytes`);
    bytes = readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new Error(`${file}: cannot be read (${code})`);
  }
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  if (end < BYTES.least) throw unusable(file, `${end} bytes`);
  return createSecretKey(bytes.subarray(0, end));
}

function unusable(file: string, found: string): Error {
  const make = `openssl rand -base64 48 > ${file}`;
  return new Error(
    `${file}: expected a secret of ${BYTES.least} to ${BYTES.most} bytes, found ${found}; make one: ${make}`,
  );
}
