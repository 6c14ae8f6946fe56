import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { GatewayProcess } from '../support/gateway_process.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';

/** A decision of one worker process is explained by each of them. */

let upstream: RecordingUpstream;
let redis: RedisServer;
let gateway: GatewayProcess;
beforeAll(async () => {
  [upstream, redis] = await Promise.all([startRecordingUpstream(), startRedis()]);
  gateway = await GatewayProcess.start({
    upstream: upstream.origin,
    config: { processes: 3, replay: { store: 'redis', redis: { url: redis.url } } },
  });
});
afterAll(async () => {
  await gateway.stop();
  await redis.stop();
  await upstream.close();
});

async function ask(id: string, { privateKey, publicJwk, alg }: TestKey): Promise<number> {
  const url = `${gateway.origin}/.well-known/sallyport/decisions/${id}`;
  const proof = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, clock: Date.now });
  // A connection of its own goes to the next process.
  const response = await fetch(url, { headers: { dpop: proof, connection: 'close' } });
  await response.text();
  return response.status;
}

describe('explain, with several processes', () => {
  it('any of them answers the holder of the key, and none answers another', async () => {
    const path = '/v1/projects/p2';
    const headers = await gateway.job.headers(
      'GET',
      gateway.origin + path,
      await gateway.issuer.token(gateway.job.key.thumbprint),
    );
    const response = await fetch(gateway.origin + path, { headers: { ...headers, connection: 'close' } });
    const { decision_id: id } = (await response.json()) as { decision_id: string };
    const other = await makeKey();
    const mine = await Promise.all(Array.from({ length: 9 }, () => ask(id, gateway.job.key)));
    const theirs = await Promise.all(Array.from({ length: 9 }, () => ask(id, other)));
    expect([...new Set(mine)]).toEqual([200]);
    expect([...new Set(theirs)]).toEqual([404]);
  });
});
