import { randomUUID } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { findRedisProblem, parseRedisInfo, type RedisInfo } from '../redis/redis_info.ts';
import type { ReplayHorizon } from './replay_horizon.ts';

/** What the witness asks of Redis. */
export interface RedisPort {
  /** The answers to INFO of all masters. */
  infos(): Promise<readonly string[]>;
  /**
   * Reads the epoch of a bucket; sets `candidate` where there is none, or where it still is `outdated`. Atomic. Returns what stands there
   * then.
   */
  establishEpoch(bucket: string, outdated: string, candidate: string): Promise<string>;
}

/** What the witness is made of. */
export interface WitnessOptions {
  readonly horizon: ReplayHorizon;
  readonly clock: Clock;
  readonly allowEviction: boolean;
  /** Parts of the data that may be lost apart from each other: one for a single node, several for a cluster. */
  readonly buckets: readonly string[];
}

/** What Redis is used for, for messages. */
const USE = { key: 'replay.redis', lost: 'the used proofs', evicted: 'a proof that is evicted can be replayed' };

/** The clock of Redis may run ahead of ours by this much more, in milliseconds, from one look to the next. */
const DRIFT_TOLERANCE_MS = 1000;

/**
 * Notices when Redis may have lost used proofs, and moves the horizon: another process or another master than before (restart, failover), an
 * epoch that is gone or another (FLUSHALL, restart without persistence), a clock of Redis that jumped ahead (keys expired early). The epoch
 * is a key without expiry, `<random> <horizon>`: gateways that start into an emptied Redis learn the horizon from those that ran before.
 */
export class RedisWitness {
  readonly #options: WitnessOptions;
  readonly #epochs = new Map<string, string>();
  /** Each master seen at the last look, and by how many milliseconds its clock was ahead of ours. */
  #masters: ReadonlyMap<string, number> = new Map();

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  /** The epoch of a bucket as of the last look. */
  epochOf(bucket: string): string {
    return this.#epochs.get(bucket) ?? '';
  }

  /** Looks once. Resolves with what is wrong, for people, or null: then the epochs are known. Rejects when Redis does not answer. */
  async inspect(port: RedisPort): Promise<string | null> {
    const infos = (await port.infos()).map(parseRedisInfo);
    if (infos.length === 0) return 'no master is known';
    for (const info of infos) {
      const problem = findRedisProblem(info, { ...USE, allowEviction: this.#options.allowEviction });
      if (problem !== null) return problem;
    }
    const replaced = this.#compareMasters(infos);
    if (replaced) this.#options.horizon.lose(this.#options.clock());
    const { buckets } = this.#options;
    const epochs = await Promise.all(buckets.map((bucket) => this.#readEpoch(port, bucket, replaced)));
    const renewed = buckets.some((bucket, index) => (this.#epochs.get(bucket) ?? epochs[index]) !== epochs[index]);
    // The horizon moves before the new epochs can be claimed with.
    if (renewed && !replaced) this.#options.horizon.lose(this.#options.clock());
    buckets.forEach((bucket, index) => {
      this.#epochs.set(bucket, epochs[index] ?? '');
    });
    return null;
  }

  /** Whether a master is another than at the last look, or its clock jumped ahead. */
  #compareMasters(infos: readonly RedisInfo[]): boolean {
    const now = this.#options.clock();
    const masters = new Map<string, number>();
    let lost = false;
    for (const { identity, timeMs } of infos) {
      const name = identity ?? '';
      const ahead = (timeMs ?? Number.NaN) - now;
      const before = this.#masters.get(name);
      if (before === undefined ? this.#masters.size > 0 : ahead - before > DRIFT_TOLERANCE_MS) lost = true;
      masters.set(name, ahead);
    }
    this.#masters = masters;
    return lost;
  }

  /** The epoch of a bucket as it stands, after others were told of a loss that they cannot know of. */
  async #readEpoch(port: RedisPort, bucket: string, replaced: boolean): Promise<string> {
    const { clock, horizon } = this.#options;
    const known = this.#epochs.get(bucket);
    const now = clock();
    const candidate = `${randomUUID()} ${known === undefined ? 0 : horizon.after(now)}`;
    const epoch = await port.establishEpoch(bucket, replaced ? (known ?? '') : '', candidate);
    if (known === undefined) horizon.adopt(horizonOf(epoch));
    else if (epoch !== known && horizonOf(epoch) <= now) return port.establishEpoch(bucket, epoch, candidate);
    return epoch;
  }
}

/** The horizon in an epoch, in milliseconds; 0 when there is none. */
function horizonOf(epoch: string): number {
  const until = Number(epoch.split(' ')[1]);
  return Number.isFinite(until) ? until : 0;
}
