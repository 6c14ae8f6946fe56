import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { makeEndpoints } from '../../src/broker/endpoints.ts';
import { BROKER_REASONS } from '../../src/broker/reasons.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { API_TOKEN, writeApiToken } from '../support/api_token.ts';
import { BrokerJob, TestBroker, type TestBrokerOptions } from './fixture.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const test = await TestBroker.start(options);
  closing.push(() => test.close());
  return test;
}

const textOf = (folder: string) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(ROOT, folder, name), 'utf8'))
    .join('\n');

describe('the closed list of refusals', () => {
  const tests = textOf('test/broker') + textOf('test/security');
  const sources = textOf('src/broker');
  const page = readFileSync(join(ROOT, 'docs/reference/broker.md'), 'utf8');

  it.each(Object.entries(BROKER_REASONS))(
    '%s is spelled as RFC 6749 §5.2 allows, given by the broker, tried, and documented',
    (name, row) => {
      expect(row.title).toMatch(/^[\x20\x21\x23-\x5B\x5D-\x7E]+[^.]$/);
      expect(row.advice).toMatch(/\.$/);
      expect(row.specification).toMatch(/^RFC \d+ /);
      expect(row.status).toBeGreaterThanOrEqual(400);
      expect(sources).toContain(`'${name}'`);
      expect(tests).toMatch(new RegExp(`\\b${name}\\b`));
      expect(page).toContain(`\`broker.${name}\``);
    },
  );
});

describe('refusals that nothing else tries', () => {
  it('endpoint_unknown, method_not_allowed: RFC 9110 §15.5.5, §15.5.6', async () => {
    const test = await start();
    const at = test.broker.origin;
    const ask = async (path: string, method: string) => {
      const answer = await fetch(at + path, { method });
      return [answer.status, ((await answer.json()) as { reason: string }).reason, answer.headers.get('allow')];
    };
    expect(await ask('/tokens', 'POST')).toEqual([404, 'broker.endpoint_unknown', null]);
    expect(await ask('/token', 'PUT')).toEqual([405, 'broker.method_not_allowed', 'POST']);
    expect(await ask('/.well-known/sallyport-broker', 'DELETE')).toEqual([
      405,
      'broker.method_not_allowed',
      'GET, HEAD',
    ]);
  });

  it('environment_not_stated, key_of_another_job, job_unknown', async () => {
    const test = await start();
    const job = await BrokerJob.start(test);
    expect(await job.ask({ environment: 'staging' })).toMatchObject({
      status: 403,
      body: { reason: 'broker.environment_not_stated' },
    });
    expect((await job.ask()).status).toBe(200);
    const other = await BrokerJob.start(test, { run_id: '2' }, job.key);
    expect(await other.ask()).toMatchObject({ status: 403, body: { reason: 'broker.key_of_another_job' } });
    expect(await job.end('a'.repeat(43))).toMatchObject({ status: 404, body: { reason: 'broker.job_unknown' } });
  });

  it('identity_unverifiable: 503 with Retry-After while the keys of the issuer cannot be had', async () => {
    const test = await start({
      config: {
        workload_issuers: [
          { preset: 'github', audience: 'https://broker.example.com', jwks_uri: 'http://127.0.0.1:1/jwks' },
        ],
      },
    });
    const { status, body, headers } = await (await BrokerJob.start(test)).ask();
    expect([status, body['reason']]).toEqual([503, 'broker.identity_unverifiable']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('engine_token_unavailable: 503 while the file holds no token; the one before is good no more', async () => {
    const test = await start({ before: writeApiToken, config: { admin: { port: 0, api_token_file: 'admin.token' } } });
    const job = await BrokerJob.start(test);
    const id = String((await job.ask()).body['job_id']);
    writeFileSync(join(test.folder, 'admin.token'), 'short', { mode: 0o600 });
    const headers = { authorization: `Bearer ${API_TOKEN}` };
    const answer = await fetch(`${test.broker.origin}/jobs/${id}/end`, { method: 'POST', headers });
    expect([answer.status, ((await answer.json()) as { reason: string }).reason]).toEqual([
      503,
      'broker.engine_token_unavailable',
    ]);
    expect((await job.ask()).status).toBe(200);
  });

  it('unexpected: 500 in fixed words, and the log says what it was', async () => {
    const lines: string[] = [];
    const log = createLog({ level: 'error', pretty: false, destination: { write: (line) => void lines.push(line) } });
    const tokens = { serve: () => Promise.reject(new Error('what nobody thought of')) };
    const server = createServer(makeEndpoints({ origin: 'http://broker', tokens, log, engine: null } as never));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    closing.push(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
    const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ scope: 'x' }) });
    const body = (await answer.json()) as { reason: string };
    expect([answer.status, body.reason]).toEqual([500, 'broker.unexpected']);
    expect(JSON.stringify(body)).not.toContain('nobody thought');
    expect(lines.join('')).toContain('what nobody thought of');
  });
});
