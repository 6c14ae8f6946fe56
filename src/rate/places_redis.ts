import { randomUUID } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { Release } from './rate_limits.ts';

/** Renewals in the time of a lease: one or two may fail. */
const RENEWALS = 3;

/** Takes a place if fewer than ARGV[1] are taken; those whose time is over do not count. Time is that of Redis, one for all processes. */
const HOLD = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;
/** Also where it is not there any more, after a fail-over that lost it or a time without Redis: its request goes on. */
const RENEW = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`;

/** The places of one class that this process holds in Redis, each a lease. One timer renews them all. */
export class Places {
  readonly #client: Redis | Cluster;
  readonly #leaseMs: number;
  readonly #held = new Map<string, string>();
  readonly #timer: NodeJS.Timeout;

  constructor(client: Redis | Cluster, leaseMs: number) {
    this.#client = client;
    this.#leaseMs = leaseMs;
    this.#timer = setInterval(() => this.#renew(), leaseMs / RENEWALS).unref();
  }

  /** Takes a place; null: none of so many is free. Rejects when Redis cannot be asked. */
  async hold(key: string, limit: number): Promise<Release | null> {
    const member = randomUUID();
    try {
      const taken = await this.#client.eval(HOLD, 1, key, limit, member, this.#leaseMs);
      if (taken !== 1) return null;
    } catch (error) {
      // The answer may be what was lost, and the place taken.
      this.#giveBack(key, member);
      throw error;
    }
    this.#held.set(member, key);
    return () => {
      if (this.#held.delete(member)) this.#giveBack(key, member);
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** When that fails, the place is free once its time is over. */
  #giveBack(key: string, member: string): void {
    this.#client.zrem(key, member).catch(() => undefined);
  }

  #renew(): void {
    for (const [member, key] of this.#held) {
      this.#client.eval(RENEW, 1, key, member, this.#leaseMs).catch(() => undefined);
    }
  }
}
