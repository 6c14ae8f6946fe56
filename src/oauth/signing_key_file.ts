import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { JWK } from 'jose';
import { NO_FILE, versionOf } from '../files/version.ts';
import { importSigningKey, publicPartOf, type SigningKey } from './signing_key.ts';
import { parseJsonObject } from './strict_json.ts';

/** Bytes that the file of one private JWK may have. */
const MAX_BYTES = 65_536;

/**
 * A private JWK in a file, read again when the file changes; replace it by renaming, so that no half of it is read. A new content that is no
 * usable key is refused, and the key before it stays.
 */
export class SigningKeyFile {
  readonly #file: string;
  readonly #onProblem: (problem: string) => void;
  #version: string;
  #key: Promise<SigningKey>;

  /** `onProblem` is told of a new content that cannot be used; never with anything of it. @throws Error when there is no usable key now */
  constructor(file: string, onProblem: (problem: string) => void = () => undefined) {
    this.#file = file;
    this.#onProblem = onProblem;
    this.#version = versionOf(file);
    this.#key = importSigningKey(readPrivateJwk(file));
    this.#key.catch(() => undefined); // Whoever asks for it is told.
  }

  /** The key as the file has it now. Rejects only when even the first one could not be imported. */
  async current(): Promise<SigningKey> {
    const seen = versionOf(this.#file);
    // A missing file is on its way, or was removed: the key stays.
    if (seen !== this.#version && seen !== NO_FILE) {
      this.#version = seen;
      this.#key = this.#replacement(this.#key);
    }
    return this.#key;
  }

  async #replacement(previous: Promise<SigningKey>): Promise<SigningKey> {
    try {
      return await importSigningKey(readPrivateJwk(this.#file));
    } catch (error) {
      this.#onProblem((error as Error).message);
      return previous;
    }
  }
}

function readPrivateJwk(file: string): JWK {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw unreadable(file, error);
  }
  const json = parseJsonObject(bytes, { maxBytes: MAX_BYTES });
  if (!json.ok) throw new Error(`${file}: expected one private JWK: ${json.problem}`);
  const jwk = json.value as JWK;
  try {
    // Importing is asynchronous; this says now whether it will succeed.
    const publicKey = createPublicKey({ key: { ...publicPartOf(jwk) }, format: 'jwk' });
    if (isPair(createPrivateKey({ key: { ...jwk }, format: 'jwk' }), publicKey)) return jwk;
  } catch (error) {
    if (error instanceof TypeError && error.message.startsWith('the key ')) throw unusable(file, error.message);
  }
  throw unusable(file, 'its members do not fit together');
}

/** Whether what one key signs, the other verifies: nothing else looks at both. */
function isPair(privateKey: KeyObject, publicKey: KeyObject): boolean {
  const digest = privateKey.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  const sample = Buffer.from('sample');
  return verify(digest, sample, publicKey, sign(digest, sample, privateKey));
}

function unusable(file: string, why: string): Error {
  return new Error(`${file}: expected one private JWK (P-256, Ed25519 or RSA): ${why}`);
}

function unreadable(file: string, error: unknown): Error {
  return new Error(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
}
