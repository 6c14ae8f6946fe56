import { execFile } from 'node:child_process';
import { type AddressInfo, createServer } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { environmentOf } from '../../src/agent/environment.ts';
import { covers, noProxyFor } from '../../src/agent/no_proxy.ts';
import { type AgentScene, ScriptedGateway, setAgentScene } from './scene.ts';

describe('NO_PROXY', () => {
  it.each([
    ['*', 'a.example', true],
    ['example.com', 'example.com', true],
    ['example.com', 'api.example.com', true],
    ['.example.com', 'api.example.com', true],
    ['*.example.com', 'api.example.com', true],
    ['EXAMPLE.com', 'api.example.com', true],
    ['example.com.', 'api.example.com', true],
    ['api.example.com:443', 'api.example.com', true],
    ['xample.com', 'example.com', false],
    ['other.com', 'example.com', false],
    ['.', 'example.com', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3:443', '10.1.2.3', true],
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/16', '10.1.2.3', false],
    ['0.0.0.0/0', '10.1.2.3', true],
    ['10.0.0.0/8', 'example.com', false],
    ['::1', '::1', true],
    ['[::1]', '::1', true],
    ['[::1]:443', '::1', true],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['::1', 'example.com', false],
  ])('an entry %s leads around the proxy for %s: %s', (entry, host, does) => expect(covers(entry, host)).toBe(does));

  it('keeps what leads nowhere near an API, in order, and never an entry that covers one', () => {
    const entry = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.constantFrom('*', '.example.com', 'example.com', '10.0.0.0/8', '[::1]', 'intranet'),
    );
    const separator = fc.constantFrom(',', ' ', ', ', ',,');
    fc.assert(
      fc.property(fc.array(entry), separator, (entries, between) => {
        const hosts = ['api.example.com', '10.1.2.3'];
        const exported = { HTTPS_PROXY: 'http://agent:s@127.0.0.1:1' };
        const made = noProxyFor({ variables: { NO_PROXY: entries.join(between) }, exported, hosts });
        const list = String(made?.['NO_PROXY']).split(',');
        const kept = [...new Set(entries.filter((one) => !hosts.some((host) => covers(one, host))))];
        expect(list).toEqual([...new Set([...kept, '127.0.0.1', 'localhost'])]);
        expect(made?.['no_proxy']).toBe(made?.['NO_PROXY']);
      }),
    );
  });

  it.each([
    ['no proxy anywhere', {}, {}, [], null],
    ['no proxy, but a list', { NO_PROXY: 'a.example' }, {}, [], 'a.example'],
    ['a proxy of the machine', { http_proxy: 'http://proxy:3128' }, {}, [], '127.0.0.1,localhost'],
    [
      'a proxy of the machine, and a list in one spelling',
      { ALL_PROXY: 'socks5://p:1', no_proxy: 'intranet' },
      {},
      [],
      'intranet,127.0.0.1,localhost',
    ],
    ['forward mode', {}, { HTTPS_PROXY: 'http://x' }, ['api.example.com'], '127.0.0.1,localhost'],
    ['forward mode for an API on loopback', {}, { HTTPS_PROXY: 'http://x' }, ['127.0.0.1'], 'localhost'],
  ])('%s', (_name, variables, exported, hosts, list) => {
    const made = noProxyFor({ variables, exported, hosts });
    expect(made).toEqual(list === null ? null : { NO_PROXY: list, no_proxy: list });
  });
});

describe('local URLs where the machine has a proxy', () => {
  let scene: AgentScene;
  let gateway: ScriptedGateway;
  let read = '';
  const proxy = createServer((socket) => {
    socket
      .on('error', () => undefined)
      .on('data', (chunk: Buffer) => {
        read += String(chunk);
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nproxy');
      });
  });
  beforeAll(async () => {
    scene = await setAgentScene();
    gateway = await ScriptedGateway.start();
    await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  });
  beforeEach(() => {
    read = '';
  });
  afterAll(async () => {
    await gateway.close();
    await scene.close();
    proxy.close();
  });

  const run = (file: string, argv: string[], env: Record<string, string>) =>
    new Promise<string>((done) => execFile(file, argv, { env }, (_error, out, errors) => done(out + errors)));

  it('curl and Node.js reach the agent without it, so that nobody else reads the secret', async () => {
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const variables = { http_proxy: url, HTTP_PROXY: url, NODE_USE_ENV_PROXY: '1', PATH: String(process.env['PATH']) };
    const agent = await scene.start(gateway.origin, { variables });
    const env = environmentOf(variables, agent.exported);
    const script = `fetch('${agent.url}/x').then(async (r) => process.stdout.write(await r.text()))`;
    expect(await run('curl', ['-sS', '-m', '10', `${agent.url}/x`], env)).toBe('ok');
    expect(await run(process.execPath, ['-e', script], env)).toBe('ok');
    expect(read).toBe('');
    // Without it, they would.
    const { NO_PROXY: _upper, no_proxy: _lower, ...without } = env;
    expect(await run('curl', ['-sS', '-m', '10', `${agent.url}/x`], without)).toBe('proxy');
    expect(read).toContain(new URL(agent.url).pathname);
  });

  it('forward mode for plain HTTP and a local port, in one job', async () => {
    const agent = await scene.start(gateway.origin, {
      api: { url: 'http://plain.example.com/v1', gateway: gateway.origin },
      config: { proxy: {} },
      variables: { NO_PROXY: 'plain.example.com,intranet' },
    });
    const env = environmentOf({ PATH: String(process.env['PATH']) }, agent.exported);
    expect(env['NO_PROXY']).toBe('intranet,127.0.0.1,localhost');
    expect(await run('curl', ['-sS', '-m', '10', 'http://plain.example.com/v1/x'], env)).toBe('ok');
    expect(await run('curl', ['-sS', '-m', '10', `${agent.url}/x`], env)).toBe('ok');
  });
});
