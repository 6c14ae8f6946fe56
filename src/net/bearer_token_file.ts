import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { versionOf } from '../files/version.ts';

/** Characters of a token: fewer could be guessed. */
const LENGTH = { least: 32, most: 4096 } as const;
/** RFC 6750 §2.1: the form of a bearer token. */
const TOKEN = /^[\w.~+/-]+=*$/;

/**
 * What a presented credential is worth. `unavailable`: the file holds no usable token at the moment, so nothing can be compared and
 * nothing may pass.
 */
export type BearerVerdict = 'good' | 'missing' | 'wrong' | 'unavailable';

/**
 * One bearer token in a file of mode 0600, read again when the file changes. Unlike a key that only this program uses, a token that was
 * replaced by something unusable stops being good: whoever replaced it meant the old one to end.
 */
export class BearerTokenFile {
  readonly #file: string;
  readonly #onProblem: (problem: string) => void;
  #version: string;
  #digest: Buffer | null;

  /** @throws Error that names the file, what was found, and what to do */
  constructor(file: string, onProblem: (problem: string) => void = () => undefined) {
    this.#file = file;
    this.#onProblem = onProblem;
    this.#version = versionOf(file);
    this.#digest = readDigest(file);
  }

  /** Judges the value of an Authorization header (RFC 6750 §2.1), in a time that does not depend on the token. */
  judge(authorization: string | undefined): BearerVerdict {
    const presented = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (presented === undefined) return 'missing';
    this.#look();
    if (this.#digest === null) return 'unavailable';
    // Digests have one length, whatever was presented.
    return timingSafeEqual(digestOf(presented), this.#digest) ? 'good' : 'wrong';
  }

  #look(): void {
    const seen = versionOf(this.#file);
    if (seen === this.#version) return;
    this.#version = seen;
    try {
      this.#digest = readDigest(this.#file);
    } catch (error) {
      this.#digest = null;
      this.#onProblem((error as Error).message);
    }
  }
}

/** Reads the token of a file that others must not read, for a program that presents it. @throws Error as the constructor does */
export function readBearerToken(file: string): string {
  let text: string;
  try {
    const { mode, size } = statSync(file);
    if ((mode & 0o077) !== 0) throw new Error(`${file}: others may read or change this token; chmod 600 ${file}`);
    if (size > LENGTH.most) throw unusable(file, `${size} bytes`);
    text = readFileSync(file, 'utf8').replace(/[\r\n]+$/, '');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new Error(`${file}: cannot be read (${code})`);
  }
  if (text.length < LENGTH.least) throw unusable(file, `${text.length} characters`);
  if (!TOKEN.test(text)) throw unusable(file, 'characters that a bearer token cannot have');
  return text;
}

function readDigest(file: string): Buffer {
  return digestOf(readBearerToken(file));
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function unusable(file: string, found: string): Error {
  return new Error(
    `${file}: expected one bearer token of ${LENGTH.least} to ${LENGTH.most} characters, found ${found}; make one: (umask 077; openssl rand -hex 32 > ${file})`,
  );
}
