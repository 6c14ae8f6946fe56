import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKey } from '../support/issuer.ts';
import { BrokerJob, CEILING, CI_ISSUER, claimsOf, RESOURCE, TestBroker } from './fixture.ts';

let test: TestBroker;

beforeAll(async () => {
  test = await TestBroker.start({
    workflow: { environments: ['production', 'staging'] },
    workflows: [
      {
        name: 'other',
        match: { issuer: CI_ISSUER, repository_id: '4712' },
        resources: [RESOURCE, 'https://other.example.com'],
        scopes: ['x'],
        client: { client_id: 'unknown', private_key_file: 'client.jwk.json' },
      },
    ],
  });
});

afterAll(() => test.close());

describe('GET /.well-known/sallyport-broker', () => {
  it('says where the authorization server and the broker are', async () => {
    const { status, body } = await test.get('/.well-known/sallyport-broker');
    expect(status).toBe(200);
    expect(body).toEqual({
      issuer: test.issuer,
      token_endpoint: `${test.issuer}/token`,
      broker_token_endpoint: `${test.broker.origin}/token`,
      job_end_endpoint: `${test.broker.origin}/jobs/{id}/end`,
      dpop_signing_alg_values_supported: expect.arrayContaining(['ES256']) as unknown,
    });
  });

  it('RFC 9110 §15.5.6: other methods, and other paths, are refused', async () => {
    const at = test.broker.origin;
    expect((await fetch(`${at}/.well-known/sallyport-broker`, { method: 'POST' })).status).toBe(405);
    expect((await fetch(`${at}/token`)).headers.get('allow')).toBe('POST');
    for (const path of ['/', '/token/', '/Token', '//token', '/jobs/x/end', '/jobs', '/%74oken']) {
      expect((await fetch(at + path, { method: 'POST' })).status, path).toBe(404);
    }
  });
});

describe('POST /token', () => {
  it('gives a token that is bound to the key of the job, with what it asked for and the claims of the job', async () => {
    const job = await BrokerJob.start(test);
    const detail = { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1/builds' };
    const { status, body, headers } = await job.ask({
      scope: 'builds:write',
      resource: RESOURCE,
      authorization_details: [detail],
    });
    expect([status, body['error_description']]).toEqual([200, undefined]);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(body).toMatchObject({
      token_type: 'DPoP',
      expires_in: 300,
      scope: 'builds:write',
      authorization_details: [detail],
    });
    expect(body['job_id']).toMatch(/^[\w-]{43}$/);
    expect(claimsOf(body['access_token'])).toMatchObject({
      iss: test.issuer,
      aud: RESOURCE,
      client_id: 'deploy',
      cnf: { jkt: job.key.thumbprint },
      job: {
        provider: 'github',
        repository: 'acme/infra',
        repository_id: '4711',
        workflow: 'deploy.yml',
        run_id: '1001',
        ref_protected: true,
      },
    });
  });

  it('records who got what, without the token', async () => {
    const job = await BrokerJob.start(test, { run_id: '2002' });
    const { body } = await job.ask();
    const record = test.records().find(({ job_id }) => job_id === body['job_id']);
    expect(record).toMatchObject({
      event: 'token_issued',
      workflow: 'deploy',
      issuer: CI_ISSUER,
      run_id: '2002',
      repository_id: '4711',
      jkt: job.key.thumbprint,
      granted: { scope: 'projects:read' },
    });
    const written = JSON.stringify([test.records(), test.lines]);
    expect(written).not.toContain(String(body['access_token']).split('.')[2]);
    expect(written).not.toContain(job.identity.split('.')[2]);
  });

  it('the same job has the same id, another job another', async () => {
    const job = await BrokerJob.start(test);
    const again = await BrokerJob.start(test, {}, job.key);
    const other = await BrokerJob.start(test);
    const ids = await Promise.all([job, again, other].map(async (one) => (await one.ask()).body['job_id']));
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).not.toBe(ids[2]);
  });

  it('narrows: scopes and details beyond the ceiling are left out, parts of an item too', async () => {
    const job = await BrokerJob.start(test);
    const { status, body } = await job.ask({
      scope: 'projects:read admin:all',
      resource: [RESOURCE, 'https://elsewhere.example.com'],
      authorization_details: [
        { type: 'cloud_api', actions: ['builds.create', 'projects.delete'], identifier: 'projects/p1' },
        { type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p10' },
        { type: 'other', actions: ['projects.get'] },
      ],
    });
    expect([status, body]).toMatchObject([200, { scope: 'projects:read' }]);
    expect(body['authorization_details']).toEqual([
      { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' },
    ]);
  });

  it('nothing said asks for the whole ceiling', async () => {
    const { status, body } = await (await BrokerJob.start(test)).ask({});
    expect([status, body['scope'], body['authorization_details']]).toEqual([
      200,
      CEILING.scopes.join(' '),
      CEILING.authorization_details,
    ]);
  });

  it.each([
    ['scope', { scope: 'admin:all' }, 'none of those asked for is among the scopes'],
    [
      'resource',
      { scope: 'projects:read', resource: 'https://elsewhere.example.com' },
      'none of those asked for is among the resources',
    ],
    [
      'details',
      { authorization_details: [{ type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p10' }] },
      'no item asked for has anything in common',
    ],
    [
      'details beside a good scope',
      { scope: 'projects:read', authorization_details: [{ type: 'none' }] },
      'no item asked for',
    ],
  ])('403 access_denied when nothing of the %s is within the ceiling, in a sentence', async (_name, asked, words) => {
    const { status, body } = await (await BrokerJob.start(test)).ask(asked);
    expect([status, body['error']]).toEqual([403, 'access_denied']);
    expect(body['error_description']).toContain(words);
  });

  it.each([
    ['malformed scope', { scope: 'a  b' }, 'invalid_scope'],
    ['scope with a quote', { scope: 'a"b' }, 'invalid_scope'],
    ['resource that is no URI', { scope: 'projects:read', resource: 'cloud' }, 'invalid_target'],
    ['resource with a fragment', { scope: 'projects:read', resource: `${RESOURCE}#x` }, 'invalid_target'],
    ['details that are no JSON', { authorization_details: '{' }, 'invalid_authorization_details'],
    ['details that are no array', { authorization_details: {} }, 'invalid_authorization_details'],
    ['details without type', { authorization_details: [{ actions: ['x'] }] }, 'invalid_authorization_details'],
    [
      'details with a repeated member',
      { authorization_details: '[{"type":"cloud_api","type":"x"}]' },
      'invalid_authorization_details',
    ],
    [
      'an identifier that climbs',
      { authorization_details: [{ type: 'cloud_api', actions: ['x'], identifier: 'projects/p1/../p2' }] },
      'invalid_authorization_details',
    ],
    [
      'an identifier with *',
      { authorization_details: [{ type: 'cloud_api', actions: ['x'], identifier: 'projects/*' }] },
      'invalid_authorization_details',
    ],
    ['another grant', { scope: 'projects:read', grant_type: 'refresh_token' }, 'invalid_request'],
    ['a client of its own', { scope: 'projects:read', client_assertion: 'x' }, 'invalid_request'],
    ['a repeated scope', { scope: ['projects:read', 'builds:write'] as unknown as string }, 'invalid_request'],
  ])('400: %s', async (_name, asked, error) => {
    const { status, body } = await (await BrokerJob.start(test)).ask(asked);
    expect([status, body['error']]).toEqual([400, error]);
  });

  it('400 for another content type and bytes that are no UTF-8; 413 for too many', async () => {
    const job = await BrokerJob.start(test);
    const post = async (body: string | Uint8Array, type = 'application/x-www-form-urlencoded') => {
      const headers = { authorization: `Bearer ${job.identity}`, dpop: await job.proof(), 'content-type': type };
      return (await fetch(`${test.broker.origin}/token`, { method: 'POST', headers, body: body as string })).status;
    };
    expect(await post('scope=projects:read', 'application/json')).toBe(400);
    expect(await post('scope=%ff')).toBe(400);
    expect(await post(new Uint8Array([0x73, 0x3d, 0xff]))).toBe(400);
    expect(await post(`scope=${'a'.repeat(70_000)}`)).toBe(413);
  });
});

describe('the identity token', () => {
  it.each([
    ['missing', undefined, 'invalid_client'],
    ['of another scheme', 'Basic abc', 'invalid_client'],
    ['no token', 'Bearer abc', 'invalid_token'],
  ])('401 when it is %s, with a challenge', async (_name, authorization, error) => {
    const job = await BrokerJob.start(test);
    const headers: Record<string, string> = {
      dpop: await job.proof(),
      ...(authorization !== undefined && { authorization }),
    };
    const answer = await fetch(`${test.broker.origin}/token`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ scope: 'projects:read' }),
    });
    expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([401, error]);
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer /);
  });

  const now = () => Math.floor(Date.now() / 1000);
  it.each([
    ['expired', () => ({ iat: now() - 600, nbf: now() - 600, exp: now() - 1 })],
    ['for somebody else', () => ({ aud: 'https://elsewhere.example.com' })],
    ['of another issuer', () => ({ iss: 'https://evil.example.com' })],
    ['without exp', () => ({ exp: undefined })],
    ['not valid yet', () => ({ nbf: now() + 600 })],
  ])('401 invalid_token when it is %s', async (_name, changes) => {
    const { status, body } = await (await BrokerJob.start(test, changes())).ask();
    expect([status, body['error']]).toEqual([401, 'invalid_token']);
  });

  it('401 when it is signed by somebody else', async () => {
    const stranger = await TestBroker.prepare();
    const job = await BrokerJob.start(test);
    const { status, body } = await job.ask(
      { scope: 'projects:read' },
      { authorization: `Bearer ${await stranger.ci.token()}` },
    );
    expect([status, body['error_description']]).toEqual([401, expect.stringContaining('signature')]);
    await stranger.close();
  });

  it('a stolen one is refused with another key, and good again with its own', async () => {
    const job = await BrokerJob.start(test);
    expect((await job.ask()).status).toBe(200);
    const key = await makeKey();
    const thief = await BrokerJob.start(test, {}, key);
    const stolen = await thief.ask({ scope: 'projects:read' }, { authorization: `Bearer ${job.identity}` });
    expect([stolen.status, stolen.body['error']]).toEqual([401, 'invalid_token']);
    expect(stolen.body['error_description']).toContain('used before with another key');
    expect((await job.ask()).status).toBe(200);
    expect(test.records().at(-2)).toMatchObject({
      event: 'token_refused',
      error: 'invalid_token',
      jkt: key.thumbprint,
    });
  });

  it('strangers of the same CI system, who are of no workflow, fill nothing that jobs need', async () => {
    const small = await TestBroker.start({ config: { jobs: { limit: 10 } } });
    try {
      for (let count = 0; count < 45; count++) {
        const stranger = await BrokerJob.start(small, { repository_id: '666', jti: `stranger-${count}` });
        expect((await stranger.ask()).status).toBe(403);
      }
      expect((await (await BrokerJob.start(small)).ask()).status).toBe(200);
    } finally {
      await small.close();
    }
  });

  it('the key of one job is not that of another', async () => {
    const job = await BrokerJob.start(test);
    expect((await job.ask()).status).toBe(200);
    const { status, body } = await (await BrokerJob.start(test, { run_id: '9999' }, job.key)).ask();
    expect([status, body['error_description']]).toEqual([403, 'The key of the proof is that of another job.']);
  });

  it('two Authorization headers are refused', async () => {
    const job = await BrokerJob.start(test);
    const { request } = await import('node:http');
    const status = await new Promise((resolve) => {
      const sent = request(`${test.broker.origin}/token`, { method: 'POST' }, (response) =>
        resolve(response.resume().statusCode),
      );
      sent.setHeader('authorization', [`Bearer ${job.identity}`, 'Bearer x']);
      sent.setHeader('content-type', 'application/x-www-form-urlencoded');
      sent.end('scope=projects:read');
    });
    expect(status).toBe(400);
  });
});

describe('the workflow', () => {
  it.each([
    ['another repository of the same name', { repository_id: '1' }],
    ['another branch', { ref: 'refs/heads/evil' }],
    ['another file', { workflow_ref: 'acme/infra/.github/workflows/evil.yml@refs/heads/main' }],
    ['no repository', { repository_id: undefined }],
  ])('403 for a job of %s', async (_name, changes) => {
    const { status, body } = await (await BrokerJob.start(test, changes)).ask();
    expect([status, body['error']]).toEqual([403, 'access_denied']);
  });

  it('that is named must be that of the job', async () => {
    expect((await (await BrokerJob.start(test)).ask({ scope: 'projects:read', workflow: 'deploy' })).status).toBe(200);
    for (const workflow of ['other', 'none', '']) {
      expect((await (await BrokerJob.start(test)).ask({ scope: 'projects:read', workflow })).status).toBe(403);
    }
  });

  it('serves the environments it lists, as the identity token names them', async () => {
    const ask = async (claims: Record<string, unknown>, asked = {}) =>
      (await (await BrokerJob.start(test, claims)).ask({ scope: 'projects:read', ...asked })).status;
    expect(await ask({ environment: 'staging' }, { environment: 'staging' })).toBe(200);
    expect(await ask({ environment: 'staging' }, { environment: 'production' })).toBe(403);
    expect(await ask({ environment: 'test' })).toBe(403);
    expect(await ask({ environment: undefined })).toBe(403);
    expect(await ask({ environment: undefined }, { environment: 'production' })).toBe(403);
  });

  it('with several resources the job says which', async () => {
    const { status, body } = await (await BrokerJob.start(test, { repository_id: '4712' })).ask({ scope: 'x' });
    expect([status, body['error']]).toEqual([400, 'invalid_target']);
  });

  it('whose client the authorization server does not know: 503, and the log says which', async () => {
    const job = await BrokerJob.start(test, { repository_id: '4712' });
    const { status, body, headers } = await job.ask({ scope: 'x', resource: RESOURCE });
    expect([status, body['error'], headers.get('retry-after')]).toEqual([503, 'temporarily_unavailable', '2']);
    expect(test.lines.some((line) => line['workflow'] === 'other' && line['error'] === 'invalid_client')).toBe(true);
  });
});

describe('the proof', () => {
  it.each([
    ['missing', async () => ({ dpop: '' })],
    ['malformed', async () => ({ dpop: 'a.b.c' })],
    [
      'for the broker instead of the authorization server',
      async (job: BrokerJob) => ({ dpop: await job.proof(`${test.broker.origin}/token`) }),
    ],
    ['two', async (job: BrokerJob) => ({ dpop: `${await job.proof()}, ${await job.proof()}` })],
    [
      'signed with another key than it shows',
      async (job: BrokerJob) => {
        const [head, body] = (await job.proof()).split('.');
        const other = await BrokerJob.start(test);
        return { dpop: `${head}.${body}.${(await other.proof()).split('.')[2]}` };
      },
    ],
  ])('400 invalid_dpop_proof when it is %s', async (_name, headers) => {
    const job = await BrokerJob.start(test);
    const { status, body } = await job.ask({ scope: 'projects:read' }, await headers(job));
    expect([status, body['error']]).toEqual([400, 'invalid_dpop_proof']);
  });

  it('is good once: the authorization server refuses it the second time, and the broker says so', async () => {
    const job = await BrokerJob.start(test);
    const dpop = await job.proof();
    expect((await job.ask({ scope: 'projects:read' }, { dpop })).status).toBe(200);
    const { status, body } = await job.ask({ scope: 'projects:read' }, { dpop });
    expect([status, body['error']]).toEqual([400, 'invalid_dpop_proof']);
  });

  it('one flight for copies of one request: all get the same token', async () => {
    const job = await BrokerJob.start(test);
    const dpop = await job.proof();
    const answers = await Promise.all(Array.from({ length: 5 }, () => job.ask({ scope: 'projects:read' }, { dpop })));
    const tokens = new Set(answers.filter(({ status }) => status === 200).map(({ body }) => body['access_token']));
    expect(tokens.size).toBe(1);
  });
});
