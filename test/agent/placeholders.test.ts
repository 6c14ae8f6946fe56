import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { environmentOf } from '../../src/agent/environment.ts';
import { makeCertificate } from '../support/certificate.ts';
import { exchange } from '../support/raw_client.ts';
import { type AgentScene, ScriptedGateway, setAgentScene, type TestAgent } from './scene.ts';

/** What placeholder credentials are worth where tools take them: at the agent, at other origins, in presigned URLs. */

const ROOT = resolve(import.meta.dirname, '../..');
const BUCKETS = '<ListAllMyBucketsResult/>';
const S3 = `import { S3Client, ListBucketsCommand } from '@aws-sdk/client-s3';
const client = new S3Client({ region: 'eu-central-1', endpoint: process.argv[1], forcePathStyle: true, maxAttempts: 1 });
await client.send(new ListBucketsCommand({})).then(() => console.log('ok'), (error) => console.log(error.name));`;

let scene: AgentScene;
let gateway: ScriptedGateway;
let agent: TestAgent;
let folder: string;
let secret: string;
let placeholder: string;
let read: string[];
const certificate = makeCertificate({ name: 'localhost', hosts: ['localhost'] });
const other = createServer(certificate, (request, response) => {
  read.push(JSON.stringify([request.url, request.rawHeaders]));
  response.writeHead(200, { 'content-type': 'application/xml' }).end(BUCKETS);
});
const otherUrl = () => `https://localhost:${(other.address() as AddressInfo).port}`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-placeholders-'));
  scene = await setAgentScene();
  gateway = await ScriptedGateway.start();
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', done));
  agent = await scene.start(gateway.origin, {
    config: { proxy: { others: 'tunnel' }, placeholders: ['aws', 'google'] },
    api: { kubeconfig: true },
  });
  secret = new URL(agent.url).pathname.slice(1);
  placeholder = String(agent.exported['AWS_ACCESS_KEY_ID']);
});
beforeEach(() => {
  read = [];
  gateway.received.length = 0;
});
afterAll(async () => {
  other.closeAllConnections();
  other.close();
  await gateway.close();
  await scene.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (file: string, argv: readonly string[], more: Record<string, string> = {}) =>
  new Promise<string>((done) => {
    const env = { ...environmentOf({ PATH: process.env['PATH'] }, agent.exported), ...more };
    execFile(file, argv, { env, cwd: ROOT }, (error, out, errors) => done(error === null ? out : out + errors));
  });
const sign = ['--aws-sigv4', 'aws:amz:eu-central-1:s3'];
const user = () => ['--user', `${placeholder}:placeholder`];

describe('placeholder credentials', () => {
  it('are one value, and it is not the secret', () => {
    const { exported } = agent;
    expect([exported['CLOUDSDK_AUTH_ACCESS_TOKEN'], exported['GOOGLE_OAUTH_ACCESS_TOKEN']]).toEqual([
      placeholder,
      placeholder,
    ]);
    expect(placeholder).toMatch(/^[0-9a-f]{64}$/);
    expect(placeholder).not.toBe(secret);
    const named = Object.entries(exported)
      .filter(([, value]) => value?.includes(secret))
      .map(([name]) => name);
    expect(named.sort()).toEqual(['HTTPS_PROXY', 'HTTP_PROXY', 'SALLYPORT_CLOUD_URL', 'http_proxy', 'https_proxy']);
  });

  it('a signed request that a tool sends to another origin through the tunnel has nothing of the job but the placeholder', async () => {
    expect(await run('curl', ['-sS', '-k', '-m', '10', ...sign, ...user(), `${otherUrl()}/bucket`])).toContain(
      'ListAllMyBucketsResult',
    );
    expect(read.join()).toContain(`Credential=${placeholder}/`);
    expect(read.join()).not.toContain(secret);
    expect(read.join()).not.toMatch(/dpop|eyJ/i);
    expect(gateway.received).toEqual([]);
  });

  it('an AWS SDK that goes around the proxy shows no more', async () => {
    const file = join(folder, 'other.pem');
    writeFileSync(file, certificate.cert);
    const said = await run(process.execPath, ['--input-type=module', '-e', S3, otherUrl()], {
      NODE_EXTRA_CA_CERTS: file,
    });
    expect([said.includes('ok'), read.length]).toEqual([true, 1]);
    expect(read.join()).toContain(`Credential=${placeholder}/`);
    expect(read.join()).not.toContain(secret);
  });

  it('open the local port of an API, for clients that take no path in an endpoint', async () => {
    gateway.answer = (response) => void response.writeHead(200, { 'content-type': 'application/xml' }).end(BUCKETS);
    const { origin } = new URL(agent.url);
    expect(await run('curl', ['-sS', '-m', '10', ...sign, ...user(), `${origin}/bucket`])).toBe(BUCKETS);
    expect(await run(process.execPath, ['--input-type=module', '-e', S3, origin])).toBe('ok\n');
    expect(gateway.received.map(({ url }) => url?.split('?')[0])).toEqual(['/v1/bucket', '/v1/']);
    expect(JSON.stringify(gateway.received)).not.toContain(placeholder);
    expect(JSON.stringify(gateway.received)).not.toContain(secret);
  });

  it('open neither the proxy, nor a path, nor the field of the agent', async () => {
    const port = Number(new URL(agent.url).port);
    const proxyPort = Number(new URL(String(agent.exported['HTTPS_PROXY'])).port);
    const basic = Buffer.from(`agent:${placeholder}`).toString('base64');
    const answers = [
      await exchange(
        proxyPort,
        `CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`,
      ),
      await exchange(
        proxyPort,
        `GET ${gateway.origin}/v1/x HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`,
      ),
      await exchange(port, `GET /${placeholder}/x HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`),
      await exchange(
        port,
        `GET /x HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nSallyport-Agent-Secret: ${placeholder}\r\n\r\n`,
      ),
      await exchange(
        port,
        `GET /x?X-Amz-Credential=${placeholder}%2F20261128%2Feu-central-1%2Fs3%2Faws4_request HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`,
      ),
    ];
    expect(answers.map(([answer]) => answer?.status)).toEqual([407, 407, 403, 403, 403]);
    expect([gateway.received, read]).toEqual([[], []]);
  });
});
