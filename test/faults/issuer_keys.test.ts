import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { makeKey, TestIssuer } from '../support/issuer.ts';
import { type Answer, closedPort, KeyServer, sendJson } from '../support/key_server.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRaw } from '../support/raw_connection.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { PATH, Scene } from './scene.ts';

const STALE_SECONDS = 8;
/** Every answer comes within a second. */
const BOUND_MS = 1000;

let scene: Scene;
let upstream: RecordingUpstream;
let gateway: GatewayProcess;
let port: number;
let server: KeyServer;

beforeAll(async () => {
  port = await closedPort();
  const issuer = `http://127.0.0.1:${port}`;
  scene = await Scene.create(issuer);
  upstream = await scene.upstream();
  const keys = { timeout_ms: 400, max_age_seconds: 1, stale_seconds: STALE_SECONDS, cooldown_seconds: 1 };
  gateway = await scene.start(scene.config(upstream.origin, { issuers: [{ issuer, keys }] }));
});

afterAll(async () => {
  await scene.close();
  await server?.stop();
});

async function startServer(): Promise<void> {
  server = await KeyServer.start(port);
  server.keys = scene.issuer.jwks().keys;
}

async function stateOfKeys(): Promise<string> {
  const { checks } = await gateway.readiness();
  return checks.find(({ name }) => name === 'issuers')?.detail ?? '';
}

/** Makes good requests, for which keys are refreshed, until the keys are in a state. */
function becomes(state: 'fresh' | 'stale' | 'unavailable'): Promise<void> {
  return eventually(`the keys are ${state}`, async () => {
    await scene.call(gateway);
    return (await stateOfKeys()).endsWith(`: ${state}`);
  });
}

/** The headers of a request whose token is of the scene's issuer, but signed with another of its keys. */
async function headersOf(signer: TestIssuer): Promise<Record<string, string>> {
  const token = await signer.token(scene.job.key.thumbprint);
  return scene.job.headers('GET', gateway.origin + PATH, token);
}

const anotherSigner = () => TestIssuer.create(scene.issuer.issuer);

describe('token.keys_unavailable: the endpoint of the keys is down at the start', () => {
  it('the gateway starts, says 503 and is not ready; then it recovers by itself', async () => {
    const seen = await scene.call(gateway);
    expect(seen).toMatchObject({ status: 503, reason: 'token.keys_unavailable' });
    expect(seen.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(seen.milliseconds).toBeLessThan(BOUND_MS);
    const { checks } = await gateway.becomes(503, 'issuers');
    expect(checks.find(({ name }) => name === 'issuers')?.detail).toContain('unavailable');
    expect(upstream.requests).toHaveLength(0);
    const { decision_id: id } = JSON.parse(seen.body) as { decision_id: string };
    expect((await scene.recordOf(id)).custom.sallyport).toMatchObject({ outcome: 'failed', status: 503 });

    await startServer();
    await scene.callUntil(gateway, 200);
    await gateway.becomes(200);
    const msgs = gateway.log.map(({ msg }) => msg);
    expect(msgs).toContain('keys of the issuer cannot be loaded');
    expect(msgs).toContain('keys of the issuer loaded');
  });
});

describe('keys that are replaced', () => {
  it('a new key counts at once, one that is gone does not', async () => {
    const next = await anotherSigner();
    server.keys = [...scene.issuer.jwks().keys, ...next.jwks().keys];
    expect((await scene.call(gateway, await headersOf(next))).status).toBe(200);
    server.keys = scene.issuer.jwks().keys;
    await eventually(
      'the old key is gone',
      async () => (await scene.call(gateway, await headersOf(next))).status === 401,
    );
    expect(await scene.call(gateway, await headersOf(next))).toMatchObject({
      status: 401,
      reason: 'token.key_unknown',
    });
    expect((await scene.call(gateway)).status).toBe(200);
  });
});

describe('an endpoint that answers nothing useful: valid tokens pass, what cannot be known is 503, never 401', () => {
  const requestsElsewhere: string[] = [];
  const faults: Readonly<Record<string, Answer>> = {
    'an error': (_, response) => sendJson(response, { error: 'server_error' }, 500),
    slow: () => undefined,
    'a redirect': (_, response) => {
      response.writeHead(302, { location: `http://127.0.0.1:${port}/elsewhere` });
      response.end();
    },
    huge: (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(`{"keys": [], "padding": "${'x'.repeat(2_000_000)}"}`);
    },
    'without an end': (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const more = () => {
        if (!response.destroyed) response.write('          ', () => setTimeout(more, 1));
      };
      more();
    },
    'no JSON': (_, response) => sendJson(response, '<html>'),
    'no keys': (_, response) => sendJson(response, { keys: 'none' }),
  };

  it.each(Object.keys(faults))('%s', async (name) => {
    await becomes('fresh');
    server.onJwks(faults[name] as Answer);
    server.answers.set('/elsewhere', (_, response) => {
      requestsElsewhere.push(name);
      sendJson(response, { keys: server.keys });
    });
    await becomes('stale');
    expect((await scene.call(gateway)).status).toBe(200);
    const unknown = await scene.call(gateway, await headersOf(await anotherSigner()));
    expect(unknown).toMatchObject({ status: 503, reason: 'token.keys_unavailable' });
    expect(unknown.milliseconds).toBeLessThan(BOUND_MS);
    expect((await gateway.readiness()).status).toBe(200);
    server.restore();
  });

  it('a redirect is not followed', () => {
    expect(requestsElsewhere).toEqual([]);
  });
});

describe('token.key_unknown: a flood of tokens with invented keys', () => {
  it('costs few requests to the issuer, and does not hold up honest callers', async () => {
    await becomes('fresh');
    const stranger = await makeKey();
    const flood = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const invented = await anotherSigner();
        const token = await invented.token(stranger.thumbprint, { header: { kid: randomUUID() } });
        return `GET ${PATH} HTTP/1.1\r\nHost: ${new URL(gateway.origin).host}\r\nAuthorization: DPoP ${token}\r\nDPoP: x\r\n\r\n`;
      }),
    );
    // The issuer takes its time, so that the flood waits for it.
    let delayed = 0;
    server.onJwks((_, response) => {
      delayed++;
      setTimeout(() => sendJson(response, { keys: server.keys }), 250);
    });
    const before = server.jwksRequests;
    const connections = await Promise.all(flood.map(() => connectRaw(gateway.port)));
    for (const [index, bytes] of flood.entries()) connections[index]?.send(bytes);
    expect((await scene.call(gateway)).status).toBe(200);
    await eventually('the flood is answered', () => connections.every(({ answers }) => answers.length === 1));
    for (const { answers, socket } of connections) {
      expect(answers[0]?.status).toBe(401);
      expect(answers[0]?.body).toContain('token.key_unknown');
      socket.destroy();
    }
    // One for the age of the keys, one for keys that are unknown, one more when the cool-down ended on a busy machine.
    expect(server.jwksRequests - before).toBeLessThanOrEqual(3);
    expect(delayed).toBeGreaterThan(0);
    server.restore();
  });
});

describe('the endpoint of the keys is down later', () => {
  it('old keys serve for the configured time, then 503; then it recovers', { timeout: 40_000 }, async () => {
    await becomes('fresh');
    await server.stop();
    await becomes('stale');
    // A token that was never seen before is verified with the key that is known.
    expect((await scene.call(gateway, await headersOf(scene.issuer))).status).toBe(200);
    expect((await gateway.readiness()).status).toBe(200);
    await expect.poll(async () => (await scene.call(gateway)).status, { timeout: 2000 * STALE_SECONDS }).toBe(503);
    expect(await scene.call(gateway)).toMatchObject({ status: 503, reason: 'token.keys_unavailable' });
    await gateway.becomes(503, 'issuers');
    await startServer();
    await scene.callUntil(gateway, 200);
    await gateway.becomes(200);
  });
});
