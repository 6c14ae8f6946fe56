import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { makeCertificate, type TestCertificate } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { runSallyport } from '../support/program.ts';
import { launchBroker, logOf, runBroker } from './broker_process.ts';
import { BrokerJob, CEILING, CI_ISSUER, RESOURCE, TestBroker } from './fixture.ts';
import { ServerFront } from './front.ts';
import { keptClients, prepareRegistering, registered } from './registering.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A broker as a process, whose authorization server answers token requests when the test says so. */
async function startHeld(config: Record<string, unknown> = {}, connections = 32) {
  const front = await ServerFront.start();
  closing.push(() => front.close());
  const server = { issuer: front.origin, connections, timeout_ms: 60_000 };
  const test = await TestBroker.prepare({ front, config: { authorization_server: server, ...config } });
  closing.push(() => test.close());
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  front.alter = async ({ path, answer }) => {
    if (path === '/token') await held;
    return answer;
  };
  const program = await runBroker(test);
  return { test, front, program, release };
}

describe('sallyport broker --config FILE', () => {
  it('says in one line where it is once it answers, and ends with 0', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    const program = await runBroker(test);
    const ready = logOf(program).filter(({ msg }) => String(msg).startsWith('ready: '));
    expect(ready).toHaveLength(1);
    expect(ready[0]).toMatchObject({
      origin: test.broker.origin,
      listening: new URL(test.broker.origin).host,
      admin: test.broker.adminOrigin,
    });
    expect((await fetch(`${test.broker.adminOrigin}/livez`)).status).toBe(200);
    expect((await fetch(`${test.broker.adminOrigin}/readyz`)).status).toBe(200);
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
    expect(program.text()).toBe('');
  });

  it.each([
    ['no such file', 'none.yaml', null, /none\.yaml: .*cannot be read/],
    ['an unknown key', 'broker.yaml', { limts: {} }, /broker\.yaml:\d+:\d+: limts: .*limits/],
    [
      'a workflow of an unknown issuer',
      'broker.yaml',
      { workload_issuers: [{ preset: 'gitlab', audience: 'x' }] },
      /workflows\[0\]\.match\.issuer/,
    ],
  ])('%s: 1, and one error that says where and what', async (_name, file, changes, words) => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    if (changes !== null) writeFileSync(join(test.folder, file), stringify(test.config(changes)));
    const program = runSallyport(test.folder, 'broker', '--config', file);
    expect(await program.ended).toBe(1);
    expect(program.errors()).toMatch(words);
  });

  it('a port that is in use: 1, with what to do', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    await runBroker(test);
    const port = Number(new URL(test.broker.origin).port);
    const second = launchBroker(test, { listen: { port }, state_folder: 'other' });
    expect(await second.ended).toBe(1);
    expect(second.errors()).toContain('the port is in use; stop the other program');
  });

  it('without --config: 2, wrong usage', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    const program = runSallyport(test.folder, 'broker');
    expect(await program.ended).toBe(2);
  });
});

describe('SIGTERM', () => {
  it('requests under way are finished, also those that wait for their turn; none is lost, and no new one is taken', async () => {
    const { test, front, program, release } = await startHeld({}, 2);
    const jobs = await Promise.all(Array.from({ length: 8 }, (_, run) => BrokerJob.start(test, { run_id: `${run}` })));
    const answers = jobs.map((job) => job.ask());
    await eventually('all are under way', async () => {
      const text = await (await fetch(`${test.broker.adminOrigin}/metrics`)).text();
      return /^sallyport_broker_requests_under_way 8$/m.test(text) && front.seen('POST', '/token').length === 2;
    });
    program.child.kill('SIGTERM');
    await eventually('it says so', () => program.errors().includes('"stopping"'));
    await eventually('no new connection', async () => {
      try {
        await fetch(`${test.broker.origin}/.well-known/sallyport-broker`);
        return false;
      } catch {
        return true;
      }
    });
    release();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(jobs.map(() => 200));
    expect(await program.ended).toBe(0);
    expect(logOf(program).at(-1)).toMatchObject({ msg: 'stopped', whole: true });
    expect(test.records().filter(({ event }) => event === 'token_issued')).toHaveLength(8);
    const { jobs: kept } = JSON.parse(readFileSync(join(test.folder, 'state/jobs.json'), 'utf8')) as {
      jobs: unknown[];
    };
    expect(kept).toHaveLength(8);
  });

  it('what lasts longer than limits.stop_grace_ms is cut, and the exit code is 1', async () => {
    const { test, front, program } = await startHeld({ limits: { stop_grace_ms: 200 } });
    const answer = (await BrokerJob.start(test)).ask().catch(() => 'cut');
    await eventually('it is under way', () => front.seen('POST', '/token').length === 1);
    program.child.kill('SIGTERM');
    expect(await answer).toBe('cut');
    // Well before the authorization server would have been given up (60 s).
    expect(await program.ended).toBe(1);
    expect(test.records().at(-1)).toMatchObject({ event: 'token_refused' });
  });

  it('a second signal ends it at once', async () => {
    const { test, front, program } = await startHeld();
    const answer = (await BrokerJob.start(test)).ask().catch(() => 'cut');
    await eventually('it is under way', () => front.seen('POST', '/token').length === 1);
    program.child.kill('SIGTERM');
    await eventually('it says so', () => program.errors().includes('"stopping"'));
    program.child.kill('SIGTERM');
    expect(await program.ended).toBeNull();
    expect(await answer).toBe('cut');
  });
});

describe('SIGHUP', () => {
  const deploy = {
    name: 'deploy',
    match: { issuer: CI_ISSUER, repository_id: '4711' },
    resources: [RESOURCE],
    ...CEILING,
  };
  const status = async (test: TestBroker, claims: Record<string, unknown> = {}) =>
    (await (await BrokerJob.start(test, claims)).ask()).status;
  const write = (test: TestBroker, text: string) => writeFileSync(join(test.folder, 'workflows.yaml'), text);

  it('a good file of workflows is used, a broken one is not and the one before stays, and its client is deleted with a workflow', async () => {
    const { test, front } = await prepareRegistering(closing);
    const program = await runBroker(test);
    await registered(test);
    const more = { ...deploy, name: 'more', match: { issuer: CI_ISSUER, repository_id: '4712' } };
    write(test, stringify({ version: 1, workflows: [deploy, more] }));
    await test.broker.reload();
    await eventually('both have a client', () => keptClients(test).filter((one) => one.registered !== '').length === 2);
    expect([await status(test), await status(test, { repository_id: '4712' })]).toEqual([200, 200]);

    write(test, 'version: 1\nworkflows:\n  - name: deploy\n    match: { issuer: x');
    await test.broker.reload();
    await eventually('it is refused', () =>
      program.errors().includes('the new workflows were refused; the old ones stay'),
    );
    const ready = (await (await fetch(`${test.broker.adminOrigin}/readyz`)).json()) as {
      checks: { name: string; detail: string }[];
    };
    expect(ready.checks.find(({ name }) => name === 'workflows')?.detail).toMatch(
      /2 \(a newer file was refused: .*workflows\.yaml:\d+/s,
    );
    expect([await status(test), await status(test, { repository_id: '4712' })]).toEqual([200, 200]);
    expect(keptClients(test)).toHaveLength(2);

    write(test, stringify({ version: 1, workflows: [deploy] }));
    await test.broker.reload();
    await eventually('the client is deleted', () =>
      front.seen('DELETE', /^\/register\/./).some((one) => one.status === 204),
    );
    await eventually('and forgotten', () => keptClients(test).length === 1);
    expect([await status(test), await status(test, { repository_id: '4712' })]).toEqual([200, 403]);
  });

  it.each([
    ['is gone', (file: string) => rmSync(file)],
    ['is empty', (file: string) => writeFileSync(file, '')],
    ['is of another version', (file: string) => writeFileSync(file, 'version: 2\nworkflows: []\n')],
    [
      'names a workflow twice',
      (file: string) => writeFileSync(file, stringify({ version: 1, workflows: [deploy, deploy] })),
    ],
    [
      'has an unknown key',
      (file: string) => writeFileSync(file, stringify({ version: 1, workflows: [{ ...deploy, scpes: [] }] })),
    ],
    [
      'names an issuer that is not configured',
      (file: string) =>
        writeFileSync(
          file,
          stringify({
            version: 1,
            workflows: [{ ...deploy, match: { issuer: 'https://elsewhere.example.com', repository_id: '1' } }],
          }),
        ),
    ],
  ])('a file that %s changes nothing: jobs are served as before', async (_name, change) => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    const program = await runBroker(test);
    change(join(test.folder, 'workflows.yaml'));
    await test.broker.reload();
    await eventually('it is refused', () =>
      program.errors().includes('the new workflows were refused; the old ones stay'),
    );
    expect(await status(test)).toBe(200);
  });

  it('opens the file of records anew, and no record is lost between', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    await runBroker(test);
    expect(await status(test)).toBe(200);
    const [file, rotated] = [join(test.folder, 'records.jsonl'), join(test.folder, 'records.1')];
    renameSync(file, rotated);
    expect(await status(test)).toBe(200);
    await test.broker.reload();
    await sleep(300);
    expect(await status(test)).toBe(200);
    expect(readFileSync(rotated, 'utf8').trim().split('\n')).toHaveLength(2);
    expect(test.records()).toHaveLength(1);
  });
});

describe('listen.tls', () => {
  const write = (test: TestBroker, { cert, key }: TestCertificate) => {
    writeFileSync(join(test.folder, 'broker.crt'), cert);
    writeFileSync(join(test.folder, 'broker.key'), key, { mode: 0o600 });
  };
  const authority = makeCertificate({ name: 'test CA', authority: true });
  const issue = (name: string) => makeCertificate({ name, hosts: ['localhost', '127.0.0.1'], issuer: authority });

  /** A request over TLS: status, and the subject of the certificate. */
  function ask(origin: string, path = '/.well-known/sallyport-broker') {
    return new Promise<{ status: number; subject: string }>((resolve, reject) => {
      const agent = new Agent({ ca: authority.cert, maxCachedSessions: 0 });
      get(origin + path, { agent }, (response) => {
        const { subject } = (response.socket as import('node:tls').TLSSocket).getPeerCertificate();
        response.resume().once('end', () => resolve({ status: response.statusCode ?? 0, subject: String(subject.CN) }));
      }).once('error', reject);
    });
  }

  it('serves over TLS 1.2 and 1.3 only, says https, and takes another certificate without a restart', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    write(test, issue('first'));
    const program = launchBroker(test, {
      listen: { port: 0, tls: { certificate_file: 'broker.crt', key_file: 'broker.key' } },
    });
    closing.push(async () => {
      program.child.kill('SIGTERM');
      await program.ended;
    });
    await program.says('ready: ');
    const origin = /ready: (\S+) /.exec(program.errors())?.[1] ?? '';
    expect(origin).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(await ask(origin)).toEqual({ status: 200, subject: 'first' });
    await expect(fetch(origin.replace('https', 'http'))).rejects.toThrow();
    write(test, { ...issue('x'), cert: 'nonsense' });
    program.child.kill('SIGHUP');
    await eventually('it is refused', () =>
      program.errors().includes('the new certificate was refused; the old one stays'),
    );
    expect(await ask(origin)).toEqual({ status: 200, subject: 'first' });
    write(test, issue('second'));
    program.child.kill('SIGHUP');
    await eventually('the second one', async () => (await ask(origin)).subject === 'second');
  });

  it('plain HTTP off loopback is refused at start', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    const program = launchBroker(test, { listen: { port: 0, address: '0.0.0.0' } });
    expect(await program.ended).toBe(1);
    expect(program.errors()).toMatch(/listen\.address: plain HTTP is allowed on loopback only/);
  });
});
