import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { answerEach, startRecordingUpstream } from '../support/recording_upstream.ts';
import { NOW, type Outcome, PATH, Wire } from '../support/wire.ts';

const NONCE = /^[A-Za-z0-9_-]{40}$/;
const FOREIGN = 'HTTP/1.1 200 OK\r\nDPoP-Nonce: of-the-upstream\r\nContent-Length: 2\r\n\r\nok';
const LIFETIME = 60;

/** The one nonce of an answer. */
function nonceOf({ answer }: Outcome): string {
  const values = answer.headers['dpop-nonce'] ?? [];
  expect(values).toEqual([expect.stringMatching(NONCE)]);
  return values[0] as string;
}

describe('RFC 9449 §9: nonces over the wire of a whole gateway', () => {
  let wire: Wire;
  let token: string;

  beforeAll(async () => {
    wire = await Wire.start({ config: { dpop: { nonce: 'required', nonce_lifetime_seconds: LIFETIME } } });
    token = wire.token();
  });
  afterAll(() => wire.close());

  const call = (nonce: unknown, claims: Record<string, unknown> = {}) =>
    wire.call({ token, claims: { ...(nonce === undefined ? {} : { nonce }), ...claims } });
  const fresh = async () => nonceOf(await call(undefined));

  it('RFC 9449 §9: proof.nonce_missing, with exactly one DPoP-Nonce, and the request is sent again with it', async () => {
    const refused = await call(undefined);
    expectRefused(refused, 'proof.nonce_missing');
    const allowed = await call(nonceOf(refused));
    expectAllowed(allowed);
    expect(allowed.answer.headers).not.toHaveProperty('dpop-nonce');
    expect(allowed.summary).toMatchObject({ replay: 'memory' });
  });

  it('RFC 9449 §8.2: a nonce that is about to expire is replaced with a success, and both are good until it has', async () => {
    const old = await fresh();
    wire.now += LIFETIME / 2;
    const allowed = await call(old);
    expectAllowed(allowed);
    const next = nonceOf(allowed);
    expectAllowed(await call(old));
    expectAllowed(await call(next));
    wire.now += LIFETIME / 2;
    const stale = await call(old);
    expectRefused(stale, 'proof.nonce_stale');
    expect(stale.summary['note']).toBe('nonce that has expired');
    expectAllowed(await call(nonceOf(stale)));
  });

  it('RFC 9449 §8.2: it is replaced with a refusal by the policy, too', async () => {
    const old = await fresh();
    wire.now += LIFETIME / 2;
    const path = '/v1/projects/p2';
    const refused = await wire.call({ token, path, claims: { nonce: old } });
    expect(refused.answer.status).toBe(403);
    expectAllowed(await call(nonceOf(refused)));
  });

  it('RFC 9449 §9: proof.nonce_stale for a nonce that somebody else made', async () => {
    for (const nonce of [
      'eyJ7S_zG.eyJH0-Z.HX4w-7v',
      '',
      (await fresh()).replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
    ]) {
      const refused = await call(nonce);
      expectRefused(refused, 'proof.nonce_stale');
      expectAllowed(await call(nonceOf(refused)));
    }
  });

  it("RFC 9449 §9: proof.nonce_stale for another job's nonce", async () => {
    const key = await makeKey();
    const theirs = wire.token({ claims: { cnf: { jkt: key.thumbprint } } });
    const refused = await wire.call({ token: theirs, key });
    expectRefused(refused, 'proof.nonce_missing');
    expectRefused(await call(nonceOf(refused)), 'proof.nonce_stale');
    expectAllowed(await wire.call({ token: theirs, key, claims: { nonce: nonceOf(refused) } }));
  });

  it.each([
    ['number', 5],
    ['array', ['n']],
    ['object', {}],
    ['null', null],
  ])(
    'RFC 9449 §4.3 check 3: proof.claims for a nonce that is a(n) %s, and one for the next proof',
    async (_, nonce) => {
      const refused = await call(nonce);
      expectRefused(refused, 'proof.claims');
      expectAllowed(await call(nonceOf(refused)));
    },
  );

  it('RFC 9449 §4.3 check 1: proof.missing, with a nonce for the proof', async () => {
    const refused = await wire.send({ lines: [`Authorization: DPoP ${token}`] });
    expectRefused(refused, 'proof.missing');
    expectAllowed(await call(nonceOf(refused)));
  });

  it('RFC 9449 §11.1: a proof that was refused for its nonce is not used up, one that passed is', async () => {
    const claims = { jti: 'nonce-1' };
    const refused = await call('x', claims);
    const nonce = nonceOf(refused);
    expectAllowed(await call(nonce, claims));
    expectRefused(await call(nonce, claims), 'proof.replayed');
  });

  it('RFC 9449 §8: who shows no valid token gets none', async () => {
    const refused = await wire.send({ lines: wire.lines('not.a.token', wire.proof(token)) });
    expect(refused.answer.status).toBe(401);
    expect(refused.answer.headers).not.toHaveProperty('dpop-nonce');
  });

  it('no record holds a nonce', async () => {
    const refused = await call(undefined);
    expect(JSON.stringify(refused.record)).not.toContain(nonceOf(refused));
  });
});

describe('RFC 9449 §9: where nonces are required', () => {
  it.each([
    ['the route says so', {}, { dpop_nonce: 'required' }, true],
    ['the route says no', { dpop: { nonce: 'required' } }, { dpop_nonce: 'off' }, false],
    ['nobody says so', {}, {}, false],
  ])('%s', async (_, config, route, required) => {
    const wire = await Wire.start({ config, route });
    try {
      const outcome = await wire.call();
      if (required) expectRefused(outcome, 'proof.nonce_missing');
      else expectAllowed(outcome);
    } finally {
      await wire.close();
    }
  });
});

describe('RFC 9449 §8: nodes that share the files of their secrets', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-nonce-files-'));
  const [current, previous] = [join(folder, 'current'), join(folder, 'previous')];
  const put = (file: string, secret: string) => writeFileSync(file, `${secret.repeat(40)}\n`, { mode: 0o600 });
  const nodes: Wire[] = [];
  let key: TestKey;

  async function node(now: number): Promise<Wire> {
    const dpop = { nonce: 'required', nonce_secret_files: [current, previous] };
    const wire = await Wire.start({ config: { dpop }, now });
    nodes.push(wire);
    return wire;
  }
  const call = (wire: Wire, nonce?: string) =>
    wire.call({
      token: wire.token({ claims: { cnf: { jkt: key.thumbprint } } }),
      key,
      claims: nonce === undefined ? {} : { nonce },
    });

  afterAll(async () => {
    for (const wire of nodes) await wire.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('take the nonces of each other, before and after one rotation and after a restart, and not after two', async () => {
    key = await makeKey();
    put(current, 'a');
    put(previous, 'b');
    const [one, two] = [await node(NOW), await node(NOW)];
    const first = nonceOf(await call(one));
    expectAllowed(await call(two, first));
    put(previous, 'a');
    put(current, 'cc');
    one.now += 2;
    const second = nonceOf(await call(one));
    expectAllowed(await call(one, first));
    // The other node has not looked at the files yet; it asks once more, and nothing else.
    expectRefused(await call(two, second), 'proof.nonce_stale');
    two.now += 2;
    expectAllowed(await call(two, second));
    expectAllowed(await call(two, first));
    const restarted = await node(NOW + 3);
    expectAllowed(await call(restarted, first));
    expectAllowed(await call(restarted, second));
    put(previous, 'cc');
    put(current, 'ddd');
    one.now += 2;
    expectRefused(await call(one, first), 'proof.nonce_stale');
    expectAllowed(await call(one, second));
  });
});

describe('how single use is kept, route by route', () => {
  async function metricsOf(wire: Wire): Promise<string> {
    return (await fetch(`${wire.gateway.gateway.adminOrigin}/metrics`)).text();
  }

  it('node_nonce: each proof passes once at the node of its nonce; records and metrics say how', async () => {
    const wire = await Wire.start({ route: { dpop_nonce: 'required', replay: 'node_nonce' } });
    try {
      const token = wire.token();
      const refused = await wire.call({ token });
      expectRefused(refused, 'proof.nonce_missing');
      const proof = wire.proof(token, { claims: { nonce: nonceOf(refused) } });
      const outcome = await wire.send({ lines: wire.lines(token, proof) });
      expectAllowed(outcome);
      expect(outcome.summary).toMatchObject({ replay: 'node_nonce' });
      const again = await wire.send({ lines: wire.lines(token, proof) });
      expectRefused(again, 'proof.replayed');
      expect(again.summary).toMatchObject({ replay: 'node_nonce' });
      const metrics = await metricsOf(wire);
      expect(metrics).toContain('sallyport_replay_claims_total{store="node_nonce",outcome="first"} 1');
      expect(metrics).toContain('sallyport_replay_claims_total{store="node_nonce",outcome="used"} 1');
      expect(metrics).not.toContain('store="memory"');
    } finally {
      await wire.close();
    }
  });

  it('window_only: a proof passes again within its window; records and metrics say so', async () => {
    const wire = await Wire.start({ route: { replay: 'window_only' } });
    try {
      const token = wire.token();
      const lines = wire.lines(token);
      expectAllowed(await wire.send({ lines }));
      const again = await wire.send({ lines });
      expectAllowed(again);
      expect(again.summary).toMatchObject({ replay: 'window_only' });
      wire.now += 61;
      expectRefused(await wire.send({ lines }), 'proof.too_old');
      expect(await metricsOf(wire)).toContain('sallyport_replay_claims_total{store="window_only",outcome="first"} 2');
    } finally {
      await wire.close();
    }
  });
});

describe('RFC 9449 §8.2: a client that knows nonces', () => {
  let gateway: TestGateway;
  let upstream: Awaited<ReturnType<typeof startRecordingUpstream>>;

  beforeAll(async () => {
    upstream = await startRecordingUpstream(answerEach(FOREIGN));
    gateway = await startTestGateway({ upstream: upstream.origin, config: { dpop: { nonce: 'required' } } });
  });
  afterAll(async () => {
    await gateway.close();
    await upstream.close();
  });

  it("oauth4webapi is asked once and goes on; the upstream's DPoP-Nonce never passes", async () => {
    const DPoP = oauth.DPoP({}, await oauth.generateKeyPair('ES256'));
    const token = await gateway.issuer.token(await DPoP.calculateThumbprint());
    const url = new URL(gateway.origin + PATH);
    const send = () =>
      oauth.protectedResourceRequest(token, 'GET', url, undefined, null, { DPoP, [oauth.allowInsecureRequests]: true });
    const refused = await send().catch((error: unknown) => error);
    expect(oauth.isDPoPNonceError(refused)).toBe(true);
    for (let i = 0; i < 3; i++) {
      const response = await send();
      expect([response.status, await response.text()]).toEqual([200, 'ok']);
      expect(response.headers.get('dpop-nonce')).toBeNull();
    }
    expect(upstream.requests).toHaveLength(3);
  });
});
