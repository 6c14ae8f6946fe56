import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { environmentOf } from '../../src/agent/environment.ts';
import { makeCertificate } from '../support/certificate.ts';
import { exchange } from '../support/raw_client.ts';
import { type AgentScene, ScriptedGateway, setAgentScene, type TestAgent } from './scene.ts';

let scene: AgentScene;
let gateway: ScriptedGateway;
let agent: TestAgent;

beforeAll(async () => {
  scene = await setAgentScene();
});
afterAll(() => scene.close());
beforeEach(async () => {
  gateway = await ScriptedGateway.start();
});
afterEach(async () => {
  await agent.end();
  await gateway.close();
});

/** Tools know the API by a name of the cloud; it is served by the gateway. */
const CLOUD = 'https://projects.cloud.example.com';
const start = async (others: 'refuse' | 'tunnel' = 'refuse') => {
  agent = await scene.start(gateway.origin, {
    api: { url: `${CLOUD}/v1`, gateway: gateway.origin, listen: 'none' },
    config: { proxy: { others } },
  });
};
const proxyOf = () => new URL(String(agent.exported['HTTPS_PROXY']));

/** Runs an unmodified curl in the environment of the job. */
const curl = (...argv: string[]) =>
  new Promise<{ out: string; error: string }>((resolve) => {
    const env = environmentOf({ PATH: process.env['PATH'] }, agent.exported);
    execFile('curl', ['-sS', '-m', '10', '-w', ' %{http_code}', ...argv], { env }, (_error, out, error) =>
      resolve({ out, error }),
    );
  });

describe('forward mode', () => {
  it('an unmodified curl calls the name of the cloud, and the gateway gets it with token and proof', async () => {
    await start();
    expect(
      await curl(
        `${CLOUD}/v1/projects?x=1`,
        '-d',
        'a=b',
        '-H',
        'Authorization: AWS4-HMAC-SHA256 Credential=placeholder',
      ),
    ).toEqual({ out: 'ok 200', error: '' });
    const [seen] = gateway.received;
    expect(seen).toMatchObject({
      method: 'POST',
      url: '/v1/projects?x=1',
      body: 'a=b',
      headers: { host: 'projects.cloud.example.com' },
    });
    expect(seen?.headers.authorization).toMatch(/^DPoP eyJ/);
    expect(seen?.headers).not.toHaveProperty('proxy-authorization');
  });

  it('an unmodified fetch of Node.js does the same', async () => {
    await start();
    const env = environmentOf({ PATH: process.env['PATH'] }, agent.exported);
    const script = `fetch('${CLOUD}/v1/x').then(async (r) => console.log(r.status, await r.text()), (e) => console.log(e.cause))`;
    const out = await new Promise((resolve) =>
      execFile(process.execPath, ['-e', script], { env }, (_error, text) => resolve(text)),
    );
    expect(out).toBe('200 ok\n');
  });

  it('the bundle still has the CAs of the system; what a variable named before is in it too', async () => {
    await start();
    const bundle = readFileSync(String(agent.exported['SSL_CERT_FILE']), 'utf8');
    expect(bundle.match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThan(20);
    for (const name of ['AWS_CA_BUNDLE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'])
      expect(agent.exported[name]).toBe(agent.exported['SSL_CERT_FILE']);
    expect(
      readFileSync(String(agent.exported['NODE_EXTRA_CA_CERTS']), 'utf8').match(/BEGIN CERTIFICATE/g),
    ).toHaveLength(1);
  });

  it('a path of the origin that is no API of the job is refused', async () => {
    await start();
    expect((await curl(`${CLOUD}/v2/x`)).out).toMatch(/"agent\.not_an_api".* 403$/s);
    expect((await curl(`${CLOUD}/v10/x`)).out).toMatch(/"agent\.not_an_api".* 403$/s);
    expect(gateway.received).toEqual([]);
  });

  it('a Host inside that is not the one of the connection is refused', async () => {
    await start();
    expect((await curl(`${CLOUD}/v1/x`, '-H', 'Host: other.example.com')).out).toMatch(/ 421$/);
    expect(gateway.received).toEqual([]);
  });

  it('other origins are refused, and the person is told', async () => {
    await start();
    expect((await curl('https://elsewhere.example.com/')).error).toContain('403');
    expect(agent.said.join('\n')).toContain('a request to elsewhere.example.com:443 was refused');
  });

  it('proxy.others: tunnel passes other origins untouched: their own certificate, and nothing of the job', async () => {
    await start('tunnel');
    const certificate = makeCertificate({ name: 'localhost', hosts: ['localhost'] });
    const seen: unknown[] = [];
    const other = createTlsServer(certificate, (request, response) => {
      seen.push(request.headers);
      response.end('theirs');
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const url = `https://localhost:${(other.address() as AddressInfo).port}/`;
    expect((await curl(url, '-k')).out).toBe('theirs 200');
    expect(JSON.stringify(seen)).not.toMatch(/authorization|dpop|eyJ/i);
    other.closeAllConnections();
    other.close();
  });

  it('the secret of the agent does not go to other origins by plain HTTP either, wherever the tool shows it', async () => {
    await start('tunnel');
    const seen: string[] = [];
    const other = createHttpServer((request, response) => {
      seen.push(JSON.stringify([request.url, request.rawHeaders]));
      response.end('theirs');
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { username, password, port } = proxyOf();
    const credentials = Buffer.from(`${username}:${password}`).toString('base64');
    const host = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    const fields = `Host: ${host}\r\nProxy-Authorization: Basic ${credentials}\r\nSallyport-Agent-Secret: ${password}\r\nX-Kept: 1\r\n`;
    const [answer] = await exchange(Number(port), `GET http://${host}/x HTTP/1.1\r\n${fields}\r\n`);
    expect(answer?.status).toBe(200);
    expect(seen.join()).toContain('X-Kept');
    expect(seen.join()).not.toContain(password);
    expect(seen.join()).not.toContain(credentials);
    other.closeAllConnections();
    other.close();
  });

  it.each([
    ['no secret', 'CONNECT projects.cloud.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n', 407],
    [
      'a wrong secret',
      `CONNECT projects.cloud.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${Buffer.from(`agent:${'0'.repeat(64)}`).toString('base64')}\r\n\r\n`,
      407,
    ],
    ['an absolute form without secret', 'GET http://projects.cloud.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n', 407],
    ['a request that is none for a proxy', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 407],
  ])('raw bytes, %s: refused', async (_name, bytes, status) => {
    await start('tunnel');
    const [answer] = await exchange(Number(proxyOf().port), bytes);
    expect(answer?.status).toBe(status);
    expect(answer?.headers['proxy-authenticate']).toEqual(['Basic realm="sallyport agent"']);
  });

  it.each([
    'CONNECT :443',
    'CONNECT evil',
    'CONNECT evil:0',
    'CONNECT evil:99999',
    'CONNECT user@evil:443',
    'CONNECT http://evil:443',
    'CONNECT evil:443/x',
    'GET ftp://evil/',
    'GET http://user:pw@evil/',
    'GET /x',
    'GET http://',
    'OPTIONS *',
  ])('raw bytes, malformed: %s', async (line) => {
    await start();
    const { username, password, port } = proxyOf();
    const credentials = Buffer.from(`${username}:${password}`).toString('base64');
    const [answer] = await exchange(
      Number(port),
      `${line} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
    );
    expect(answer?.status).toBe(400);
    expect(gateway.received).toEqual([]);
  });
});
