import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { decodeJwt } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningAgent, startAgent } from '../../src/agent/agent.ts';
import { environmentOf } from '../../src/agent/environment.ts';
import { Notices } from '../../src/agent/notices.ts';
import { parseAgentConfig } from '../../src/config/load_agent.ts';
import { eventually } from '../support/eventually.ts';
import { ScriptedBroker } from '../support/scripted_broker.ts';
import { ScriptedGateway } from './scene.ts';

/** An agent over the life of a job: its tokens, its end, its doors for other users. */

const CLOUD = 'http://cloud.example.com';
let broker: ScriptedBroker;
let gateway: ScriptedGateway;
let agent: RunningAgent | null;
let said: string[];
/** Milliseconds that the agent's clock is ahead. */
let ahead: number;

beforeEach(async () => {
  said = [];
  ahead = 0;
  agent = null;
  broker = await ScriptedBroker.start();
  gateway = await ScriptedGateway.start();
});
afterEach(async () => {
  await agent?.end();
  broker.close();
  await gateway.close();
});

interface Changes {
  readonly config?: Record<string, unknown>;
  readonly api?: Record<string, unknown>;
  readonly lifetimeSeconds?: number;
  readonly user?: { readonly uid: number; readonly gid: number };
}

async function start({ config = {}, api = {}, lifetimeSeconds, user }: Changes = {}): Promise<RunningAgent> {
  const cloud = { name: 'cloud', url: `${gateway.origin}/v1`, scopes: ['projects:read'], ...api };
  const parsed = parseAgentConfig(
    { version: 1, broker: { url: broker.origin, identity: { source: 'gitlab' } }, apis: [cloud], ...config },
    'test',
  );
  agent = await startAgent({
    // Shorter than people may write, so that a test need not last a minute.
    config: lifetimeSeconds === undefined ? parsed : { ...parsed, lifetime_seconds: lifetimeSeconds },
    variables: { SALLYPORT_ID_TOKEN: 'eyJhbGciOiJSUzI1NiJ9.e30.c2ln' },
    notices: new Notices((line) => void said.push(line)),
    clock: () => Date.now() + ahead,
    user: user ?? null,
  });
  return agent;
}

const urlOf = ({ exported }: RunningAgent) => String(exported['SALLYPORT_CLOUD_URL']);

describe('renewal shortly before a token ends', () => {
  const many = (running: RunningAgent) =>
    Promise.all(Array.from({ length: 40 }, async () => (await fetch(`${urlOf(running)}/x`)).status));
  const used = () => new Set(gateway.received.map(({ headers }) => headers.authorization));

  it('many requests at that moment: one question to the broker, and none of them waits or fails', async () => {
    broker.lifetime = 100;
    const running = await start();
    ahead = 80_000;
    const given = Promise.withResolvers<void>();
    broker.beforeToken = () => given.promise;
    expect(new Set(await many(running))).toEqual(new Set([200]));
    expect([used(), broker.tokens]).toEqual([new Set(['DPoP token-1']), 2]);
    given.resolve();
    await eventually('the new token is there', async () => {
      await fetch(`${urlOf(running)}/y`);
      return gateway.received.at(-1)?.headers.authorization === 'DPoP token-2';
    });
    expect(new Set(await many(running))).toEqual(new Set([200]));
    expect(broker.tokens).toBe(2);
  });

  it('once it has ended they all wait for the same one', async () => {
    broker.lifetime = 100;
    const running = await start();
    ahead = 99_000;
    const given = Promise.withResolvers<void>();
    broker.beforeToken = () => given.promise;
    const answers = many(running);
    await eventually('the broker is asked', () => broker.tokens === 2);
    expect(gateway.received).toEqual([]);
    given.resolve();
    expect(new Set(await answers)).toEqual(new Set([200]));
    expect([used(), broker.tokens]).toEqual([new Set(['DPoP token-2']), 2]);
    // Each with the digest of the token that it was sent with (RFC 9449 §4.2).
    expect(new Set(gateway.received.map(({ headers }) => decodeJwt(String(headers['dpop']))['ath'])).size).toBe(1);
  });
});

describe('lifetime_seconds', () => {
  it('ends the job by itself: the broker is told, nothing answers, the folder is gone, and the person knows', async () => {
    const running = await start({ lifetimeSeconds: 1 });
    expect((await fetch(`${urlOf(running)}/x`)).status).toBe(200);
    await running.ended;
    await expect(fetch(`${urlOf(running)}/x`)).rejects.toThrow();
    expect([broker.asked, existsSync(running.folder)]).toEqual([['/token', '/jobs/job-1/end'], false]);
    expect(said).toEqual(['sallyport agent: the job has lasted 1 seconds (lifetime_seconds) and is ended']);
  });

  it('ends what is open too: a request that lasts, and a tunnel', async () => {
    const running = await start({ lifetimeSeconds: 1 });
    gateway.answer = (response) => void response.writeHead(200).write('first');
    const response = await fetch(`${urlOf(running)}/x`);
    await expect(response.text()).rejects.toThrow();
  });
});

describe('WebSocket through forward mode', () => {
  let upgrades: Server;
  beforeEach(async () => {
    upgrades = createServer();
    upgrades.on('upgrade', (request, socket) => {
      const { htm, htu } = decodeJwt(String(request.headers['dpop']));
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n',
      );
      socket.write(JSON.stringify([request.headers.host, request.headers.authorization, htm, htu]));
      socket.on('error', () => undefined).on('data', (chunk: Buffer) => socket.write(`echo:${chunk}`));
    });
    await new Promise<void>((done) => upgrades.listen(0, '127.0.0.1', done));
  });
  afterEach(() => {
    upgrades.closeAllConnections();
    upgrades.close();
  });
  const upgrade = (target: string, host: string, ...lines: string[]) =>
    [
      `GET ${target} HTTP/1.1`,
      `Host: ${host}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==',
      'Sec-WebSocket-Version: 13',
      ...lines,
      '',
      '',
    ].join('\r\n');

  it.each(['https', 'http'])('%s: switches with token and proof, and bytes pass both ways', async (scheme) => {
    const origin = `http://127.0.0.1:${(upgrades.address() as AddressInfo).port}`;
    const running = await start({
      api: { url: `${scheme}://cloud.example.com/v1`, gateway: origin, listen: 'none' },
      config: { proxy: {} },
    });
    const { port, username, password } = new URL(String(running.exported['HTTPS_PROXY']));
    const socket = connect(Number(port), '127.0.0.1');
    const credentials = Buffer.from(`${username}:${password}`).toString('base64');
    const authority = `cloud.example.com:${scheme === 'https' ? 443 : 80}`;
    socket.write(
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
    );
    await new Promise((done) => socket.once('data', done));
    const ca = readFileSync(String(running.exported['NODE_EXTRA_CA_CERTS']));
    const inner = scheme === 'https' ? connectTls({ socket, ca, servername: 'cloud.example.com' }) : socket;
    let text = '';
    inner.on('data', (chunk: Buffer) => {
      text += String(chunk);
    });
    inner.write(upgrade('/v1/socket', 'cloud.example.com'));
    await eventually('the switch', () => text.includes('/v1/socket'));
    expect(text).toContain(JSON.stringify(['cloud.example.com', 'DPoP token-1', 'GET', `${origin}/v1/socket`]));
    inner.write('one');
    await eventually('the echo', () => text.includes('echo:one'));
    const closed = new Promise((done) => socket.once('close', done));
    await running.end();
    await closed;
  });
});

describe.runIf(process.platform === 'linux' && process.getuid?.() === 0)('another user of the machine', () => {
  const NOBODY = 65_534;
  const curl = (uid: number, env: Record<string, string>, ...argv: string[]) =>
    new Promise<{ out: string; error: string }>((done) => {
      const options = { uid, gid: uid, env: { ...env, PATH: String(process.env['PATH']) } };
      execFile('curl', ['-sS', '-m', '10', '-w', ' %{http_code}', ...argv], options, (_error, out, error) =>
        done({ out, error }),
      );
    });

  it('gets nothing through the proxy of the job, with its password: neither CONNECT nor plain', async () => {
    const running = await start({
      api: { url: `${CLOUD}/v1`, gateway: gateway.origin, listen: 'none' },
      config: { proxy: { others: 'tunnel' } },
    });
    const env = environmentOf({}, running.exported);
    expect((await curl(0, env, `${CLOUD}/v1/x`)).out).toBe('ok 200');
    expect((await curl(NOBODY, env, `${CLOUD}/v1/x`)).out).toMatch(/"agent\.other_user".* 403$/s);
    expect((await curl(NOBODY, env, 'https://cloud.example.com/v1/x')).error).toContain('403');
    expect((await curl(NOBODY, env, '--proxytunnel', `${CLOUD}/v1/x`)).error).toContain('403');
    expect(gateway.received).toHaveLength(1);
  });

  it('cannot read the folder of the job, nor end it', async () => {
    const running = await start({ config: { proxy: {} } });
    const files = Object.values(running.exported).filter((value) => value?.startsWith(running.folder));
    expect(files.length).toBeGreaterThan(3);
    for (const file of [running.folder, ...files]) {
      const { error } = await curl(NOBODY, {}, `file://${file}`);
      expect(error).toMatch(/open file|not found|failed/i);
    }
    expect(
      (await curl(NOBODY, {}, '--unix-socket', running.control, '-X', 'POST', 'http://agent/end')).error,
    ).toContain('(7)');
  });

  it('a job that runs as another user: each door is for that user and root', async () => {
    const running = await start({
      api: { url: `${CLOUD}/v1`, gateway: gateway.origin, listen: 'none' },
      config: { proxy: {} },
      user: { uid: NOBODY, gid: NOBODY },
    });
    const env = environmentOf({}, running.exported);
    expect((await curl(NOBODY, env, `${CLOUD}/v1/x`)).out).toBe('ok 200');
    expect((await curl(12_345, env, `${CLOUD}/v1/x`)).out).toMatch(/"agent\.other_user".* 403$/s);
  });
});
