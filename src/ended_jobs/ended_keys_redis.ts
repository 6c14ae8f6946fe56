import { randomUUID } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { Clock } from '../kernel/clock.ts';
import type { MaybePromise } from '../kernel/result.ts';
import { closeRedis, connectRedis, mastersOf } from '../redis/connect_redis.ts';
import { findRedisProblem, parseRedisInfo } from '../redis/redis_info.ts';
import { describeRedis, type RedisConfig } from '../redis/redis_options.ts';
import {
  type EndedKey,
  type EndedKeys,
  type EndedKeysHealth,
  type EndedKeysStats,
  EndedList,
  type KeyStanding,
} from './ended_keys.ts';
import { SharedList } from './shared_list_redis.ts';

/** What the Redis store is made of. */
export interface RedisEndedKeysOptions {
  readonly redis: RedisConfig;
  /** Where it is configured, for messages: `replay.redis`, `ended_jobs.redis`. */
  readonly key: string;
  /** Keys held at most, here and in Redis. */
  readonly limit: number;
  /** Milliseconds between two questions. */
  readonly pollMs: number;
  /** Milliseconds that the last answer may be old. */
  readonly maxStaleMs: number;
  readonly clock: Clock;
}

/** Milliseconds in which `start` connects and reads the list, or gives up. */
const START_TIMEOUT_MS = 5000;
/** Milliseconds between two readings of the whole list, which find what a failover between two looks took away. */
const WHOLE_EVERY_MS = 30_000;
/** After this many looks in a row without an answer, the connection is given up. One may fall into a pause of this process. */
const MAX_FAILED_LOOKS = 2;

/**
 * The keys of ended jobs, shared through Redis by any number of gateways and brokers. Each keeps the whole list in memory: Redis tells when
 * it changed (pub/sub), and is asked every `pollMs` in any case. What Redis lost, whoever still knows it writes again. When Redis gave no
 * answer for `maxStaleMs`, keys that are not known to have ended are `unavailable`.
 */
export class RedisEndedKeys implements EndedKeys {
  readonly #options: RedisEndedKeysOptions;
  readonly #client: Redis | Cluster;
  readonly #subscriber: Redis | Cluster;
  readonly #list: EndedList;
  readonly #shared: SharedList;
  /** Reads the whole list from time to time, beside the looks, which must not wait for it. */
  readonly #rereader: SharedList;
  readonly #listeners: (() => void)[] = [];
  readonly #counts = { refused: 0, unavailable: 0, losses: 0 };
  readonly #started = Promise.withResolvers<void>();
  #timer: NodeJS.Timeout | undefined;
  /** When the last look that was answered began (performance.now()). */
  #confirmedAt = Number.NEGATIVE_INFINITY;
  /** After each new connection, which may be to another master. */
  #readsWhole = true;
  #readWholeAt = 0;
  #look: Promise<void> | null = null;
  #failedLooks = 0;
  #vouches = false;
  #closed = false;
  #problem = 'not connected yet';

  constructor(options: RedisEndedKeysOptions) {
    const { redis, limit } = options;
    this.#options = options;
    this.#list = new EndedList(limit);
    this.#client = connectRedis(redis);
    this.#subscriber = connectRedis(redis);
    this.#shared = new SharedList(this.#client, { prefix: redis.key_prefix, limit });
    this.#rereader = new SharedList(this.#client, { prefix: redis.key_prefix, limit });
    this.#client.on('error', (error: Error) => this.#note(error.message));
    this.#client.on('ready', () => this.#readAnew());
    this.#client.on('+node', () => this.#readAnew());
    this.#subscriber.on('error', () => undefined); // The other connection says what is wrong, and the poll stands in.
    this.#subscriber.on('ready', () => void this.#subscriber.subscribe(this.#shared.channel).catch(() => undefined));
    this.#subscriber.on('message', () => void this.#lookAfter());
    this.#started.promise.catch(() => undefined); // Whoever waits in start() hears of it.
  }

  async start(): Promise<void> {
    const { promise, reject } = this.#started;
    const { redis, key, pollMs } = this.#options;
    const where = `${key}: ${describeRedis(redis)}`;
    const bound = setTimeout(
      () => reject(new Error(`${where} was not ready within ${START_TIMEOUT_MS} ms: ${this.#problem}`)),
      START_TIMEOUT_MS,
    );
    this.#timer = setInterval(() => this.#tick(), pollMs).unref();
    this.#client.connect().catch(() => undefined); // Both try again by themselves; what went wrong is in #problem.
    this.#subscriber.connect().catch(() => undefined);
    try {
      await promise;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearTimeout(bound);
    }
  }

  judge(thumbprint: string): MaybePromise<KeyStanding> {
    const standing = this.peek(thumbprint);
    return standing === 'live' ? standing : this.#judgeAgain(thumbprint, standing);
  }

  peek(thumbprint: string): KeyStanding {
    if (this.#list.has(thumbprint)) return 'ended';
    return this.#isFresh() ? 'live' : 'unavailable';
  }

  async end(keys: readonly EndedKey[]): Promise<void> {
    // Known here first: what Redis cannot be told is refused by this process at least.
    const room = this.#list.add(keys, this.#options.clock());
    this.#tell();
    if (room === null) throw new Error(this.#full());
    if (!(await this.#shared.write(keys, this.#options.clock()))) throw new Error(this.#full());
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  list(): EndedKey[] {
    return this.#list.entries(this.#options.clock());
  }

  health(): EndedKeysHealth {
    const healthy = this.#isFresh();
    const detail = `${this.#list.size} of at most ${this.#options.limit} keys; ${describeRedis(this.#options.redis)}`;
    return { healthy, detail: healthy ? detail : this.#problem || 'no answer' };
  }

  stats(): EndedKeysStats {
    return { kind: 'redis', up: this.#isFresh(), entries: this.#list.size, ...this.#counts };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#confirmedAt = Number.NEGATIVE_INFINITY;
    this.#problem = 'closed';
    this.#started.reject(new Error(`${this.#options.key}: closed`));
    await Promise.all([closeRedis(this.#client), closeRedis(this.#subscriber)]);
  }

  #isFresh(): boolean {
    return performance.now() - this.#confirmedAt <= this.#options.maxStaleMs;
  }

  /** Not fresh: after a pause of this process, one question answers that. Two, when one was under way before the pause. */
  async #judgeAgain(thumbprint: string, seen: KeyStanding): Promise<KeyStanding> {
    let standing = seen;
    for (let tries = 0; standing === 'unavailable' && tries < 2; tries++) {
      await this.#lookOnce();
      standing = this.peek(thumbprint);
    }
    if (standing === 'ended') this.#counts.refused++;
    if (standing === 'unavailable') this.#counts.unavailable++;
    return standing;
  }

  #tick(): void {
    this.#list.forgetExpired(this.#options.clock());
    // Open connections whose keys nobody can vouch for any more end too.
    if (this.#vouches && !this.#isFresh()) {
      this.#vouches = false;
      this.#tell();
    }
    void this.#lookOnce();
  }

  #readAnew(): void {
    this.#readsWhole = true;
    void this.#lookAfter();
  }

  /** A look that began after this call. */
  async #lookAfter(): Promise<void> {
    await this.#look;
    await this.#lookOnce();
  }

  /** One look at a time; never rejects. */
  #lookOnce(): Promise<void> {
    if (this.#closed || this.#client.status !== 'ready') return Promise.resolve();
    this.#look ??= this.#lookNow().finally(() => {
      this.#look = null;
    });
    return this.#look;
  }

  async #lookNow(): Promise<void> {
    const began = performance.now();
    const whole = this.#readsWhole;
    this.#readsWhole = false;
    try {
      if (whole) await this.#inspect();
      const changed = await this.#readChanges(this.#shared, whole);
      if (this.#closed) return;
      this.#failedLooks = 0;
      this.#confirmedAt = began;
      this.#problem = '';
      this.#started.resolve();
      if (changed || !this.#vouches) {
        this.#vouches = true;
        this.#tell();
      }
      if (whole) this.#readWholeAt = began;
      else if (began - this.#readWholeAt >= WHOLE_EVERY_MS) this.#reread(began);
    } catch (error) {
      this.#readsWhole ||= whole;
      if (!this.#closed) this.#failed(error as Error);
    }
  }

  #reread(began: number): void {
    this.#readWholeAt = began;
    const done = this.#inspect().then(() => this.#readChanges(this.#rereader, true));
    done.then(
      (changed) => {
        if (changed) this.#tell();
      },
      () => this.#readAnew(),
    );
  }

  /** Reads what is new, or everything; what only this process knows is written again. @returns whether a key became known */
  async #readChanges(shared: SharedList, whole: boolean): Promise<boolean> {
    const { clock } = this.#options;
    const before = whole ? this.list() : [];
    const { entries, complete } = await shared.read(whole, randomUUID());
    const added = this.#list.add(entries, clock());
    if (added === null) throw new Error(this.#full());
    if (!complete) return added > 0;
    const there = new Map(entries.map(({ thumbprint, expiresAt }) => [thumbprint, expiresAt]));
    const known = whole ? before : this.list();
    const lost = known.filter(({ thumbprint, expiresAt }) => (there.get(thumbprint) ?? 0) < expiresAt);
    if (lost.length > 0) {
      this.#counts.losses++;
      if (!(await shared.write(lost, clock()))) throw new Error(this.#full());
    }
    return added > 0;
  }

  /** Throws what is wrong with this Redis, for people. */
  async #inspect(): Promise<void> {
    const { redis, key } = this.#options;
    const use = {
      key,
      lost: 'ended jobs',
      evicted: 'a job that is evicted is served again',
      allowEviction: redis.allow_eviction,
    };
    for (const info of await Promise.all(mastersOf(this.#client).map((master) => master.info()))) {
      const problem = findRedisProblem(parseRedisInfo(info), use);
      if (problem !== null) throw Object.assign(new Error(problem), { unfit: true });
    }
  }

  #failed(error: Error & { readonly unfit?: boolean }): void {
    this.#note(error.message);
    if (error.unfit === true) {
      const { redis, key } = this.#options;
      this.#started.reject(new Error(`${key}: ${describeRedis(redis)}: ${error.message}`));
    } else if (error.name !== 'ReplyError' && ++this.#failedLooks >= MAX_FAILED_LOOKS) {
      // A connection that fell silent may stay so for a quarter of an hour; a new one tells.
      this.#failedLooks = 0;
      this.#client.disconnect(true);
    }
  }

  #note(problem: string): void {
    if (!this.#closed) this.#problem = problem;
  }

  #full(): string {
    return `the list of ended jobs is full (${this.#options.limit} keys)`;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
