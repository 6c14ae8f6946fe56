import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { type CryptoKey, compactVerify, importJWK, type JWK } from 'jose';
import { NO_FILE, versionOf } from '../files/version.ts';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import type { Log } from '../telemetry/log.ts';
import { SIGNING_ALGORITHM } from './metadata.ts';
import { loadSigningKeys, makeSigningKey, type SigningJwk, writeSigningKeys } from './signing_keys.ts';
import type { Store } from './store.ts';

/** When keys take turns; seconds. */
export interface Rotation {
  /** Age at which another key takes over; 0: never. */
  readonly rotate_after_seconds: number;
  /** How long the next key is published before it signs. */
  readonly announce_seconds: number;
}

/** What a ring is made of. */
export interface KeyRingOptions {
  readonly file: string;
  readonly store: Store;
  readonly rotation: Rotation;
  readonly clock: Clock;
  readonly log: Log;
}

/** The key that signs now. */
export interface SigningKeyNow {
  readonly kid: string;
  readonly key: CryptoKey;
}

/** A public key as it stands in the store. */
interface PublishedKey {
  readonly jwk: JWK;
  /** The file that it is from: its server takes it back when it is there no more. */
  readonly owner: string;
}

/** Milliseconds between two looks at the file and the ages of the keys. */
const TICK_MS = 30_000;
/** Seconds that a public key stays published after its server last said so: longer than any token lives. */
const PUBLISHED_SECONDS = 7200;
const PUBLISH_EVERY_SECONDS = 600;
/** Seconds after its successor took over that a key is kept: the longest life of a token, and a margin. */
const OVERLAP_SECONDS = 3900;
/** Seconds that the keys of other servers are remembered. */
const REMEMBERED_SECONDS = 15;

/**
 * The keys that sign tokens. Each server has private keys of its own in a file of its own, which never leave it; the public ones of all servers
 * that share a store are published by each of them. A key that becomes too old gets a successor, which is published some time before it
 * signs; what was signed with the old one can be verified until it has expired.
 */
export class KeyRing {
  readonly #options: KeyRingOptions;
  readonly #imported = new Map<string, CryptoKey>();
  #keys: readonly SigningJwk[] = [];
  #version = '';
  #publishedAt = Number.NEGATIVE_INFINITY;
  #others: { readonly keys: readonly JWK[]; readonly at: number } = { keys: [], at: Number.NEGATIVE_INFINITY };
  #timer: NodeJS.Timeout | null = null;
  #turning: Promise<void> = Promise.resolve();

  private constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  /** @throws Error that says what is wrong with the file */
  static async start(options: KeyRingOptions): Promise<KeyRing> {
    const ring = new KeyRing(options);
    await ring.#read();
    await ring.#turn();
    ring.#timer = setInterval(() => void ring.turn(), TICK_MS);
    ring.#timer.unref();
    return ring;
  }

  /** The key that signs at this moment. */
  current(): SigningKeyNow {
    const { kid = '' } = this.#active() ?? {};
    const key = this.#imported.get(kid);
    if (key === undefined) throw new Error('there is no signing key');
    return { kid, key };
  }

  /** The public keys (RFC 7517 §5) of every server that shares the store; where it cannot answer, those known last. `seconds`: how old what is known of the others may be. */
  async published(seconds: number = REMEMBERED_SECONDS): Promise<readonly JWK[]> {
    const own = this.#keys.map(publicPart);
    const now = secondsOf(this.#options.clock());
    if (now - this.#others.at >= seconds) {
      const texts = await this.#options.store.list('key').catch(() => null);
      if (texts !== null) this.#others = { keys: texts.map((text) => readPublished(text).jwk), at: now };
    }
    const known = new Set(own.map(({ kid }) => kid));
    return [...own, ...this.#others.keys.filter(({ kid }) => !known.has(kid))];
  }

  /** Whether a JWT carries the signature of one of the servers. */
  async verify(token: string, kid: unknown): Promise<boolean> {
    const find = (keys: readonly JWK[]) => keys.find((one) => one.kid === kid);
    // Another server may have begun to sign since: looked for once a second at most, whatever is presented.
    const jwk = find(await this.published()) ?? find(await this.published(1));
    if (jwk === undefined) return false;
    try {
      await compactVerify(token, await importJWK(jwk, SIGNING_ALGORITHM), { algorithms: [SIGNING_ALGORITHM] });
      return true;
    } catch {
      return false;
    }
  }

  /** Looks at the file and at the ages of the keys, and does what is due. Never rejects. */
  turn(): Promise<void> {
    // One after the other, so that no two make a successor.
    this.#turning = this.#turning
      .then(() => this.#turn())
      .catch((error: Error) => {
        this.#options.log.warn(
          { problem: error.message },
          'the signing keys could not be renewed; the ones before stay',
        );
      });
    return this.#turning;
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** A private key, for what needs one at its start. */
  get anyKey(): SigningJwk {
    return this.#keys[0] as SigningJwk;
  }

  async #turn(): Promise<void> {
    await this.#read();
    await this.#rotate(secondsOf(this.#options.clock()));
    await this.#publish(secondsOf(this.#options.clock()));
  }

  /** Reads the file when it changed: another process may share it, and people may replace it. */
  async #read(): Promise<void> {
    const { file, log } = this.#options;
    const seen = versionOf(file);
    if (seen !== NO_FILE && seen === this.#version) return;
    const { keys } = await loadSigningKeys(file, log);
    const age = Math.floor((await stat(file)).mtimeMs / 1000);
    await this.#use(keys.map((key) => ({ iat: age, ...key })));
    this.#version = seen === NO_FILE ? versionOf(file) : seen;
    this.#publishedAt = Number.NEGATIVE_INFINITY;
  }

  async #use(keys: readonly SigningJwk[]): Promise<void> {
    for (const key of keys) {
      const { kid = '' } = key;
      if (this.#imported.has(kid)) continue;
      this.#imported.set(kid, (await importJWK(key, SIGNING_ALGORITHM, { extractable: false })) as CryptoKey);
    }
    this.#keys = keys;
  }

  async #rotate(now: number): Promise<void> {
    const { file, rotation, log } = this.#options;
    const active = this.#active();
    const kept = this.#keys.filter((key) => !this.#isOver(key, now));
    const { rotate_after_seconds: after, announce_seconds: announce } = rotation;
    const waiting = kept.some(({ nbf = 0 }) => nbf > now);
    const due = after > 0 && !waiting && active !== undefined && now >= (active.iat ?? now) + after - announce;
    if (due) {
      const next = await makeSigningKey({ iat: now + announce, nbf: now + announce });
      kept.push(next);
      log.info({ kid: next.kid, signs_in_seconds: announce }, 'made the next signing key');
    }
    if (!due && kept.length === this.#keys.length) return;
    // Published before it can sign, also where it signs at once.
    await this.#use(kept);
    this.#publishedAt = Number.NEGATIVE_INFINITY;
    await this.#publish(now);
    await writeSigningKeys(file, { keys: kept });
  }

  async #publish(now: number): Promise<void> {
    if (now - this.#publishedAt < PUBLISH_EVERY_SECONDS) return;
    const { store, file } = this.#options;
    const owner = `${store.shared ? hostname() : ''} ${resolve(file)}`;
    for (const key of this.#keys) {
      const value = JSON.stringify({ jwk: publicPart(key), owner } satisfies PublishedKey);
      await store.put({ kind: 'key', id: key.kid ?? '', value, until: now + PUBLISHED_SECONDS });
    }
    // A key that was taken out of the file is good no more, also where it was taken out because it leaked.
    for (const text of await store.list('key')) {
      const other = readPublished(text);
      const { kid = '' } = other.jwk;
      if (other.owner === owner && !this.#keys.some((key) => key.kid === kid)) await store.remove('key', kid);
    }
    this.#others = { keys: [], at: Number.NEGATIVE_INFINITY };
    this.#publishedAt = now;
  }

  #active(): SigningJwk | undefined {
    const now = secondsOf(this.#options.clock());
    return this.#keys
      .filter(({ nbf = 0 }) => nbf <= now)
      .reduce<SigningJwk | undefined>(
        (best, key) => (best === undefined || (key.nbf ?? 0) > (best.nbf ?? 0) ? key : best),
        undefined,
      );
  }

  /** Whether another key took over so long ago that nothing signed with this one is valid. */
  #isOver({ nbf = 0 }: SigningJwk, now: number): boolean {
    return this.#keys.some((other) => (other.nbf ?? 0) > nbf && (other.nbf ?? 0) + OVERLAP_SECONDS <= now);
  }
}

function readPublished(text: string): PublishedKey {
  return JSON.parse(text) as PublishedKey;
}

function publicPart({ kty, crv, x, y, kid }: SigningJwk): JWK {
  return { kty, crv, x, y, kid, alg: SIGNING_ALGORITHM, use: 'sig' } as JWK;
}
