import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { eventually } from '../support/eventually.ts';
import { launchBroker, logOf, runBroker } from './broker_process.ts';
import { BrokerJob, CEILING, CI_ISSUER, claimsOf, RESOURCE, type TestBroker } from './fixture.ts';
import { drop, hang, json, type ServerFront } from './front.ts';
import { clientsCheck, everythingWritten, keptClients, prepareRegistering, registered } from './registering.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const MANAGED = /^\/register\/./;

async function ask(test: TestBroker) {
  return (await BrokerJob.start(test)).ask({ scope: 'builds:write' });
}

function writeWorkflows(test: TestBroker, workflows: readonly Record<string, unknown>[]): void {
  writeFileSync(join(test.folder, 'workflows.yaml'), stringify({ version: 1, workflows }));
}

const match = { issuer: CI_ISSUER, repository_id: '4711', workflow: 'deploy.yml', ref: 'refs/heads/main' };
const narrower = { name: 'deploy', match, resources: [RESOURCE], scopes: ['builds:write'] };

/** A started broker with its client. */
async function start(config: Record<string, unknown> = {}): Promise<{ test: TestBroker; front: ServerFront }> {
  const made = await prepareRegistering(closing, config);
  await made.test.startBroker();
  await registered(made.test);
  return made;
}

describe('RFC 7592 §2.2: the client is changed', () => {
  it('403: it is there and may not do this: it stays, is not registered again, and the problem is told', async () => {
    const { test, front } = await start();
    const [before] = keptClients(test);
    front.interfere = ({ method }) => (method === 'PUT' ? json(403, { error: 'access_denied' }) : null);
    writeWorkflows(test, [narrower]);
    await eventually('asked to change', () => front.seen('PUT', MANAGED).length > 0);
    await eventually('the problem is told', async () => (await clientsCheck(test)).includes('deploy: the update'));
    expect(await clientsCheck(test)).toBe(
      '1 of 1 workflows have a client; deploy: the update of the client was refused (status 403, access_denied)',
    );
    const { status, body } = await ask(test);
    expect([status, claimsOf(body['access_token'])['client_id']]).toEqual([200, before?.clientId]);
    expect(front.seen('POST', '/register')).toHaveLength(1);
    expect(front.seen('DELETE', MANAGED)).toHaveLength(0);
  });

  it.each([401, 404])('%i: it does not exist: it is registered again, with another key, once', async (status) => {
    const { test, front } = await start();
    const [before] = keptClients(test);
    front.interfere = ({ method }) => (method === 'PUT' ? json(status, { error: 'invalid_token' }) : null);
    writeWorkflows(test, [narrower]);
    await eventually('another client', () => {
      const [now] = keptClients(test);
      return now?.registered !== '' && now?.clientId !== before?.clientId;
    });
    expect(keptClients(test)[0]?.keys[0]?.kid).not.toBe(before?.keys[0]?.kid);
    expect(front.seen('POST', '/register')).toHaveLength(2);
    expect((await ask(test)).status).toBe(200);
  });

  it.each([
    ['429', json(429, {}, { 'retry-after': '1' })],
    ['500', json(500, {})],
    ['silence', hang],
    ['a broken connection', drop],
    ['a page', json(200, '<html>')],
    ['another client', json(200, { client_id: 'somebody-else' })],
  ])('%s: it stays as it was, and is tried again', async (_name, interference) => {
    const { test, front } = await start();
    const [before] = keptClients(test);
    front.interfere = ({ method }) => (method === 'PUT' ? interference : null);
    writeWorkflows(test, [narrower]);
    await eventually('asked to change', () => front.seen('PUT', MANAGED).length > 0);
    expect((await ask(test)).status).toBe(200);
    front.interfere = () => null;
    await eventually('changed', () => front.seen('PUT', MANAGED).some(({ status }) => status === 200), 15);
    expect(keptClients(test)[0]?.clientId).toBe(before?.clientId);
    expect(front.seen('POST', '/register')).toHaveLength(1);
  });
});

describe('RFC 7592 §2.3: the client is deleted with its workflow', () => {
  it('204: it is gone there too, and its key is written nowhere any more', async () => {
    const { test, front } = await start();
    const [before] = keptClients(test);
    writeWorkflows(test, []);
    await eventually('gone', () => keptClients(test).length === 0);
    expect(front.seen('DELETE', MANAGED).map(({ status }) => status)).toEqual([204]);
    expect(everythingWritten(test)).not.toContain(before?.keys[0]?.d);
    const { uri = '', token = '' } = before?.management ?? {};
    expect((await fetch(uri, { headers: { authorization: `Bearer ${token}` } })).status).toBe(401);
  });

  it.each([401, 404])('%i: it was gone already', async (status) => {
    const { test, front } = await start();
    front.interfere = ({ method }) => (method === 'DELETE' ? json(status, {}) : null);
    writeWorkflows(test, []);
    await eventually('forgotten', () => keptClients(test).length === 0);
    expect(front.seen('DELETE', MANAGED)).toHaveLength(1);
  });

  it.each([403, 405])(
    '%i: nobody may delete it: its key is destroyed, and the log says what is left there',
    async (status) => {
      const { test, front } = await start();
      const [before] = keptClients(test);
      front.interfere = ({ method }) => (method === 'DELETE' ? json(status, {}) : null);
      writeWorkflows(test, []);
      await eventually('forgotten', () => keptClients(test).length === 0);
      expect(everythingWritten(test)).not.toContain(before?.keys[0]?.d);
      expect(
        test.lines.some(({ msg, client_id }) => /delete it there/.test(String(msg)) && client_id === before?.clientId),
      ).toBe(true);
    },
  );

  it.each([
    ['503', json(503, {})],
    ['silence', hang],
  ])('%s: it is not forgotten before it is gone', async (_name, interference) => {
    const { test, front } = await start();
    front.interfere = ({ method }) => (method === 'DELETE' ? interference : null);
    writeWorkflows(test, []);
    await eventually('asked', () => front.seen('DELETE', MANAGED).length > 0);
    expect(keptClients(test)).toHaveLength(1);
    expect((await ask(test)).status).toBe(403);
    front.interfere = () => null;
    await eventually('gone', () => keptClients(test).length === 0, 15);
  });

  it('one of two: the other keeps its client and serves its jobs', async () => {
    const { test, front } = await prepareRegistering(closing);
    const other = {
      name: 'other',
      match: { issuer: CI_ISSUER, repository_id: '4712' },
      resources: [RESOURCE],
      ...CEILING,
    };
    writeWorkflows(test, [narrower, other]);
    await test.startBroker();
    await eventually('both', () => keptClients(test).filter((one) => one.registered !== '').length === 2);
    const [one, two] = keptClients(test);
    expect(one?.keys[0]?.kid).not.toBe(two?.keys[0]?.kid);
    expect(one?.clientId).not.toBe(two?.clientId);
    writeWorkflows(test, [other]);
    await eventually('one is gone', () => keptClients(test).length === 1);
    expect(keptClients(test)[0]?.workflow).toBe('other');
    expect(front.seen('DELETE', MANAGED)).toHaveLength(1);
    expect((await (await BrokerJob.start(test, { repository_id: '4712' })).ask()).status).toBe(200);
    expect((await ask(test)).status).toBe(403);
  });
});

describe('RFC 6749 §5.2: invalid_client', () => {
  it('of a client that was deleted at the server: 503, one registration, then tokens again', async () => {
    const { test, front } = await start();
    const [before] = keptClients(test);
    const { uri = '', token = '' } = before?.management ?? {};
    expect((await fetch(uri, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } })).status).toBe(204);
    const first = await ask(test);
    expect([first.status, first.body['reason'], first.headers.get('retry-after')]).toEqual([
      503,
      'broker.client_refused',
      '2',
    ]);
    await eventually('another client', () => {
      const [now] = keptClients(test);
      return now?.registered !== '' && now?.clientId !== before?.clientId;
    });
    const second = await ask(test);
    expect([second.status, claimsOf(second.body['access_token'])['client_id']]).toEqual([
      200,
      keptClients(test)[0]?.clientId,
    ]);
    expect(front.seen('POST', '/register')).toHaveLength(2);
  });

  it('of a client that the server keeps refusing: looked after once, and not in a loop', async () => {
    const { test, front } = await start();
    front.interfere = ({ path }) => (path === '/token' ? json(401, { error: 'invalid_client' }) : null);
    for (let count = 0; count < 6; count++) {
      expect((await ask(test)).body['reason']).toBe('broker.client_refused');
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(front.seen('PUT', MANAGED)).toHaveLength(1);
    expect(front.seen('POST', '/register')).toHaveLength(1);
    front.interfere = () => null;
    expect((await ask(test)).status).toBe(200);
  });

  it('where the server lets nobody manage its clients: one further registration, however many jobs ask', async () => {
    const { test, front } = await prepareRegistering(closing);
    front.alter = ({ method, path, answer }) => {
      if (method !== 'POST' || path !== '/register') return answer;
      const {
        registration_client_uri: _uri,
        registration_access_token: _token,
        ...rest
      } = JSON.parse(answer) as Record<string, unknown>;
      return JSON.stringify(rest);
    };
    await test.startBroker();
    await registered(test);
    expect(keptClients(test)[0]?.management).toBeNull();
    front.interfere = ({ path }) => (path === '/token' ? json(400, { error: 'unauthorized_client' }) : null);
    for (let count = 0; count < 6; count++) {
      await ask(test);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(front.seen('POST', '/register')).toHaveLength(2);
    expect(keptClients(test)).toHaveLength(1);
    front.interfere = () => null;
    expect((await ask(test)).status).toBe(200);
  });
});

describe('RFC 7591 §3.2: what comes back of a registration', () => {
  const good = { client_id: 'x', token_endpoint_auth_method: 'private_key_jwt' };
  it.each([
    [
      'a page in HTML',
      (response: Parameters<typeof drop>[0]) =>
        void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>ok</html>'),
      'not a JSON object',
    ],
    [
      'garbage',
      (response: Parameters<typeof drop>[0]) => void response.writeHead(201).end('\u0000\u0001'),
      'not a JSON object',
    ],
    ['an array', json(201, [good]), 'not a JSON object'],
    ['something huge', json(201, { ...good, pad: 'x'.repeat(400_000) }), 'more than'],
    [
      'a redirect',
      (response: Parameters<typeof drop>[0]) => void response.writeHead(307, { location: '/elsewhere' }).end(),
      'redirect',
    ],
    ['no client_id', json(201, {}), 'names no client_id'],
    ['a client_id of another type', json(201, { client_id: 7 }), 'names no client_id'],
    ['a secret', json(201, { ...good, client_secret: 's3cret' }), 'a secret'],
    [
      'another way to authenticate',
      json(201, { ...good, token_endpoint_auth_method: 'client_secret_basic' }),
      'another token_endpoint_auth_method',
    ],
    [
      'a refusal',
      json(400, { error: 'invalid_client_metadata', error_description: 'words of theirs' }),
      'status 400, invalid_client_metadata',
    ],
    ['429', json(429, {}), 'status 429'],
    ['503', json(503, {}), 'status 503'],
    ['silence', hang, 'gave no answer within'],
    ['a broken connection', drop, 'cannot be reached'],
  ])(
    '%s: the workflow has no client, readiness says why, and it is tried again',
    { timeout: 30_000 },
    async (_name, interference, words) => {
      const { test, front } = await prepareRegistering(closing);
      front.interfere = ({ method, path }) => (method === 'POST' && path === '/register' ? interference : null);
      await test.startBroker();
      await eventually('the problem is told', async () => (await clientsCheck(test)).includes(words));
      const { status, body } = await ask(test);
      expect([status, body['reason']]).toEqual([503, 'broker.client_missing']);
      expect(JSON.stringify(test.lines)).not.toMatch(/s3cret|words of theirs/);
      front.interfere = () => null;
      await eventually('registered', () => (keptClients(test)[0]?.registered ?? '') !== '', 15);
      expect((await ask(test)).status).toBe(200);
    },
  );
});

describe('a broker that is killed', () => {
  /** Kills it when the server has answered, or before it heard anything. */
  async function killed(reached: boolean) {
    const { test, front } = await prepareRegistering(closing);
    const inFlight = Promise.withResolvers<void>();
    if (reached) {
      front.alter = (passed) => {
        if (passed.path !== '/register') return passed.answer;
        inFlight.resolve();
        return new Promise(() => undefined);
      };
    } else {
      front.interfere = ({ path }) => {
        if (path !== '/register') return null;
        inFlight.resolve();
        return hang;
      };
    }
    const program = launchBroker(test);
    await inFlight.promise;
    const [begun] = keptClients(test);
    program.child.kill('SIGKILL');
    await program.ended;
    front.alter = ({ answer }) => answer;
    front.interfere = () => null;
    return { test, front, begun };
  }

  it.each([
    ['after the server registered the client', true],
    ['before the server heard of it', false],
  ])(
    'in the middle of a registration, %s: one client afterwards; the key of the other one is nowhere, and the log names it',
    async (_name, reached) => {
      const { test, front, begun } = await killed(reached);
      expect(begun?.clientId).toBe('');
      const program = await runBroker(test);
      const after = await registered(test);
      expect(keptClients(test)).toHaveLength(1);
      expect(after.keys[0]?.kid).not.toBe(begun?.keys[0]?.kid);
      expect(everythingWritten(test)).not.toContain(begun?.keys[0]?.d);
      expect(logOf(program).filter(({ kid }) => kid === begun?.signs)).toHaveLength(1);
      expect((await ask(test)).status).toBe(200);
      expect(front.seen('POST', '/register')).toHaveLength(2);
    },
  );

  it('in the middle of a rotation: the client is not lost, jobs get tokens before and after', async () => {
    const { test, front } = await prepareRegistering(closing, {
      keys: { rotate_after_seconds: 60, overlap_seconds: 1 },
    });
    const first = await runBroker(test);
    const before = await registered(test);
    first.child.kill('SIGKILL');
    await first.ended;
    const aged = { version: 1, clients: keptClients(test).map((one) => ({ ...one, rotatedAt: Date.now() - 61_000 })) };
    writeFileSync(join(test.folder, 'state/clients.json'), JSON.stringify(aged));
    const inFlight = Promise.withResolvers<void>();
    front.alter = (passed) => {
      if (passed.method !== 'PUT') return passed.answer;
      inFlight.resolve();
      return new Promise(() => undefined);
    };
    const second = launchBroker(test);
    await inFlight.promise;
    second.child.kill('SIGKILL');
    await second.ended;
    expect(keptClients(test)[0]).toMatchObject({ clientId: before.clientId, signs: before.signs });
    expect(keptClients(test)[0]?.keys).toHaveLength(2);
    front.alter = ({ answer }) => answer;
    await runBroker(test);
    expect((await ask(test)).status).toBe(200);
    await eventually('the new key signs, the old one is gone', () => {
      const [now] = keptClients(test);
      return now?.keys.length === 1 && now.signs !== before.signs;
    });
    expect(keptClients(test)[0]?.clientId).toBe(before.clientId);
    expect((await ask(test)).status).toBe(200);
    expect(front.seen('POST', '/register')).toHaveLength(1);
    expect(everythingWritten(test)).not.toContain(before.keys[0]?.d);
  });
});

describe('a disk that cannot be written', () => {
  it('before the request: nothing is registered; after the answer: the client serves, and is on the disk as soon as that can be', async () => {
    const { test, front } = await prepareRegistering(closing);
    const [state, away] = [join(test.folder, 'state'), join(test.folder, 'away')];
    front.alter = ({ path, method, answer }) => {
      if (path === '/register' && method === 'POST') renameSync(state, away);
      return answer;
    };
    await test.startBroker();
    await eventually('the problem is told', async () =>
      (await clientsCheck(test)).includes('clients.json: cannot be written'),
    );
    expect(await clientsCheck(test)).toContain('1 of 1 workflows have a client');
    renameSync(away, state);
    const client = await registered(test);
    expect(client.clientId).not.toBe('');
    expect((await ask(test)).status).toBe(200);
    expect(front.seen('POST', '/register')).toHaveLength(1);
    await eventually('no problem', async () => (await clientsCheck(test)) === '1 of 1 workflows have a client');
  });

  it('one workflow with a statement that cannot be read has no client, and the problem is told, not only logged', async () => {
    const { test, front } = await prepareRegistering(closing);
    const registration = { initial_access_token_file: 'registration.token', software_statement_file: 'none.jwt' };
    await test.startBroker({ authorization_server: { issuer: front.origin, registration } });
    await eventually('the problem is told', async () => (await clientsCheck(test)).includes('none.jwt'));
    expect(front.seen('POST', '/register')).toHaveLength(0);
    writeFileSync(join(test.folder, 'none.jwt'), 'not.a.statement');
    await eventually('it is asked', () => front.seen('POST', '/register').length > 0);
  });
});
