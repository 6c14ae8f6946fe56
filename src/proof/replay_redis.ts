import { Cluster, type Redis } from 'ioredis';
import type { Clock } from '../kernel/clock.ts';
import { closeRedis, connectRedis } from '../redis/connect_redis.ts';
import { describeRedis, type RedisConfig } from '../redis/redis_options.ts';
import { ClaimBatches } from './claim_batches.ts';
import { type RedisPort, RedisWitness } from './redis_witness.ts';
import { ReplayHorizon } from './replay_horizon.ts';
import type { Claim, ReplayHealth, ReplayStats, ReplayStore } from './replay_store.ts';

/** What the Redis store is made of. */
export interface RedisReplayOptions {
  readonly redis: RedisConfig;
  /** The longest time from a claim to its expiry, in milliseconds (`longestClaim`). */
  readonly longestMs: number;
  readonly clock: Clock;
}

/** Milliseconds in which `start` connects and inspects, or gives up. */
const START_TIMEOUT_MS = 5000;
/** Milliseconds between two looks: how long a changed eviction policy, or a failover inside a cluster, can go unnoticed. */
const INSPECT_EVERY_MS = 1000;
/** After this many looks in a row without an answer, the connection is given up. One may fall into a pause of this process. */
const MAX_FAILED_LOOKS = 2;

/** Milliseconds that one look may take: a command that the client lost must not be waited for. */
const LOOK_TIMEOUT_MS = 5000;
/** After so many looks without a connection, or a sign of an attempt at one, another client is made. */
const MAX_IDLE_LOOKS = 10;

const FIRST = 1;
const USED = 0;

/**
 * Reads the epoch; sets it where there is none, or where it is the one in ARGV[1]. It is written in any case: a Redis that refuses writes
 * (OOM, READONLY, MISCONF, NOREPLICAS) is found out by the look, not by the next request.
 */
const EPOCH = `local epoch = redis.call('GET', KEYS[1])
if not epoch or epoch == ARGV[1] then epoch = ARGV[2] end
redis.call('SET', KEYS[1], epoch)
return epoch`;

/** In a cluster, keys are spread by the first character of their digest, so that a proof shares a slot with an epoch. */
const CLUSTER_BUCKETS = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'];

/**
 * A replay store in Redis, for any number of gateways (RFC 9449 §11.1). It answers `unavailable` within `command_timeout_ms` whenever Redis
 * cannot be asked, refuses the command, or is not yet inspected after (re)connecting; and, for proofs that may have been used before, for
 * one window after used proofs may have been lost. Writes that a lagging replica lost in a failover are noticed once the new master is
 * seen: at once with a new connection, within a second inside a cluster.
 */
export class RedisReplayStore implements ReplayStore {
  #client: Redis | Cluster;
  readonly #options: RedisReplayOptions;
  readonly #horizon: ReplayHorizon;
  readonly #witness: RedisWitness;
  readonly #batches = new ClaimBatches((script, keys, ...rest) => this.#send(script, keys, rest));
  readonly #started = Promise.withResolvers<void>();
  readonly #counts = { first: 0, used: 0, unavailable: 0 };
  #timer: NodeJS.Timeout | undefined;
  /** Counts reasons for doubt, so that what a look found is not believed after a newer one. */
  #doubts = 0;
  #inspected = false;
  #inspecting = false;
  #failedLooks = 0;
  #idleLooks = 0;
  #closed = false;
  #problem = 'not connected yet';

  constructor(options: RedisReplayOptions) {
    const { redis, longestMs, clock } = options;
    this.#options = options;
    this.#horizon = new ReplayHorizon(longestMs);
    const buckets = redis.cluster === undefined ? [''] : CLUSTER_BUCKETS;
    this.#witness = new RedisWitness({ horizon: this.#horizon, clock, allowEviction: redis.allow_eviction, buckets });
    this.#client = this.#makeClient();
    this.#started.promise.catch(() => {}); // Whoever waits in start() hears of it; nobody has to.
  }

  async start(): Promise<void> {
    const { promise, reject } = this.#started;
    const where = describeRedis(this.#options.redis);
    const bound = setTimeout(() => {
      reject(new Error(`replay.redis: ${where} was not ready within ${START_TIMEOUT_MS} ms: ${this.#problem}`));
    }, START_TIMEOUT_MS);
    this.#timer = setInterval(() => this.#look(), INSPECT_EVERY_MS).unref();
    this.#client.connect().catch(() => {}); // It tries again by itself; what went wrong is in #problem.
    try {
      await promise;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearTimeout(bound);
    }
  }

  claim(key: string, expiresAtMs: number, nowMs: number): Claim | Promise<Claim> {
    if (!this.#inspected || !this.#horizon.vouches(expiresAtMs, nowMs)) return this.#count('unavailable');
    const { redis } = this.#options;
    const bucket = redis.cluster === undefined ? '' : key.charAt(0);
    // However late the command arrives within its time, the key outlives the proof.
    const lifeMs = Math.ceil(expiresAtMs - nowMs) + redis.command_timeout_ms;
    const claim = {
      bucket,
      epoch: this.#witness.epochOf(bucket),
      epochKey: this.#keyOf(bucket, 'epoch'),
      key: this.#keyOf(bucket, key),
      lifeMs,
    };
    return this.#batches.add(claim).then(
      (reply) => this.#read(reply),
      () => this.#count('unavailable'), // Not sent, refused, too late, or cut off: whether it was executed is not known.
    );
  }

  health(): ReplayHealth {
    return { healthy: this.#inspected, detail: this.#inspected ? describeRedis(this.#options.redis) : this.#problem };
  }

  stats(): ReplayStats {
    return { kind: 'redis', entries: null, ...this.#counts, losses: this.#horizon.losses };
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#doubt('closed');
    this.#closed = true;
    this.#started.reject(new Error('replay.redis: closed'));
    await closeRedis(this.#client);
  }

  /** What was doubted since the claim was made is not asked. */
  #send(script: string, keys: number, rest: string[]): Promise<unknown> {
    return this.#inspected ? this.#client.eval(script, keys, ...rest) : Promise.reject(new Error(this.#problem));
  }

  #count(claim: Claim): Claim {
    this.#counts[claim]++;
    return claim;
  }

  #read(reply: unknown): Claim {
    if (reply === FIRST) return this.#count('first');
    if (reply === USED) return this.#count('used');
    // The epoch we knew is gone, and with it the used proofs: no claim passes until the witness has set the horizon.
    if (this.#inspected) {
      this.#doubt('its data was replaced');
      void this.#inspect();
    }
    return this.#count('unavailable');
  }

  #makeClient(): Redis | Cluster {
    const client = connectRedis(this.#options.redis);
    client.on('error', (error: Error) => this.#doubt(error.message));
    client.on('close', () => this.#doubt(this.#inspected ? 'connection lost' : this.#problem));
    client.on('+node', () => this.#doubt('a node of the cluster is new'));
    client.on('ready', () => void this.#inspect());
    return client;
  }

  /** Inspects; and where the client neither has a connection nor tries to get one, puts another in its place. */
  #look(): void {
    const idle = this.#client.status !== 'ready' && !this.#closed;
    this.#idleLooks = idle ? this.#idleLooks + 1 : 0;
    if (this.#idleLooks < MAX_IDLE_LOOKS) return void this.#inspect();
    const idler = this.#client;
    idler.removeAllListeners();
    idler.on('error', () => {});
    idler.disconnect();
    this.#doubt(`the client did nothing, its state was ${idler.status}`);
    this.#client = this.#makeClient();
    this.#client.connect().catch(() => {});
  }

  /** No claim is sent until Redis was inspected again. */
  #doubt(problem: string): void {
    this.#idleLooks = 0;
    this.#doubts++;
    this.#inspected = false;
    if (!this.#closed) this.#problem = problem;
  }

  /** Looks at Redis, and lets claims pass when it is fit for them. One look at a time; never rejects. */
  async #inspect(): Promise<void> {
    if (this.#inspecting || this.#closed || this.#client.status !== 'ready') return;
    this.#inspecting = true;
    const doubts = this.#doubts;
    let again = false;
    try {
      const problem = await inTime(this.#witness.inspect(this.#port()));
      this.#failedLooks = 0;
      again = doubts !== this.#doubts;
      if (!again) this.#conclude(problem);
    } catch (error) {
      if (!this.#closed) this.#failed(error as Error);
    } finally {
      this.#inspecting = false;
    }
    if (again) void this.#inspect();
  }

  #failed({ name, message }: Error): void {
    if (name === 'ReplyError') {
      // It answers, and says why not; the next look asks again.
      this.#failedLooks = 0;
      this.#doubt(message);
    } else if (!this.#inspected || ++this.#failedLooks >= MAX_FAILED_LOOKS) {
      // A connection that fell silent may stay so for a quarter of an hour; a new one tells, and is looked at when it is ready.
      this.#doubt(message);
      this.#client.disconnect(true);
    }
  }

  #conclude(problem: string | null): void {
    this.#inspected = problem === null;
    this.#problem = problem ?? '';
    if (problem === null) this.#started.resolve();
    else this.#started.reject(new Error(`replay.redis: ${describeRedis(this.#options.redis)}: ${problem}`));
  }

  #port(): RedisPort {
    const client = this.#client;
    const masters = client instanceof Cluster ? client.nodes('master') : [client];
    return {
      infos: () => Promise.all(masters.map((master) => master.info())),
      establishEpoch: async (bucket, outdated, candidate) =>
        String(await client.eval(EPOCH, 1, this.#keyOf(bucket, 'epoch'), outdated, candidate)),
    };
  }

  #keyOf(bucket: string, name: string): string {
    const tag = bucket === '' ? '' : `{${bucket}}`; // Redis Cluster: keys with one hash tag share a slot.
    return `${this.#options.redis.key_prefix}${tag}${name}`;
  }
}

/** @throws Error when a look takes too long; what it finds later is not believed */
async function inTime<T>(look: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${LOOK_TIMEOUT_MS} ms`)), LOOK_TIMEOUT_MS);
  });
  try {
    return await Promise.race([look, late]);
  } finally {
    clearTimeout(timer);
  }
}
