import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { lockFolder } from '../../src/files/folder_lock.ts';
import { makeKey } from '../support/issuer.ts';
import { launchBroker, runBroker } from './broker_process.ts';
import { BrokerJob, TestBroker, type TestBrokerOptions } from './fixture.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function prepare(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const test = await TestBroker.prepare(options);
  closing.push(() => test.close());
  return test;
}

describe('state_folder is for one broker', () => {
  it('a second process on the same folder is refused at start, and the first goes on', async () => {
    const test = await prepare();
    await runBroker(test);
    const second = launchBroker(test, { listen: { port: 0 }, admin: { port: 0 } });
    expect(await second.ended).toBe(1);
    expect(second.errors()).toMatch(
      /state_folder: another broker uses \S+\/state, .* give this one a folder of its own/,
    );
    expect((await (await BrokerJob.start(test)).ask()).status).toBe(200);
  });

  it('and one in the same process; after its end the folder is free', async () => {
    const test = await prepare();
    const first = await test.startBroker();
    await expect(test.startBroker()).rejects.toThrow('another broker uses');
    await first.close();
    await test.startBroker();
    expect((await (await BrokerJob.start(test)).ask()).status).toBe(200);
  });

  it('a process that was killed leaves no lock, and nothing half written that holds keys', async () => {
    const test = await prepare();
    const killed = await runBroker(test);
    const job = await BrokerJob.start(test);
    const { body } = await job.ask();
    killed.child.kill('SIGKILL');
    await killed.ended;
    const draft = 'clients.json.3f0f6f1e-0d0c-4a57-9d0b-2f3a4b5c6d7e';
    writeFileSync(join(test.folder, 'state', draft), '{"version":1,"clients":[{"keys":[{"d":"secret"}]}]}');
    await runBroker(test);
    expect(readdirSync(join(test.folder, 'state')).sort()).toEqual(['clients.json', 'jobs.json', 'lock']);
    expect((await job.end(body['job_id'])).status).toBe(204);
  });

  it('a start that fails lets go of the folder', async () => {
    const test = await prepare();
    await expect(test.startBroker({ workflows_file: 'none.yaml' })).rejects.toThrow();
    const lock = lockFolder(join(test.folder, 'state'));
    expect(lock).not.toBeNull();
    lock?.release();
    lock?.release();
  });

  it('every file in it is of mode 0600, whatever the umask; a folder that others may read is refused', async () => {
    const test = await prepare();
    const before = process.umask(0);
    try {
      await test.startBroker();
      await (await BrokerJob.start(test)).ask();
    } finally {
      process.umask(before);
    }
    const folder = join(test.folder, 'state');
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(folder))
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
    expect(statSync(join(test.folder, 'records.jsonl')).mode & 0o777).toBe(0o600);
    await test.broker.close();
    chmodSync(folder, 0o750);
    await expect(test.startBroker()).rejects.toThrow(`chmod 700 ${folder}`);
  });

  it('what is no folder is refused', async () => {
    const test = await prepare();
    writeFileSync(join(test.folder, 'state'), '');
    await expect(test.startBroker()).rejects.toThrow(/state_folder: \S+state/);
  });
});

describe('files of the state that this program did not write', () => {
  const key = { kty: 'EC', crv: 'P-256', kid: 'k', d: 'x' };
  const client = { workflow: 'w', issuer: 'i', clientId: 'c', registered: '', management: null };
  const whole = { ...client, keys: [key], signs: 'k', rotatedAt: 0, attempted: false };
  it.each([
    ['torn', '{"version":1,"clients":[{"workflow":"dep'],
    ['empty', ''],
    ['of another version', '{"version":2,"clients":[]}'],
    ['another document', '[]'],
    ['null', 'null'],
    ['a text', '"clients"'],
    ['without clients', '{"version":1}'],
    ['clients that are none', '{"version":1,"clients":[null]}'],
    ['a client without its key', JSON.stringify({ version: 1, clients: [{ ...whole, signs: 'other' }] })],
    ['a client with half a key', JSON.stringify({ version: 1, clients: [{ ...whole, keys: [{ kid: 'k' }] }] })],
    [
      'a client with a half management',
      JSON.stringify({ version: 1, clients: [{ ...whole, management: { uri: 'x' } }] }),
    ],
    ['a client with a key that is none', JSON.stringify({ version: 1, clients: [whole] })],
    ['a client of wrong types', JSON.stringify({ version: 1, clients: [{ ...whole, rotatedAt: '0' }] })],
  ])(
    'clients.json %s: it does not start, names the file and what to do, and leaves it as it is',
    async (_name, text) => {
      const test = await prepare();
      const file = join(test.folder, 'state/clients.json');
      mkdirSync(join(test.folder, 'state'), { mode: 0o700 });
      writeFileSync(file, text);
      await expect(test.startBroker()).rejects.toThrow(/clients\.json: .*(restore it|move it away)/);
      expect(readFileSync(file, 'utf8')).toBe(text);
    },
  );

  const job = { id: 'i', thumbprint: 't', issuer: 'x', subject: 's', workflow: 'w', runId: null, repository: null };
  const times = { startedAt: 0, deadline: 0, tokensUntil: 0, endedAt: null };
  it.each([
    ['torn', '{"version":1,"jo'],
    ['of clients', '{"version":1,"clients":[]}'],
    ['jobs that are none', '{"version":1,"jobs":[{}],"used":[]}'],
    ['a job without its key', JSON.stringify({ version: 1, jobs: [{ ...job, ...times, thumbprint: 1 }], used: [] })],
    [
      'a job with a time that is none',
      JSON.stringify({ version: 1, jobs: [{ ...job, ...times, deadline: 'x' }], used: [] }),
    ],
    ['identities that are none', JSON.stringify({ version: 1, jobs: [{ ...job, ...times }], used: [['x', null]] })],
  ])('jobs.json %s: it does not start', async (_name, text) => {
    const test = await prepare();
    mkdirSync(join(test.folder, 'state'), { mode: 0o700 });
    writeFileSync(join(test.folder, 'state/jobs.json'), text);
    await expect(test.startBroker()).rejects.toThrow(/jobs\.json: .*(restore it|move it away)/);
  });
});

describe('broker.state_unwritable, broker.records_unwritable', () => {
  it('503 and nothing is asked of the authorization server while the state cannot be written; good again afterwards', async () => {
    const test = await prepare();
    await test.startBroker();
    const [state, away] = [join(test.folder, 'state'), join(test.folder, 'away')];
    renameSync(state, away);
    const job = await BrokerJob.start(test, { run_id: 'unwritten' });
    const { status, body, headers } = await job.ask();
    expect([status, body['error'], body['reason'], headers.get('retry-after')]).toEqual([
      503,
      'temporarily_unavailable',
      'broker.state_unwritable',
      '5',
    ]);
    expect(body['error_description']).toBe('The broker cannot keep its state at the moment.');
    expect(body).not.toHaveProperty('access_token');
    expect(test.records().at(-1)).toMatchObject({
      event: 'token_refused',
      reason: 'broker.state_unwritable',
      status: 503,
    });
    const metrics = await (await fetch(`${test.broker.adminOrigin}/metrics`)).text();
    expect(metrics).toContain('sallyport_broker_token_requests_total{outcome="state_unwritable"} 1');
    expect(metrics).toMatch(/sallyport_broker_authserver_requests 0/);
    renameSync(away, state);
    expect((await job.ask()).status).toBe(200);
  });

  it('503 without a token while its record cannot be written', async () => {
    const test = await prepare();
    await test.startBroker({ records_file: 'records/lines.jsonl' }).catch(() => undefined);
    mkdirSync(join(test.folder, 'records'));
    await test.startBroker({ records_file: 'records/lines.jsonl' });
    await test.broker.reload();
    renameSync(join(test.folder, 'records'), join(test.folder, 'gone'));
    const { status, body } = await (await BrokerJob.start(test, {}, await makeKey())).ask();
    expect([status, body['reason']]).toEqual([503, 'broker.records_unwritable']);
    expect(body).not.toHaveProperty('access_token');
  });
});
