import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { JobFolder } from '../../src/agent/job_folder.ts';
import { exchange } from '../support/raw_client.ts';
import { type AgentScene, ScriptedGateway, setAgentScene, type TestAgent } from './scene.ts';

let scene: AgentScene;
let gateway: ScriptedGateway;
let agent: TestAgent;
let port: number;
let secret: string;

beforeAll(async () => {
  scene = await setAgentScene();
});
afterAll(() => scene.close());
beforeEach(async () => {
  gateway = await ScriptedGateway.start();
  agent = await scene.start(gateway.origin);
  port = Number(new URL(agent.url).port);
  secret = new URL(agent.url).pathname.slice(1);
});
afterEach(async () => {
  await agent.end();
  await gateway.close();
});

const raw = (target: string, ...lines: string[]) =>
  exchange(port, [`GET ${target} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
const own = () => `Host: 127.0.0.1:${port}`;

describe('who may use the agent: the secret', () => {
  it.each([
    ['none', (_secret: string) => ['/x', [] as string[]] as const],
    ['a wrong one in the path', (given: string) => [`/${given.replace(/./g, 'a')}/x`, []] as const],
    [
      'one character changed',
      (given: string) => [`/${given.slice(0, -1)}${given.endsWith('0') ? '1' : '0'}/x`, []] as const,
    ],
    ['upper case', (given: string) => [`/${given.replace(/[a-f]/, (c) => c.toUpperCase())}/x`, []] as const],
    ['part of a longer segment', (given: string) => [`/${given}x/x`, []] as const],
    ['in the query', (given: string) => [`/x?secret=${given}`, []] as const],
    ['behind another segment', (given: string) => [`/x/${given}`, []] as const],
    [
      'as a name, not as a password',
      (given: string) => ['/x', [`Authorization: Basic ${Buffer.from(`${given}:x`).toString('base64')}`]] as const,
    ],
    ['in a cookie', (given: string) => ['/x', [`Cookie: secret=${given}`]] as const],
    ['an empty bearer token', () => ['/x', ['Authorization: Bearer ']] as const],
  ])('%s: 403, and nothing reaches the gateway', async (_name, make) => {
    const [target, lines] = make(secret);
    const [answer] = await raw(target, own(), ...lines);
    expect([answer?.status, JSON.parse(answer?.body ?? '{}').reason]).toEqual([403, 'agent.secret_missing']);
    expect(gateway.received).toEqual([]);
  });

  it.each([
    ['in the path', (given: string) => [`/${given}/x`, ''] as const],
    ['in its own field', (given: string) => ['/x', `Sallyport-Agent-Secret: ${given}`] as const],
    ['as bearer token', (given: string) => ['/x', `Authorization: bearer ${given}`] as const],
    [
      'as password',
      (given: string) => ['/x', `Authorization: Basic ${Buffer.from(`any:${given}`).toString('base64')}`] as const,
    ],
    [
      'as AWS access key',
      (given: string) =>
        [
          '/x',
          `Authorization: AWS4-HMAC-SHA256 Credential=${given}/20261128/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00`,
        ] as const,
    ],
  ])('%s: passes', async (_name, make) => {
    const [target, line] = make(secret);
    const [answer] = await raw(target, own(), ...(line === '' ? [] : [line]));
    expect(answer?.status).toBe(200);
    expect(gateway.received.map(({ url }) => url)).toEqual(['/v1/x']);
  });
});

describe('who may use the agent: names and forms', () => {
  it.each(['evil.example', 'evil.example:80', '127.0.0.1', '127.0.0.1:1', 'localhost.evil.example', '[::1]', ''])(
    'DNS rebinding: Host %s is not served, secret or not',
    async (host) => {
      const [answer] = await raw(`/${secret}/x`, `Host: ${host}`);
      expect(answer?.status).toBe(421);
      expect(gateway.received).toEqual([]);
    },
  );

  it.each([
    ['two Hosts', (s: string) => `GET /${s}/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: evil\r\n\r\n`, [400]],
    ['no Host', (s: string) => `GET /${s}/x HTTP/1.1\r\n\r\n`, [421]],
    [
      'absolute form to another host',
      (s: string) => `GET http://evil.example/${s}/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n`,
      [400],
    ],
    ['CONNECT elsewhere', () => 'CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n', [400]],
    ['asterisk', () => 'OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n', [400]],
    [
      'CL and TE',
      (s: string) =>
        `POST /${s}/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /${s}/y HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n`,
      [400],
    ],
    [
      'two Content-Length',
      (s: string) => `POST /${s}/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx`,
      [400],
    ],
    [
      'Content-Length 010',
      (s: string) => `POST /${s}/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 010\r\n\r\n0123456789`,
      [400],
    ],
    [
      'TE list',
      (s: string) =>
        `POST /${s}/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
      [400],
    ],
    [
      'TE identity',
      (s: string) => `POST /${s}/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding: identity\r\n\r\n`,
      [400],
    ],
    ['bare LF', (s: string) => `GET /${s}/x HTTP/1.1\nHost: 127.0.0.1:PORT\n\n`, [400]],
    ['not HTTP', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc', [400]],
    ['space in the field name', (s: string) => `GET /${s}/x HTTP/1.1\r\nHost : 127.0.0.1:PORT\r\n\r\n`, [400]],
  ])('raw bytes, %s: refused, and the gateway sees no request', async (_name, make, statuses) => {
    const answers = await exchange(port, make(secret).replaceAll('PORT', String(port)));
    expect(statuses).toContain(answers[0]?.status);
    expect(answers.some(({ status }) => status < 400)).toBe(false);
    expect(gateway.received).toEqual([]);
    expect((await fetch(`${agent.url}/after`)).status).toBe(200);
  });

  it('after the end of the job nothing answers, and its folder is gone', async () => {
    const { folder } = agent;
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    await agent.end();
    await expect(fetch(`${agent.url}/x`)).rejects.toThrow();
    expect(() => statSync(folder)).toThrow('ENOENT');
  });
});

describe.runIf(process.platform === 'linux' && process.getuid?.() === 0)('who may use the agent: another user', () => {
  const NOBODY = 65_534;
  const theirs = { uid: NOBODY, gid: NOBODY, stdio: 'pipe' } as const;
  const curl = (uid: number, ...argv: string[]) =>
    new Promise<{ stdout: string; failed: boolean }>((resolve) => {
      const options = { uid, gid: uid };
      execFile('curl', ['-sS', '-m', '10', '-w', ' %{http_code}', ...argv], options, (error, stdout) => {
        resolve({ stdout, failed: error !== null });
      });
    });

  it('even with the secret: 403 by the owner of the connection', async () => {
    expect((await curl(0, `${agent.url}/x`)).stdout).toBe('ok 200');
    const { stdout } = await curl(NOBODY, `${agent.url}/x`);
    expect(stdout).toMatch(/"agent\.other_user".* 403$/s);
    expect(gateway.received).toHaveLength(1);
  });

  it('over IPv6 sockets that were mapped to it, too', async () => {
    const { stdout } = await curl(NOBODY, `http://[::ffff:127.0.0.1]:${port}/${secret}/x`, '-H', own());
    expect(stdout).toMatch(/ 403$/);
    expect(gateway.received).toEqual([]);
  });

  it('a job that runs as another user may, and a third may not', async () => {
    const theirs = await scene.start(gateway.origin, { user: { uid: NOBODY, gid: NOBODY } });
    expect((await curl(NOBODY, `${theirs.url}/x`)).stdout).toBe('ok 200');
    expect((await curl(12_345, `${theirs.url}/x`)).stdout).toMatch(/ 403$/);
    const { uid, gid, mode } = statSync(theirs.folder);
    expect([uid, gid, mode & 0o7777]).toEqual([0, NOBODY, 0o710]);
  });

  it('a link that the user puts where root would write next leads nowhere: the folder is not theirs to change', () => {
    const outside = mkdtempSync(join(tmpdir(), 'sallyport-outside-'));
    chmodSync(outside, 0o755);
    const victim = join(outside, 'victim');
    writeFileSync(victim, 'of root', { mode: 0o600 });
    const folder = new JobFolder({}, { uid: NOBODY, gid: NOBODY });
    try {
      const link = () => execFileSync('ln', ['-s', victim, join(folder.path, 'kubeconfig')], theirs);
      expect(link).toThrow('Permission denied');
      expect(() => execFileSync('mv', [folder.path, `${folder.path}.away`], theirs)).toThrow(/not permitted/);
      const written = folder.write('kubeconfig', 'text');
      expect(execFileSync('cat', [written], { ...theirs, encoding: 'utf8' })).toBe('text');
      expect([statSync(victim).uid, readFileSync(victim, 'utf8')]).toEqual([0, 'of root']);
    } finally {
      folder.remove();
      rmSync(outside, { recursive: true });
    }
  });

  it("a folder for temporary files that is the user's own is not used: they could put another in the place of ours", () => {
    const own = mkdtempSync(join(tmpdir(), 'sallyport-theirs-'));
    chownSync(own, NOBODY, NOBODY);
    const folder = new JobFolder({ RUNNER_TEMP: own }, { uid: NOBODY, gid: NOBODY });
    const same = new JobFolder({ RUNNER_TEMP: own }, null);
    expect([folder.path.startsWith(own), same.path.startsWith(own)]).toEqual([false, true]);
    folder.remove();
    rmSync(own, { recursive: true });
  });

  it('a Unix socket is for its user alone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-open-'));
    const theirs = await scene.start(gateway.origin, { api: { listen: 'socket' }, variables: { RUNNER_TEMP: folder } });
    const socket = String(theirs.exported['SALLYPORT_CLOUD_SOCKET']);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect((await curl(0, '--unix-socket', socket, 'http://cloud/x')).stdout).toBe('ok 200');
    expect((await curl(NOBODY, '--unix-socket', socket, 'http://cloud/x')).failed).toBe(true);
    await theirs.end();
    rmSync(folder, { recursive: true, force: true });
  });
});
