import { type Clock, secondsOf } from '../kernel/clock.ts';
import { closeRedis, connectRedis, mastersOf } from '../redis/connect_redis.ts';
import { findRedisProblem, parseRedisInfo } from '../redis/redis_info.ts';
import { describeRedis, type RedisConfig } from '../redis/redis_options.ts';
import { type Entry, type Kind, LISTED, type Store, StoreUnavailable } from './store.ts';

/** What it is opened with. */
export interface RedisStoreOptions {
  readonly redis: RedisConfig;
  readonly clock: Clock;
  /** Told of a problem with the connection, in words for the log. */
  readonly onProblem: (problem: string) => void;
  /** Told when the last writes may be gone. */
  readonly onLoss: () => void;
}

/** Seconds before its first start that a Redis is believed: longer than anything that is good once. */
const BELIEVED_SECONDS = 604_800;
/** Milliseconds after which the same problem is told again. */
const TELL_AGAIN_MS = 10_000;

/** Writes a value where another stands, in one step. */
const REPLACE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1`;

/** Writes since when this data set remembers, and of which masters, unless a later time stands there for them; atomic. Returns what stands. */
const EPOCH = `
local epoch = redis.call('GET', KEYS[1]) or ''
local since, masters = string.match(epoch, '^(%S+) (.*)$')
if masters == ARGV[2] and tonumber(since) >= tonumber(ARGV[1]) then return epoch end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
return ARGV[1] .. ' ' .. ARGV[2]`;

/**
 * The store for several servers of one issuer. One command decides each single use (`SET NX`), so that of many copies at many servers one
 * wins. Nothing waits longer than `command_timeout_ms` and nothing is sent twice (redis_options.ts). Entries leave by their own expiry; those
 * that can be listed stand in a sorted set by their end besides, which names what exists and never decides whether it does.
 */
export class RedisStore implements Store {
  readonly shared = true;
  readonly #client: ReturnType<typeof connectRedis>;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #onLoss: () => void;
  readonly #redis: RedisConfig;
  /** The masters as they were seen last. */
  #masters: string | null = null;

  private constructor(client: ReturnType<typeof connectRedis>, { redis, clock, onLoss }: RedisStoreOptions) {
    this.#client = client;
    this.#prefix = `${redis.key_prefix}as:`;
    this.#clock = clock;
    this.#onLoss = onLoss;
    this.#redis = redis;
  }

  /** @throws Error that says why this Redis cannot be used */
  static async open(options: RedisStoreOptions): Promise<RedisStore> {
    const { redis, clock, onProblem } = options;
    const client = connectRedis(redis);
    let toldAt = Number.NEGATIVE_INFINITY;
    client.on('error', (error: Error) => {
      const now = clock();
      if (now - toldAt < TELL_AGAIN_MS) return;
      toldAt = now;
      onProblem(`${describeRedis(redis)}: ${error.message}`);
    });
    try {
      await client.connect();
      await judgeAll(client, redis);
      const store = new RedisStore(client, options);
      // A Redis that is new has lost nothing.
      const epoch = `${secondsOf(clock()) - BELIEVED_SECONDS} ${await store.#identities()}`;
      await client.set(store.#epoch, epoch, 'NX');
      await store.lostAt();
      return store;
    } catch (error) {
      await closeRedis(client);
      throw new Error(`storage.redis: ${describeRedis(redis)} cannot be used: ${(error as Error).message}`);
    }
  }

  async insert(entry: Entry): Promise<string> {
    const { kind, id, value, until } = entry;
    const ttl = this.#ttl(until);
    const answer = await this.#ask(() => this.#client.set(this.#key(kind, id), value, 'EX', ttl, 'NX'));
    // What stands there may leave in this moment: an empty text is nobody's value, so that who asks was not first.
    if (answer === null) return (await this.get(kind, id)) ?? '';
    if (LISTED.includes(kind)) await this.#enlist(entry);
    return value;
  }

  /**
   * The epoch is a key without expiry that names the masters which have all that was written. It is gone, or names others, when everything
   * went (FLUSHALL, a restart without persistence), or when another took over (fail-over, any restart), which may not have had the last
   * writes. Each server also compares with what it saw itself, since its own last writes may have gone to the old master.
   */
  async lostAt(): Promise<number> {
    // In one round trip: a connection that breaks in between loses all of them, since nothing is sent twice.
    const [masters, epoch] = await this.#ask(() => Promise.all([this.#identities(), this.#client.get(this.#epoch)]));
    const [since, of] = readEpoch(epoch);
    const changed = this.#masters !== null && this.#masters !== masters;
    if (of === masters && !changed) {
      this.#masters = masters;
      return since;
    }
    // Who took over must be as fit as who was there at the start: one that evicts would forget without anybody's notice.
    await this.#ask(() => judgeAll(this.#client, this.#redis));
    const now = secondsOf(this.#clock());
    const renewed = await this.#ask(() => this.#client.eval(EPOCH, 1, this.#epoch, String(now), masters));
    this.#masters = masters;
    this.#onLoss();
    return Math.max(now, readEpoch(String(renewed))[0]);
  }

  async put(entry: Entry): Promise<void> {
    const { kind, id, value, until } = entry;
    await this.#ask(() => this.#client.set(this.#key(kind, id), value, 'EX', this.#ttl(until)));
    if (LISTED.includes(kind)) await this.#enlist(entry);
  }

  async replace(entry: Entry, standing: string): Promise<boolean> {
    const { kind, id, value, until } = entry;
    const ttl = String(this.#ttl(until));
    const answer = await this.#ask(() => this.#client.eval(REPLACE, 1, this.#key(kind, id), standing, value, ttl));
    if (answer !== 1) return false;
    if (LISTED.includes(kind)) await this.#enlist(entry);
    return true;
  }

  get(kind: Kind, id: string): Promise<string | null> {
    return this.#ask(() => this.#client.get(this.#key(kind, id)));
  }

  async remove(kind: Kind, id: string): Promise<boolean> {
    const removed = await this.#ask(() => this.#client.del(this.#key(kind, id)));
    if (LISTED.includes(kind)) await this.#ask(() => this.#client.zrem(this.#index(kind), id));
    return removed === 1;
  }

  async list(kind: Kind): Promise<readonly string[]> {
    await this.#prune(kind);
    const ids = await this.#ask(() => this.#client.zrange(this.#index(kind), '0', '-1'));
    // One by one, since in a cluster they lie on several nodes.
    const values = await Promise.all(ids.sort().map((id) => this.get(kind, id)));
    return values.filter((value) => value !== null);
  }

  async count(kind: Kind): Promise<number> {
    await this.#prune(kind);
    return this.#ask(() => this.#client.zcard(this.#index(kind)));
  }

  close(): Promise<void> {
    return closeRedis(this.#client);
  }

  /** The processes that take writes, and the histories that they write, as INFO names them. */
  async #identities(): Promise<string> {
    const all = mastersOf(this.#client).map(async (master) => {
      const [server, replication] = await Promise.all([master.info('server'), master.info('replication')]);
      return parseRedisInfo(`${server}${replication}`).identity ?? '';
    });
    return (await Promise.all(all)).sort().join(',');
  }

  get #epoch(): string {
    return `${this.#prefix}epoch`;
  }

  async #enlist({ kind, id, until }: Entry): Promise<void> {
    await this.#ask(() => this.#client.zadd(this.#index(kind), until, id));
  }

  async #prune(kind: Kind): Promise<void> {
    await this.#ask(() => this.#client.zremrangebyscore(this.#index(kind), '-inf', `(${secondsOf(this.#clock())}`));
  }

  #key(kind: Kind, id: string): string {
    return `${this.#prefix}${kind}:${id}`;
  }

  #index(kind: Kind): string {
    return `${this.#prefix}list:${kind}`;
  }

  /** `until` counts whole. */
  #ttl(until: number): number {
    return Math.max(Math.ceil(until - this.#clock() / 1000) + 1, 1);
  }

  async #ask<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      throw new StoreUnavailable(`Redis: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** When it was written, in seconds since the Unix epoch, and of which masters. */
function readEpoch(text: string | null): readonly [number, string] {
  const [, since = '0', masters = ''] = /^(\d+) (.*)$/.exec(text ?? '') ?? [];
  return [Number(since), masters];
}

async function judgeAll(client: ReturnType<typeof connectRedis>, redis: RedisConfig): Promise<void> {
  await Promise.all(mastersOf(client).map((master) => judge(master, redis)));
}

async function judge(master: { info(section: string): Promise<string> }, redis: RedisConfig): Promise<void> {
  const [server, memory, replication] = await Promise.all(
    ['server', 'memory', 'replication'].map((section) => master.info(section)),
  );
  const problem = findRedisProblem(parseRedisInfo(`${server}${memory}${replication}`), {
    key: 'storage.redis',
    lost: 'clients and used identifiers',
    evicted: 'an identifier that is thrown away can be used again, and a client that is cannot sign in',
    allowEviction: redis.allow_eviction,
  });
  if (problem !== null) throw new Error(problem);
}
