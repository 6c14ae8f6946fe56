import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../src/cli/program.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

/** Explanations of decisions over HTTP: for the holder of the same key, for nobody else, and for the operator on the admin port. */

const API_TOKEN = 'an-api-token-of-more-than-32-characters';
const UNKNOWN = '00000000-0000-4000-8000-000000000000';

let upstream: RecordingUpstream;
let gateway: TestGateway;
let other: TestKey;
let tokenFile: string;
beforeAll(async () => {
  upstream = await startRecordingUpstream();
  gateway = await startTestGateway({ upstream: upstream.origin, config: { admin: await adminConfig() } });
  other = await makeKey();
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
});

async function adminConfig() {
  const { mkdtempSync } = await import('node:fs');
  const { tmpdir } = await import('node:os');
  tokenFile = join(mkdtempSync(join(tmpdir(), 'sallyport-explain-')), 'api.token');
  writeFileSync(tokenFile, API_TOKEN);
  chmodSync(tokenFile, 0o600);
  return { port: 0, api_token_file: tokenFile };
}

const pathOf = (id: string) => `/.well-known/sallyport/decisions/${id}`;

/** One call of the job; its decision and what was answered. */
async function decide(method: string, path: string, claims: Record<string, unknown> = {}) {
  const headers = await gateway.headers(method, path, await gateway.token(claims));
  const response = await fetch(gateway.origin + path, { method, headers });
  const text = await response.text();
  const id = response.headers.get('sallyport-decision-id') ?? (JSON.parse(text) as { decision_id: string }).decision_id;
  return { id, status: response.status };
}

interface Asking {
  readonly key?: TestKey;
  readonly url?: string;
  readonly method?: string;
  readonly proof?: string | null;
}

async function ask(id: string, { key = gateway.job.key, url, method = 'GET', proof }: Asking = {}) {
  const { privateKey, publicJwk, alg } = key;
  const target = gateway.origin + pathOf(id);
  const made = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url: url ?? target, clock: Date.now });
  const headers = proof === null ? {} : { dpop: proof ?? made };
  const response = await fetch(target, { method, headers });
  const body = await response.text();
  return {
    status: response.status,
    value: (body === '' ? {} : JSON.parse(body)) as Record<string, unknown>,
    cache: response.headers.get('cache-control'),
    proof: made,
  };
}

describe('explain, for the holder of the key', () => {
  it('tells what was asked, what was said and why', async () => {
    const { id } = await decide('GET', '/v1/projects/p2');
    const { status, value, cache } = await ask(id);
    expect([status, cache]).toEqual([200, 'no-store']);
    expect(value).toMatchObject({
      decision_id: id,
      method: 'GET',
      path: '/v1/projects/p2',
      route: 'projects',
      operation: 'projects.get',
      outcome: 'refused',
      status: 403,
      reason: 'policy.insufficient_authorization_details',
      stage: 'policy',
      required: { authorization_details: [{ identifier: 'projects/p2' }] },
      policy_reasons: [{ code: 'not_covered_by_authorization_details' }],
      policy_revision: expect.any(String),
    });
    for (const hidden of ['note', 'peer', 'timings_ms', 'client', 'input']) expect(value).not.toHaveProperty(hidden);
  });

  it('tells of an allowed call', async () => {
    const { id, status } = await decide('GET', '/v1/projects/p1');
    expect(status).toBe(200);
    expect((await ask(id)).value).toMatchObject({ outcome: 'allowed', status: 200, operation: 'projects.get' });
  });

  it('tells what was expected and seen', async () => {
    const token = await gateway.token();
    const { dpop } = await gateway.headers('GET', '/v1/projects/p9', token);
    const response = await fetch(`${gateway.origin}/v1/projects/p1`, {
      headers: { authorization: `DPoP ${token}`, dpop: dpop ?? '' },
    });
    const { decision_id: id } = (await response.json()) as { decision_id: string };
    expect((await ask(id)).value).toMatchObject({
      reason: 'proof.target',
      expected: { htu: `${gateway.origin}/v1/projects/p1` },
      seen: { htu: `${gateway.origin}/v1/projects/p9` },
    });
  });

  it('tells of a token that was refused to who holds the key of its proof', async () => {
    const { id } = await decide('GET', '/v1/projects/p1', { exp: 1_000_000_000 });
    expect((await ask(id)).value).toMatchObject({ reason: 'token.expired', advice: expect.any(String) });
    expect(await ask(id, { key: other })).toMatchObject({ status: 404 });
  });

  it('HEAD has no body; an access token beside the proof does no harm', async () => {
    const { id } = await decide('GET', '/v1/projects/p2');
    const { privateKey, publicJwk, alg } = gateway.job.key;
    const url = gateway.origin + pathOf(id);
    const made = (method: string, accessToken?: string) =>
      makeProof({ privateKey, publicJwk, alg, method, url, clock: Date.now, ...(accessToken && { accessToken }) });
    const head = await fetch(url, { method: 'HEAD', headers: { dpop: await made('HEAD') } });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const token = await gateway.token();
    const beside = await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop: await made('GET', token) } });
    expect(beside.status).toBe(200);
  });
});

describe('explain, for nobody else', () => {
  it('another key gets what an unknown decision gets, to the byte but for its id', async () => {
    const { id } = await decide('GET', '/v1/projects/p2');
    const [wrong, unknown] = [await ask(id, { key: other }), await ask(UNKNOWN)];
    const same = ({ status, value }: typeof wrong) => ({ status, value: { ...value, decision_id: '' } });
    expect(wrong).toMatchObject({ status: 404, value: { reason: 'request.route_unknown' } });
    expect(same(unknown)).toEqual(same(wrong));
  });

  it.each<[string, (id: string) => Promise<Asking>, string]>([
    ['no proof', async () => ({ proof: null }), 'proof.missing'],
    ['no JWT', async () => ({ proof: 'x' }), 'proof.malformed'],
    ['a proof for another decision', async () => ({ url: gateway.origin + pathOf(UNKNOWN) }), 'proof.target'],
    ['a proof for a call', async () => ({ url: `${gateway.origin}/v1/projects/p1` }), 'proof.target'],
    [
      'a proof signed by another key that names the right one',
      async (id) => {
        const { privateKey, alg } = other;
        const { publicJwk } = gateway.job.key;
        const url = gateway.origin + pathOf(id);
        return { proof: await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, clock: Date.now }) };
      },
      'proof.signature',
    ],
    [
      'a proof of yesterday',
      async (id) => {
        const { privateKey, publicJwk, alg } = gateway.job.key;
        const url = gateway.origin + pathOf(id);
        const clock = () => Date.now() - 86_400_000;
        return { proof: await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, clock }) };
      },
      'proof.too_old',
    ],
  ])('%s: 401, the same whether the decision is known', async (_, asking, reason) => {
    const { id } = await decide('GET', '/v1/projects/p2');
    const answer = await ask(id, await asking(id));
    expect([answer.status, answer.value['reason']]).toEqual([401, reason]);
    for (const hidden of ['path', 'outcome', 'policy_reasons']) expect(answer.value).not.toHaveProperty(hidden);
  });

  it('a proof is good once, and one of a stranger is remembered nowhere', async () => {
    const { id } = await decide('GET', '/v1/projects/p2');
    const first = await ask(id);
    const again = await ask(id, { proof: first.proof });
    expect([first.status, again.status, again.value['reason']]).toEqual([200, 401, 'proof.replayed']);
    const stranger = await ask(id, { key: other });
    expect(await ask(id, { proof: stranger.proof })).toMatchObject({ status: 404 });
  });

  it.each(['POST', 'DELETE', 'PUT'])('%s is no way to ask', async (method) => {
    const { id } = await decide('GET', '/v1/projects/p2');
    expect(await ask(id, { method })).toMatchObject({ status: 404, value: { reason: 'request.route_unknown' } });
  });

  it('a call without a key is explained to nobody', async () => {
    const response = await fetch(`${gateway.origin}/v1/projects/p1`);
    const { decision_id: id } = (await response.json()) as { decision_id: string };
    expect(await ask(id)).toMatchObject({ status: 404 });
  });

  it('nothing of it reaches the upstream, whatever the path', async () => {
    const before = upstream.connections.length;
    for (const path of ['/.well-known/sallyport', '/.well-known/sallyport/decisions/x', '/.well-known/sallyport/x/y']) {
      expect((await fetch(gateway.origin + path)).status).toBe(404);
    }
    expect(upstream.connections.length).toBe(before);
  });

  it('a flood of requests without a key, or of allowed ones, pushes no refusal out', async () => {
    const small = await startTestGateway({ upstream: upstream.origin, config: { explain: { decisions: 4 } } });
    const call = async (path: string, authorization = true) => {
      const headers = authorization ? await small.headers('GET', path) : {};
      const response = await fetch(small.origin + path, { headers });
      const text = await response.text();
      return response.ok ? '' : (JSON.parse(text) as { decision_id: string }).decision_id;
    };
    const id = await call('/v1/projects/p2');
    for (let i = 0; i < 10; i++) await Promise.all([call('/v1/projects/p1', false), call('/v1/projects/p1')]);
    expect(small.gateway.decision(id)?.reason).toBe('policy.insufficient_authorization_details');
    for (let i = 0; i < 4; i++) await call('/v1/projects/p2');
    expect(small.gateway.decision(id)).toBeNull();
    await small.close();
  });
});

describe('explain, for the operator', () => {
  const admin = (id: string, token?: string) =>
    fetch(`${gateway.gateway.adminOrigin}/decisions/${id}`, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });

  it('tells who it was beside', async () => {
    const { id } = await decide('GET', '/v1/projects/p2');
    const response = await admin(id, API_TOKEN);
    expect([response.status, await response.json()]).toMatchObject([
      200,
      { decision_id: id, client: 'wf-4711', peer: '127.0.0.1', key: gateway.job.key.thumbprint, timings_ms: {} },
    ]);
  });

  it('needs the API token', async () => {
    const { id } = await decide('GET', '/v1/projects/p2');
    expect((await admin(id)).status).toBe(401);
    expect((await admin(id, 'x'.repeat(40))).status).toBe(401);
    expect((await admin(UNKNOWN, API_TOKEN)).status).toBe(404);
  });
});

describe('sallyport explain', () => {
  async function explain(...argv: string[]): Promise<{ code: number; text: string }> {
    let text = '';
    const [out, err] = [process.stdout.write, process.stderr.write];
    const take = (part: unknown) => {
      text += String(part);
      return true;
    };
    process.stdout.write = take as typeof process.stdout.write;
    process.stderr.write = take as typeof process.stderr.write;
    try {
      return { code: await run(['explain', ...argv]), text };
    } finally {
      process.stdout.write = out;
      process.stderr.write = err;
    }
  }

  it('prints the explanation, for the job and for the operator', async () => {
    const { id } = await decide('GET', '/v1/projects/p2');
    const key = join(gateway.folder, 'job.jwk.json');
    writeFileSync(key, JSON.stringify({ ...(await exportJWK(gateway.job.key.privateKey)), alg: 'ES256' }), {
      mode: 0o600,
    });
    const job = await explain(id, '--gateway', gateway.origin, '--key', key);
    expect(job.code).toBe(0);
    expect(job.text).toContain('GET /v1/projects/p2  403 refused');
    expect(job.text).toContain('policy.insufficient_authorization_details');
    const operator = await explain(
      id,
      '--admin',
      gateway.gateway.adminOrigin ?? '',
      '--token-file',
      tokenFile,
      '--json',
    );
    expect(JSON.parse(operator.text)).toMatchObject({ client: 'wf-4711' });
    const unknown = await explain(UNKNOWN, '--gateway', gateway.origin, '--key', key);
    expect(unknown).toMatchObject({ code: 1, text: expect.stringContaining('no such decision for this key') });
    expect((await explain('x', '--gateway', gateway.origin, '--key', key)).text).toContain('expected the decision_id');
    expect((await explain()).code).toBe(2);
  });
});
