import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { PATH } from './scene.ts';

const MINUTE = 60_000;
const LEEWAY_MS = 10_000;
/** How long a proof is good for, its leeway included, and a little more. */
const WINDOW_MS = 85_000;

let upstream: RecordingUpstream;
let redis: RedisServer;

beforeAll(async () => {
  upstream = await startRecordingUpstream();
  redis = await startRedis();
});

afterAll(async () => {
  await upstream.close();
  await redis.stop();
});

describe.each(['memory', 'redis'])('a clock that jumps, %s store', (store) => {
  let gateway: TestGateway;
  /** Milliseconds that the clock of the gateway is ahead of the true one. */
  let ahead = 0;
  /** Milliseconds that true time has gone on. */
  let passed = 0;
  let token: string;

  beforeAll(async () => {
    gateway = await startTestGateway({
      upstream: upstream.origin,
      clock: () => Date.now() + passed + ahead,
      config: { replay: store === 'memory' ? { store } : { store, redis: { url: redis.url } } },
    });
    const now = Math.floor(Date.now() / 1000);
    token = await gateway.token({ iat: now - 3600, exp: now + 3600 });
  });

  afterAll(() => gateway.close());

  /** A proof by the clock of a job, which is right unless it is said how far that is ahead, in milliseconds. */
  async function proof(jobAhead = 0): Promise<Record<string, string>> {
    const { privateKey, publicJwk, alg } = gateway.job.key;
    const clock = () => Date.now() + passed + jobAhead;
    const url = gateway.origin + PATH;
    const dpop = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, accessToken: token, clock });
    return { authorization: `DPoP ${token}`, dpop };
  }

  /** @returns the status, and the reason of a refusal */
  async function call(headers: Record<string, string>): Promise<string> {
    const response = await fetch(gateway.origin + PATH, { headers });
    const body = await response.text();
    return response.status === 200 ? '200' : (JSON.parse(body) as { reason: string }).reason;
  }

  it('proof.issued_in_future, proof.too_old: the window is that of the clock of the gateway, whichever way it jumped', async () => {
    expect(await call(await proof())).toBe('200');
    ahead = -5 * MINUTE;
    expect(await call(await proof())).toBe('proof.issued_in_future');
    ahead = 5 * MINUTE;
    expect(await call(await proof())).toBe('proof.too_old');
    ahead = 0;
  });

  it('ahead and back by minutes: what was used before, or while it was ahead, never passes again', async () => {
    const used = [await proof()];
    const use = async (one: Record<string, string>) => {
      expect(await call(one)).toBe('200');
      used.push(one);
    };
    expect(await call(used[0] as Record<string, string>)).toBe('200');
    ahead = MINUTE / 2;
    await use(await proof());
    // Both clocks are wrong alike, as on one machine: what was used before is over by this clock, and may be forgotten.
    ahead = 5 * MINUTE;
    await use(await proof(ahead));
    ahead = 0;
    for (; passed <= WINDOW_MS; passed += 5000) {
      for (const one of used) expect(await call(one)).not.toBe('200');
    }
    // By then the time of everything in doubt is over. The proof that was dated minutes ahead is still good for the clocks, and used.
    passed = 6 * MINUTE;
    expect(await call(await proof())).toBe('200');
    passed = 5 * MINUTE;
    for (const one of used) expect(await call(one)).not.toBe('200');
  });

  it('back and forth by less than the leeway: proofs of a job whose clock is right pass, each once', async () => {
    passed = 20 * MINUTE;
    const proofs: Record<string, string>[] = [];
    for (const jump of [0, LEEWAY_MS / 20, -LEEWAY_MS / 20, LEEWAY_MS / 20]) {
      ahead = jump;
      const one = await proof();
      expect(await call(one)).toBe('200');
      proofs.push(one);
    }
    for (const one of proofs) expect(await call(one)).toBe('proof.replayed');
    ahead = 0;
  });
});
