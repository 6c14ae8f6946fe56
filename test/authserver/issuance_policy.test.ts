import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPolicyAnswer } from '../../src/authserver/issuance_policy.ts';
import { type RunningIssuancePolicy, startIssuancePolicy } from '../../src/issuance/issuance_policy.ts';
import { eventually } from '../support/eventually.ts';
import { assertionFor, claimsOf, recordingLog, requestToken, startTestServer, type TestServer } from './fixture.ts';

const STARTER = fileURLToPath(new URL('../../policies/issuance', import.meta.url));

let folder: string;
let policy: RunningIssuancePolicy;
let server: TestServer;
const { log, lines } = recordingLog();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'issuance-'));
  cpSync(STARTER, folder, { recursive: true });
  const files = { path: folder, entrypoint: 'token_issuance/decision', data: [], watch: true };
  policy = await startIssuancePolicy(files, log);
  server = await startTestServer(
    { job: { from_assertion: ['ref', 'ref_protected', 'event'] } },
    { server: { issuance_policy: { path: folder } }, policy: policy.evaluate },
  );
});
afterAll(async () => {
  await server.close();
  policy.close();
  rmSync(folder, { recursive: true });
});

const READ = { type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p2' };
const WRITE = { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' };

async function ask(job: Record<string, unknown>, parameters: Record<string, string | null> = {}) {
  const assertion = await assertionFor(server, { job });
  const details = JSON.stringify([READ, WRITE]);
  return requestToken(server, {
    assertion,
    parameters: { scope: 'builds:read builds:write', authorization_details: details, ...parameters },
  });
}

describe('granted is ceiling ∩ issuance policy ∩ request', () => {
  it('a job on a protected ref gets all that it asks for and may have', async () => {
    const answer = await ask({ ref_protected: true, event: 'push' });
    expect(answer.body).toMatchObject({ scope: 'builds:read builds:write', authorization_details: [READ, WRITE] });
  });

  it('another one gets reading, in the answer and in the token', async () => {
    const answer = await ask({ ref_protected: false });
    expect(answer.body).toMatchObject({ scope: 'builds:read', authorization_details: [READ] });
    const claims = claimsOf(answer.body['access_token']);
    expect(claims).toMatchObject({ scope: 'builds:read', authorization_details: [READ] });
  });

  it('invalid_scope, invalid_authorization_details: where the policy leaves nothing', async () => {
    expect(await ask({}, { scope: 'builds:write', authorization_details: null })).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope' },
    });
    expect(await ask({}, { authorization_details: JSON.stringify([WRITE]) })).toMatchObject({
      status: 400,
      body: { error: 'invalid_authorization_details' },
    });
  });

  it('access_denied: the codes of the reasons are told', async () => {
    const answer = await ask({ ref_protected: true, event: 'pull_request_target' });
    expect(answer).toMatchObject({ status: 400, body: { error: 'access_denied' } });
    expect(answer.body['error_description']).toContain('untrusted_event');
  });
});

describe('a policy that changes', () => {
  it('is asked as soon as it compiles; one that does not stays out', async () => {
    const file = join(folder, 'decision.rego');
    const text = readFileSync(file, 'utf8');
    const revision = policy.revision();
    writeFileSync(file, `${text}\nbroken {`);
    await eventually('the refusal is in the log', async () =>
      lines.some(({ message }) => message.includes('was refused; the old one stays')),
    );
    expect(policy.revision()).toBe(revision);
    expect((await ask({ ref_protected: true })).status).toBe(200);
    writeFileSync(file, text.replace('"push",', ''));
    await eventually('the new one is asked', async () => policy.revision() !== revision);
    expect(await ask({ ref_protected: true, event: 'push' })).toMatchObject({ body: { error: 'access_denied' } });
  });
});

describe('a policy that is of no use refuses', () => {
  const cases: readonly [string, readonly unknown[] | (() => never)][] = [
    ['undefined', []],
    ['two answers', [{ allow: true }, { allow: true }]],
    ['a boolean', [true]],
    ['allow as a text', [{ allow: 'true' }]],
    ['allow missing', [{ scopes: [] }]],
    ['an unknown member', [{ allow: true, obligations: [] }]],
    ['scopes as a text', [{ allow: true, scopes: 'builds:write' }]],
    ['a lifetime of zero', [{ allow: true, token_lifetime_seconds: 0 }]],
    ['details that are no objects', [{ allow: true, authorization_details: ['x'] }]],
    ['reasons without code', [{ allow: false, reasons: [{ message: 'x' }] }]],
    [
      'an exception',
      () => {
        throw new Error('trap');
      },
    ],
  ];

  it.each(cases)('server_error: %s', async (_what, answer) => {
    const evaluate = typeof answer === 'function' ? answer : () => answer;
    const own = await startTestServer({}, { server: { issuance_policy: { path: folder } }, policy: evaluate });
    const refused = await requestToken(own);
    await own.close();
    expect(refused).toMatchObject({ status: 500, body: { error: 'server_error' } });
    expect(JSON.stringify(refused.body)).not.toContain('trap');
    if (typeof answer !== 'function') expect(readPolicyAnswer(answer).ok).toBe(false);
  });

  it('it can add nothing: no scope, no item, no time', async () => {
    const more = { type: 'cloud_api', actions: ['projects.delete'], identifier: 'projects/p1' };
    const evaluate = () => [
      {
        allow: true,
        scopes: ['admin', 'builds:write'],
        authorization_details: [more, WRITE],
        token_lifetime_seconds: 100_000,
      },
    ];
    const own = await startTestServer({}, { server: { issuance_policy: { path: folder } }, policy: evaluate });
    const parameters = { authorization_details: JSON.stringify([READ, WRITE]) };
    const { body } = await requestToken(own, { parameters });
    await own.close();
    expect(body).toMatchObject({ scope: 'builds:write', authorization_details: [WRITE], expires_in: 300 });
  });

  it('a shorter life is kept', async () => {
    const evaluate = () => [{ allow: true, token_lifetime_seconds: 20 }];
    const own = await startTestServer({}, { server: { issuance_policy: { path: folder } }, policy: evaluate });
    const { body } = await requestToken(own);
    await own.close();
    expect(body['expires_in']).toBe(20);
  });

  it('a configuration with a policy does not start without one', async () => {
    await expect(startTestServer({}, { server: { issuance_policy: { path: folder } } })).rejects.toThrow(
      'must bring the policy',
    );
  });
});
