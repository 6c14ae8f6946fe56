import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { eventually } from '../support/eventually.ts';
import { startForeignAuthServer } from '../support/foreign_authserver.ts';
import { BrokerJob, CEILING, claimsOf, TestBroker } from './fixture.ts';

const TOKEN = 'initial-0123456789abcdef0123456789abcdef';
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Kept {
  clients: { workflow: string; clientId: string; keys: unknown[]; signs: string; registered: string }[];
}

/** A broker before an authorization server of another make, which registers clients. */
async function start(config: Record<string, unknown> = {}): Promise<TestBroker> {
  const { publicJwk } = await importSigningKey(await generatePrivateJwk());
  const foreign = await startForeignAuthServer({
    clientJwk: publicJwk,
    alg: 'ES256',
    path: '/tenants/a',
    initialAccessToken: TOKEN,
  });
  closing.push(() => foreign.close());
  const test = await TestBroker.prepare({
    issuer: foreign.issuer,
    workflow: { client: undefined, scopes: ['projects:read'] },
  });
  closing.push(() => test.close());
  writeFileSync(join(test.folder, 'registration.token'), TOKEN, { mode: 0o600 });
  const server = { issuer: foreign.issuer, registration: { initial_access_token_file: 'registration.token' } };
  await test.startBroker({ authorization_server: server, ...config });
  return test;
}

const stateOf = (test: TestBroker) => JSON.parse(readFileSync(join(test.folder, 'state/clients.json'), 'utf8')) as Kept;

describe('RFC 7591, RFC 7592: a client for each workflow, at an authorization server of another make', () => {
  it('is registered, serves jobs, and survives a restart; its key is readable by nobody else', async () => {
    const test = await start();
    await eventually('registered', () => (stateOf(test).clients[0]?.registered ?? '') !== '');
    const first = await (await BrokerJob.start(test)).ask({ scope: 'projects:read' });
    expect([first.status, first.body['error_description']]).toEqual([200, undefined]);
    const { clientId } = stateOf(test).clients[0] as Kept['clients'][number];
    expect(claimsOf(first.body['access_token'])['client_id']).toBe(clientId);
    expect(statSync(join(test.folder, 'state/clients.json')).mode & 0o777).toBe(0o600);
    await test.broker.close();
    const server = { issuer: test.issuer, registration: { initial_access_token_file: 'registration.token' } };
    await test.startBroker({ authorization_server: server });
    expect((await (await BrokerJob.start(test)).ask({ scope: 'projects:read' })).status).toBe(200);
    expect(stateOf(test).clients[0]?.clientId).toBe(clientId);
  });

  it('is deleted with its workflow, and there for a new one', async () => {
    const test = await start();
    await eventually('registered', () => (stateOf(test).clients[0]?.registered ?? '') !== '');
    const match = { issuer: 'https://token.actions.githubusercontent.com', repository_id: '5' };
    writeFileSync(
      join(test.folder, 'workflows.yaml'),
      JSON.stringify({
        version: 1,
        workflows: [{ name: 'another', match, resources: ['https://cloud.example.com/v1'], scopes: ['projects:read'] }],
      }),
    );
    await eventually(
      'another',
      () =>
        stateOf(test)
          .clients.map(({ workflow }) => workflow)
          .join() === 'another',
    );
    expect((await (await BrokerJob.start(test, { repository_id: '5' })).ask({})).status).toBe(200);
    expect((await (await BrokerJob.start(test)).ask({})).status).toBe(403);
  });
});

describe("RFC 7591, RFC 7592: at this project's own authorization server", () => {
  it('is registered with its ceiling, states the job, changes its key, and is deleted', async () => {
    const test = await TestBroker.prepare({
      workflow: { client: undefined },
      server: {
        registration: {
          initial_access_tokens: [
            { name: 'ci', token_file: 'registration.token', resources: ['https://cloud.example.com/v1'], ...CEILING },
          ],
        },
      },
      before: (folder) => writeFileSync(join(folder, 'registration.token'), TOKEN, { mode: 0o600 }),
    });
    closing.push(() => test.close());
    const server = { issuer: test.issuer, registration: { initial_access_token_file: 'registration.token' } };
    let ahead = 0;
    await test.startBroker(
      { authorization_server: server, keys: { rotate_after_seconds: 60, overlap_seconds: 5 } },
      () => Date.now() + ahead,
    );
    await eventually('registered', () => (stateOf(test).clients[0]?.registered ?? '') !== '');
    const first = await (await BrokerJob.start(test)).ask({ scope: 'builds:write' });
    expect([first.status, first.body['error_description']]).toEqual([200, undefined]);
    const { clientId, signs } = stateOf(test).clients[0] as Kept['clients'][number];
    expect(claimsOf(first.body['access_token'])).toMatchObject({ client_id: clientId, job: { run_id: '1001' } });
    ahead = 61_000;
    await eventually('another key signs', () => stateOf(test).clients[0]?.signs !== signs);
    ahead = 0;
    const second = await (await BrokerJob.start(test)).ask({ scope: 'builds:write' });
    expect([second.status, claimsOf(second.body['access_token'])['client_id']]).toEqual([200, clientId]);
    writeFileSync(join(test.folder, 'workflows.yaml'), JSON.stringify({ version: 1, workflows: [] }));
    await eventually('it is gone', () => stateOf(test).clients.length === 0);
  });
});
