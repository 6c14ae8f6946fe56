import { describe, expect, it } from 'vitest';
import { type RedisPort, RedisWitness } from '../../src/proof/redis_witness.ts';
import { ReplayHorizon } from '../../src/proof/replay_horizon.ts';
import { findRedisProblem, parseRedisInfo } from '../../src/redis/redis_info.ts';

const LONGEST = 82_000;
const START = 1_795_348_800_000;

/** What a Redis shows of itself, and its epochs. */
class Server implements RedisPort {
  runId = 'run-1';
  policy = 'noeviction';
  role = 'master';
  clockAheadMs = 0;
  readonly epochs = new Map<string, string>();
  readonly state: { now: number };

  constructor(state: { now: number }) {
    this.state = state;
  }

  async infos(): Promise<string[]> {
    const time = (this.state.now + this.clockAheadMs) * 1000;
    const fields = [
      `run_id:${this.runId}`,
      `server_time_usec:${time}`,
      '',
      '# Memory',
      `maxmemory_policy:${this.policy}`,
    ];
    return [['# Server', ...fields, '# Replication', `role:${this.role}`, 'master_replid:abc', ''].join('\r\n')];
  }

  async establishEpoch(bucket: string, outdated: string, candidate: string): Promise<string> {
    const epoch = this.epochs.get(bucket);
    if (epoch !== undefined && epoch !== outdated) return epoch;
    this.epochs.set(bucket, candidate);
    return candidate;
  }
}

function witnessOf(state: { now: number }, buckets: readonly string[] = ['']) {
  const horizon = new ReplayHorizon(LONGEST);
  return { horizon, witness: new RedisWitness({ horizon, clock: () => state.now, allowEviction: false, buckets }) };
}

function setUp(buckets?: readonly string[]) {
  const state = { now: START };
  return { state, server: new Server(state), ...witnessOf(state, buckets) };
}

describe('the witness of losses', () => {
  it('finds nothing at the first look, nor while nothing changes', async () => {
    const { state, server, horizon, witness } = setUp();
    for (let look = 0; look < 5; look++) {
      expect(await witness.inspect(server)).toBeNull();
      state.now += 1000;
    }
    expect(horizon.losses).toBe(0);
    expect(witness.epochOf('')).toBe(server.epochs.get(''));
  });

  it('another run id: a loss, told to others by a new epoch', async () => {
    const { state, server, horizon, witness } = setUp();
    await witness.inspect(server);
    const epoch = witness.epochOf('');
    server.runId = 'run-2';
    await witness.inspect(server);
    expect(horizon.losses).toBe(1);
    expect(witness.epochOf('')).not.toBe(epoch);
    const joined = witnessOf(state);
    await joined.witness.inspect(server);
    expect(joined.horizon.refusedUntilMs).toBe(START + LONGEST);
    expect(joined.horizon.losses).toBe(0);
  });

  it('an epoch that is gone: one loss, however many buckets', async () => {
    const { server, horizon, witness } = setUp(['a', 'b', 'c']);
    await witness.inspect(server);
    server.epochs.clear();
    await witness.inspect(server);
    expect(horizon.losses).toBe(1);
    await witness.inspect(server);
    expect(horizon.losses).toBe(1);
  });

  it('an epoch by somebody who did not know of a loss is replaced, one by somebody who did is kept', async () => {
    const { state, server, horizon, witness } = setUp();
    const second = witnessOf(state);
    await witness.inspect(server);
    await second.witness.inspect(server);
    server.epochs.clear();
    const unknowing = witnessOf(state);
    await unknowing.witness.inspect(server);
    await witness.inspect(server);
    const replaced = server.epochs.get('');
    expect(replaced).not.toBe(unknowing.witness.epochOf(''));
    await second.witness.inspect(server);
    await unknowing.witness.inspect(server);
    expect(server.epochs.get('')).toBe(replaced);
    for (const each of [horizon, second.horizon, unknowing.horizon]) {
      expect(each.losses).toBe(1);
      expect(each.refusedUntilMs).toBe(START + LONGEST);
    }
  });

  it('a clock of Redis that jumps ahead: a loss, since keys expired early; one that falls behind is none', async () => {
    const { server, horizon, witness } = setUp();
    await witness.inspect(server);
    server.clockAheadMs = 900;
    await witness.inspect(server);
    expect(horizon.losses).toBe(0);
    server.clockAheadMs = 60_000;
    await witness.inspect(server);
    expect(horizon.losses).toBe(1);
    server.clockAheadMs = -60_000;
    await witness.inspect(server);
    expect(horizon.losses).toBe(1);
  });

  it('a problem leaves everything as it was', async () => {
    const { server, horizon, witness } = setUp();
    await witness.inspect(server);
    const epoch = witness.epochOf('');
    server.policy = 'allkeys-lru';
    expect(await witness.inspect(server)).toContain('expected noeviction');
    server.policy = 'noeviction';
    server.role = 'slave';
    expect(await witness.inspect(server)).toContain('its role is slave');
    server.role = 'master';
    expect(await witness.inspect(server)).toBeNull();
    expect([horizon.losses, witness.epochOf('')]).toEqual([0, epoch]);
    expect(await witness.inspect({ ...server, infos: async () => [], establishEpoch: async () => '' })).toBe(
      'no master is known',
    );
  });
});

describe('INFO', () => {
  it('is read in part, whatever else it says', () => {
    const info = parseRedisInfo(
      '# Server\r\nrun_id:abc\r\nredis_version:7.0.15\r\nfoo\r\n:x\r\nrole:master\r\nmaster_replid:def\r\n',
    );
    expect(info).toEqual({ identity: 'abc def', role: 'master', evictionPolicy: null, timeMs: null });
    expect(parseRedisInfo('')).toEqual({ identity: null, role: 'unknown', evictionPolicy: null, timeMs: null });
    expect(parseRedisInfo('server_time_usec:1795348800123456').timeMs).toBe(1_795_348_800_123.456);
  });

  const use = { key: 'replay.redis', lost: 'the used proofs', evicted: 'a proof is replayed', allowEviction: false };

  it.each([
    [{ identity: null }, 'INFO names no run_id'],
    [{ role: 'slave' }, 'its role is slave, expected master'],
    [{ evictionPolicy: 'volatile-ttl' }, 'its maxmemory-policy is volatile-ttl, expected noeviction'],
    [{ evictionPolicy: null }, 'its maxmemory-policy is not shown, expected noeviction'],
  ])('%j is a problem, with what to do', (changes, words) => {
    const good = { identity: 'x', role: 'master', evictionPolicy: 'noeviction', timeMs: 1 };
    expect(findRedisProblem(good, use)).toBeNull();
    expect(findRedisProblem({ ...good, ...changes }, use)).toContain(words);
  });

  it('eviction may be allowed, nothing else', () => {
    const evicting = { identity: 'x', role: 'master', evictionPolicy: 'allkeys-lru', timeMs: null };
    expect(findRedisProblem(evicting, { ...use, allowEviction: true })).toBeNull();
    expect(findRedisProblem({ ...evicting, role: 'slave' }, { ...use, allowEviction: true })).not.toBeNull();
  });
});
