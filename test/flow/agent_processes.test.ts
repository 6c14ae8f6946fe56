import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { runCommand } from '../../src/agent/command.ts';
import { ScriptedGateway } from '../agent/scene.ts';
import { makeCertificate } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { ScriptedBroker } from '../support/scripted_broker.ts';

/** `sallyport agent` as a job runs it: a process of its own, from the sources and from what is built of them. */

const ROOT = resolve(import.meta.dirname, '../..');
const SOURCES = join(ROOT, 'src/main.ts');
const IDENTITY = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmFjbWUifQ.c2ln';
const NOBODY = 65_534;

let folder: string;
let broker: ScriptedBroker;
let gateway: ScriptedGateway;
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-exec-'));
  broker = await ScriptedBroker.start();
  gateway = await ScriptedGateway.start();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  broker.close();
  await gateway.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly child: ChildProcess;
  text(): string;
  errors(): string;
  readonly ended: Promise<number | null>;
}

function run(main: string, argv: readonly string[], user?: number): Run {
  const env = { PATH: process.env['PATH'], TMPDIR: '/tmp', SALLYPORT_ID_TOKEN: IDENTITY };
  const identity = user === undefined ? {} : { uid: user, gid: user };
  const child = spawn(process.execPath, [main, 'agent', ...argv], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...identity,
  });
  children.push(child);
  const read = { text: '', errors: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    read.text += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    read.errors += chunk;
  });
  const ended = new Promise<number | null>((done) => child.once('close', done));
  return { child, text: () => read.text, errors: () => read.errors, ended };
}

function configure(changes: Record<string, unknown> = {}, api: Record<string, unknown> = {}): void {
  const cloud = {
    name: 'cloud',
    url: `${gateway.origin}/v1`,
    scopes: ['projects:read'],
    variables: ['CLOUD_URL'],
    ...api,
  };
  const config = {
    version: 1,
    broker: { url: broker.origin, identity: { source: 'gitlab' } },
    apis: [cloud],
    ...changes,
  };
  writeFileSync(join(folder, 'agent.yaml'), stringify(config), { mode: 0o600 });
}

const exec = (...argv: string[]) => run(SOURCES, ['exec', '--config', 'agent.yaml', '--', ...argv]);
const says = (one: Run, words: string) =>
  eventually(words, () => one.text().includes(words) || one.errors().includes(words));
const ENDED = ['/token', '/jobs/job-1/end'];
/** Runs until the file `go` is there. */
const WAITING = 'echo ready; while [ ! -e go ]; do sleep 0.05; done';

describe('the job ends with its command', { timeout: 30_000 }, () => {
  it.each([
    ['that succeeds', ['true'], 0],
    ['that fails', ['sh', '-c', 'exit 9'], 9],
    ['that a signal ends', ['sh', '-c', 'kill -9 $$'], 137],
    ['that is not there', ['no-such-command-here'], 127],
    ['that cannot be run', ['/etc/passwd'], 126],
  ])('%s: the broker is told once, and the exit code is its own', async (_name, argv, code) => {
    configure();
    const job = exec(...argv);
    expect([await job.ended, broker.asked]).toEqual([code, ENDED]);
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const)(
    '%s ends the command, then the job',
    async (signal) => {
      configure();
      const job = exec('sh', '-c', 'echo ready; exec sleep 30');
      await says(job, 'ready');
      job.child.kill(signal);
      const numbers = { SIGTERM: 15, SIGINT: 2, SIGHUP: 1, SIGQUIT: 3, SIGUSR2: 12 };
      expect([await job.ended, broker.asked]).toEqual([128 + numbers[signal], ENDED]);
    },
  );

  it('a command that takes a signal and goes on, does; SIGUSR1 opens no debugger', async () => {
    configure();
    const job = exec('sh', '-c', `trap 'echo got' TERM USR1; ${WAITING}; exit 4`);
    await says(job, 'ready');
    for (const signal of ['SIGTERM', 'SIGUSR1'] as const) {
      const before = job.text().length;
      job.child.kill(signal);
      await eventually('the signal is taken', () => job.text().length > before);
    }
    writeFileSync(join(folder, 'go'), '');
    expect([await job.ended, job.text()]).toEqual([4, 'ready\ngot\ngot\n']);
    expect(job.errors()).not.toContain('Debugger');
  });

  it('a signal while the token is awaited: the command does not run, and the job ends', async () => {
    configure();
    broker.beforeToken = () => new Promise((done) => setTimeout(done, 700));
    const job = exec('echo', 'ran');
    await eventually('the token is asked for', () => broker.tokens === 1);
    job.child.kill('SIGTERM');
    expect([await job.ended, job.text(), broker.asked]).toEqual([143, '', ENDED]);
  });

  it.each([
    ['is down', () => broker.close(), 'ECONNREFUSED'],
    [
      'fails',
      () => {
        broker.answerEnd = (response) => void response.writeHead(500).end();
      },
      '500',
    ],
    [
      'never answers',
      () => {
        broker.answerEnd = () => undefined;
      },
      'could not be ended cleanly',
    ],
  ])(
    'a broker that %s at the end: told, and the exit code is still the one of the command',
    async (_name, spoil, words) => {
      configure();
      const job = exec('sh', '-c', `${WAITING}; exit 5`);
      await says(job, 'ready');
      spoil();
      writeFileSync(join(folder, 'go'), '');
      expect(await job.ended).toBe(5);
      expect(job.errors()).toContain('the job could not be ended cleanly');
      expect(job.errors()).toContain(words);
    },
  );
});

describe('exit codes', { timeout: 60_000 }, () => {
  it('0 to 255 are passed on as they are', async () => {
    const command = { environment: { PATH: String(process.env['PATH']) }, user: null, atTerminal: false };
    const wanted = Array.from({ length: 256 }, (_, code) => code);
    const got: number[] = [];
    for (const code of wanted) got.push(await runCommand({ ...command, argv: ['sh', '-c', `exit ${code}`] }));
    expect(got).toEqual(wanted);
  });
});

describe('what is built', { timeout: 60_000 }, () => {
  let built: string;
  beforeAll(() => {
    const cache = join(ROOT, 'node_modules/.cache');
    mkdirSync(cache, { recursive: true });
    built = mkdtempSync(join(cache, 'sallyport-dist-'));
    copyFileSync(join(ROOT, 'package.json'), join(built, 'package.json'));
    const { status, stdout } = spawnSync(
      process.execPath,
      [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', join(built, 'dist')],
      { cwd: ROOT, encoding: 'utf8' },
    );
    expect([status, stdout]).toEqual([0, '']);
  });
  afterAll(() => rmSync(built, { recursive: true, force: true }));
  const main = () => join(built, 'dist/main.js');

  it('exec: serves, passes the exit code, ends the job', async () => {
    configure();
    const job = run(main(), ['exec', '--config', 'agent.yaml', '--', 'sh', '-c', 'curl -sS "$CLOUD_URL/x"; exit 3']);
    expect([await job.ended, job.text(), job.errors()]).toEqual([3, 'ok', '']);
    expect(gateway.received.map(({ headers }) => headers.authorization)).toEqual(['DPoP token-1']);
    expect(broker.asked).toEqual(ENDED);
  });

  it('start, use, end: the agent in the background is the same program', async () => {
    configure();
    const started = run(main(), ['start', '--config', 'agent.yaml', '--print-env', 'json']);
    expect([await started.ended, started.errors()]).toEqual([0, '']);
    const exported = JSON.parse(started.text()) as Record<string, string>;
    expect(await (await fetch(`${exported['CLOUD_URL']}/x`)).text()).toBe('ok');
    const ended = run(main(), ['end', '--agent', String(exported['SALLYPORT_AGENT'])]);
    expect(await ended.ended).toBe(0);
    expect(ended.errors()).toContain('the job has ended; 1 requests, 0 refused');
    expect(broker.asked).toEqual(ENDED);
  });
});

describe('a gateway with TLS', { timeout: 30_000 }, () => {
  const authority = makeCertificate({ name: 'Company CA', authority: true });
  const serve = async (hosts: string[]) => {
    const { cert, key } = makeCertificate({ name: 'gateway', hosts, issuer: authority });
    const seen: (string | undefined)[] = [];
    const server = createServer({ cert, key }, (request, response) => {
      seen.push(request.headers.authorization);
      response.end('secure');
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const close = () => {
      server.closeAllConnections();
      server.close();
    };
    return { url: `https://localhost:${(server.address() as AddressInfo).port}/v1`, seen, close };
  };
  const call = ['sh', '-c', 'curl -sS "$CLOUD_URL/x"'];

  it('is trusted by the CA that ca_file names', async () => {
    const server = await serve(['localhost']);
    writeFileSync(join(folder, 'ca.pem'), authority.cert);
    configure({ ca_file: 'ca.pem' }, { url: server.url });
    const job = exec(...call);
    expect([await job.ended, job.text(), server.seen]).toEqual([0, 'secure', ['DPoP token-1']]);
    server.close();
  });

  it.each([
    ['without ca_file', ['localhost'], {}, /UNABLE_TO_VERIFY|unable to verify/i],
    [
      'with a certificate for another name',
      ['other.example.com'],
      { ca_file: 'ca.pem' },
      /ERR_TLS_CERT_ALTNAME_INVALID/,
    ],
  ])('%s it gets nothing, and the person is told why', async (_name, hosts, changes, words) => {
    const server = await serve(hosts);
    writeFileSync(join(folder, 'ca.pem'), authority.cert);
    configure(changes, { url: server.url });
    const job = exec(...call);
    await job.ended;
    expect(job.text()).toContain('"agent.gateway_unreachable"');
    expect(job.errors()).toMatch(words);
    expect(server.seen).toEqual([]);
    server.close();
  });

  it.each([
    ['is not there', 'missing.pem', 'ca_file: '],
    ['has no certificate', 'agent.yaml', 'expected certificates in PEM, found none'],
    ['has one that is cut short', 'cut.pem', 'certificate 1 in it is none'],
  ])('a ca_file that %s: the command does not run', async (_name, file, words) => {
    configure({ ca_file: file });
    writeFileSync(join(folder, 'cut.pem'), authority.cert.replace(/\n[^\n]*\n-----END/, '\n-----END'));
    const job = exec('echo', 'ran');
    expect([await job.ended, job.text(), broker.asked]).toEqual([1, '', []]);
    expect(job.errors()).toContain(words);
  });
});

describe.runIf(process.platform === 'linux' && process.getuid?.() === 0)(
  'agent exec --user, where the runner is root',
  { timeout: 30_000 },
  () => {
    beforeEach(() => chmodSync(folder, 0o755));
    const as = (user: string, script: string) =>
      run(SOURCES, ['exec', '--config', 'agent.yaml', '--user', user, '--', 'sh', '-c', script]);

    it.each(['nobody', String(NOBODY), `${NOBODY}:${NOBODY}`])(
      '%s: the command is that user and no other, and its tools reach the API',
      async (user) => {
        configure();
        const job = as(user, 'id -u; id -G; echo "$USER"; curl -sS "$CLOUD_URL/x"');
        expect([await job.ended, job.text(), job.errors()]).toEqual([0, `${NOBODY}\n${NOBODY}\nnobody\nok`, '']);
        expect(broker.asked).toEqual(ENDED);
      },
    );

    it('a uid without a name needs its group', async () => {
      configure();
      const job = as('54321:54321', 'id -u; curl -sS "$CLOUD_URL/x"');
      expect([await job.ended, job.text()]).toEqual([0, '54321\nok']);
      const refused = as('54321', 'echo ran');
      expect([await refused.ended, refused.text()]).toEqual([1, '']);
      expect(refused.errors()).toContain('expected a name, a uid, or uid:gid');
    });

    it('reads neither the configuration, nor the identity token or the memory of the agent', async () => {
      configure();
      const job = as(
        'nobody',
        'cat agent.yaml; cat /proc/$PPID/environ; head -c 1 /proc/$PPID/mem; kill -9 $PPID; env; exit 6',
      );
      expect(await job.ended).toBe(6);
      expect(job.errors().match(/Permission denied|not permitted/g)?.length).toBeGreaterThanOrEqual(4);
      expect(job.text() + job.errors()).not.toContain(IDENTITY);
      expect(broker.asked).toEqual(ENDED);
    });

    it('reaches a Unix socket, kubeconfig and CA of its own, and a third user reaches none', async () => {
      configure({ proxy: {} }, { listen: 'socket' });
      const job = as(
        'nobody',
        `curl -sS --unix-socket "$SALLYPORT_CLOUD_SOCKET" http://cloud/x; head -c 27 "$SSL_CERT_FILE"; echo; echo "$SALLYPORT_CLOUD_SOCKET"; ${WAITING}`,
      );
      await says(job, 'ready');
      const socket = job
        .text()
        .split('\n')
        .find((line) => line.endsWith('cloud.sock'));
      expect(job.text()).toMatch(/^ok-----BEGIN CERTIFICATE-----\n/);
      const third = spawnSync('curl', ['-sS', '--unix-socket', String(socket), 'http://cloud/x'], {
        uid: 12_345,
        gid: 12_345,
        encoding: 'utf8',
      });
      expect([third.status, third.stdout]).toEqual([7, '']);
      expect(existsSync(String(socket))).toBe(true);
      writeFileSync(join(folder, 'go'), '');
      expect([await job.ended, existsSync(String(socket))]).toEqual([0, false]);
    });

    it('only root becomes somebody else', async () => {
      configure();
      chmodSync(join(folder, 'agent.yaml'), 0o644);
      const job = run(SOURCES, ['exec', '--config', 'agent.yaml', '--user', 'root', '--', 'echo', 'ran'], NOBODY);
      expect([await job.ended, job.text(), broker.asked]).toEqual([1, '', []]);
      expect(job.errors()).toContain('only root can run a command as another user');
    });
  },
);
