import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseGatewayConfig } from '../../src/config/load.ts';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';
import { compilePolicy } from '../support/compiled_policy.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { OK, type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { startRedis } from '../support/redis_server.ts';

/** Rates and places as obligations of a policy: what the caller saw, what the upstream got, what the record says. */

const POLICY = `package sallyport

decision := {"allow": true, "obligations": obligations}

obligations := [{"type": "rate_class", "name": "few"}] if input.request.path == "/v1/few"
obligations := [{"type": "rate_class", "name": "few", "key": input.request.query.key[0]}] if input.request.path == "/v1/keyed"
obligations := [{"type": "rate_class", "name": "one"}] if input.request.path == "/v1/one"
obligations := [{"type": "rate_class", "name": "one"}, {"type": "rate_class", "name": "few"}] if input.request.path == "/v1/both"
obligations := [{"type": "rate_class", "name": "missing"}] if input.request.path == "/v1/missing"
obligations := [{"type": "rate_class", "name": "bursting"}] if input.request.path == "/v1/bursting"
`;
const CLASSES = {
  few: { requests: 3, per_seconds: 600 },
  one: { requests: 1000, per_seconds: 600, concurrent: 1 },
  bursting: { requests: 2, per_seconds: 600, burst: { requests: 2, per_seconds: 6000 } },
};

let artifact: PolicyArtifact;
let upstream: RecordingUpstream;
const slow = { ms: 0 };
beforeAll(async () => {
  artifact = await compilePolicy(POLICY);
  upstream = await startRecordingUpstream(async (connection) => {
    for (let n = 1; ; n++) {
      await connection.request(n);
      if (slow.ms > 0) await sleep(slow.ms);
      connection.send(OK);
    }
  });
});
afterAll(() => upstream.close());

const open: TestGateway[] = [];
afterEach(async () => {
  slow.ms = 0;
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(config: Record<string, unknown> = {}, route: Record<string, unknown> = {}): Promise<TestGateway> {
  const gateway = await startTestGateway({
    upstream: upstream.origin,
    artifact,
    route,
    config: { rate_classes: CLASSES, ...config },
  });
  open.push(gateway);
  return gateway;
}

/** Sends a request of a job; `run` is another job when it differs. */
async function send(gateway: TestGateway, path: string, run = '1', signal?: AbortSignal): Promise<Response> {
  const claims = { job: { provider: 'github', repository: 'acme/infra', repository_id: '7', run_id: run } };
  const headers = await gateway.headers('GET', path.split('?')[0] ?? path, await gateway.token(claims));
  return fetch(gateway.origin + path, { headers, ...(signal && { signal }) });
}

async function reasonOf(response: Response): Promise<string | null> {
  const text = await response.text();
  return text.startsWith('{') ? (JSON.parse(text) as { reason: string }).reason : null;
}

const statuses = (responses: readonly Response[]) => responses.map(({ status }) => status);

async function sendAll(count: number, one: (n: number) => Promise<Response>): Promise<Response[]> {
  return Promise.all(Array.from({ length: count }, (_, n) => one(n)));
}

const redis = await startRedis();
afterAll(() => redis.stop());
const WITH_REDIS = { replay: { store: 'redis', redis: { url: redis.url } } };

describe.each([
  ['memory', {}],
  ['Redis', WITH_REDIS],
])('rate classes in %s', (_name, config) => {
  it('rate.exceeded: the fourth of three is refused with 429 and Retry-After, and nothing of it is sent', async () => {
    const gateway = await start(config);
    const before = upstream.requests.length;
    const all = await sendAll(8, () => send(gateway, '/v1/few', `${_name}-a`));
    expect(statuses(all).sort()).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);
    const refused = all.find(({ status }) => status === 429) as Response;
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(600);
    expect(await reasonOf(refused)).toBe('rate.exceeded');
    expect(upstream.requests.length - before).toBe(3);
    const records = await gateway.records(8);
    const reasons = records.map(({ custom }) => (custom as { sallyport: { reason?: string } }).sallyport.reason);
    expect(reasons.filter((reason) => reason === 'rate.exceeded')).toHaveLength(5);
  });

  it('each job counts for itself, and so does each key that the policy gives', async () => {
    const gateway = await start(config);
    for (const job of ['b', 'c']) {
      expect(statuses(await sendAll(3, () => send(gateway, '/v1/few', _name + job)))).toEqual([200, 200, 200]);
    }
    for (const key of ['x', 'y']) {
      const path = `/v1/keyed?key=${_name}${key}`;
      expect(statuses(await sendAll(4, (n) => send(gateway, path, `${_name}${n}`))).sort()).toEqual([
        200, 200, 200, 429,
      ]);
    }
  });

  it('a burst is allowed beyond the rate, once', async () => {
    const gateway = await start(config);
    const all = await sendAll(7, () => send(gateway, '/v1/bursting', `${_name}-d`));
    expect(statuses(all).filter((status) => status === 200)).toHaveLength(4);
  });

  it('rate.too_many_at_once: places are given back by answers, by callers that go away, and by refusals', async () => {
    const gateway = await start(config);
    const job = `${_name}-e`;
    slow.ms = 400;
    const first = send(gateway, '/v1/one', job);
    await sleep(150);
    const second = await send(gateway, '/v1/one', job);
    expect([second.status, await reasonOf(second), second.headers.get('retry-after')]).toEqual([
      429,
      'rate.too_many_at_once',
      '1',
    ]);
    expect((await first).status).toBe(200);
    slow.ms = 5000;
    const gone = new AbortController();
    const third = send(gateway, '/v1/one', job, gone.signal);
    await sleep(200);
    gone.abort();
    await expect(third).rejects.toThrow();
    slow.ms = 0;
    await gateway.records(3);
    // The second class refuses the fourth of these; the place of the first is free again each time.
    for (const status of [200, 200, 200, 429, 429]) {
      const answer = await send(gateway, '/v1/both', job);
      expect(answer.status).toBe(status);
      await answer.text();
      await sleep(30);
    }
    expect((await send(gateway, '/v1/one', job)).status).toBe(200);
  });

  it('policy.unknown_obligation: a class that is not configured', async () => {
    const gateway = await start(config);
    const answer = await send(gateway, '/v1/missing');
    expect([answer.status, await reasonOf(answer)]).toEqual([403, 'policy.unknown_obligation']);
  });
});

describe('rate classes in Redis', () => {
  it('several gateways count together', async () => {
    const [one, two] = [await start(WITH_REDIS), await start(WITH_REDIS)];
    const all = await sendAll(10, (n) => send(n % 2 === 0 ? one : two, '/v1/few', 'shared'));
    expect(statuses(all).filter((status) => status === 200)).toHaveLength(3);
    slow.ms = 400;
    const places = await sendAll(6, (n) => send(n % 2 === 0 ? one : two, '/v1/one', 'shared'));
    expect(statuses(places).filter((status) => status === 200)).toHaveLength(1);
  });

  it('rate.store_unavailable: refused with 503 while Redis is away, never let through', async () => {
    const own = await startRedis();
    // No proof is claimed, so that the rate is the first to ask Redis.
    const gateway = await start({ replay: { store: 'redis', redis: { url: own.url } } }, { replay: 'window_only' });
    expect((await send(gateway, '/v1/few', 'down')).status).toBe(200);
    await own.kill();
    const answer = await send(gateway, '/v1/few', 'down');
    expect(answer.status).toBe(503);
    expect(await reasonOf(answer)).toBe('rate.store_unavailable');
    await own.stop();
  });

  it('several processes without Redis are a mistake of the configuration', () => {
    const config = {
      version: 1,
      issuers: [{ issuer: 'https://as.example.com' }],
      policy: { path: 'p' },
      processes: 2,
      rate_classes: CLASSES,
      routes: [
        {
          name: 'a',
          path_prefix: '/',
          upstream: { url: 'http://127.0.0.1:1' },
          resource: 'https://a.example/',
          replay: 'window_only',
        },
      ],
    };
    expect(() => parseGatewayConfig(config, '.')).toThrow(
      /rate_classes.*several processes count together in Redis only/s,
    );
  });
});
