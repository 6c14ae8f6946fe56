import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningAdmin, startAdmin } from '../../src/admin/admin.ts';
import { policyConfig, startTestPolicy, type TestPolicy } from '../support/bundle_gateway.ts';
import { decisionModule } from '../support/bundles.ts';

const TOKEN = 'a-token-of-at-least-thirty-two-characters';
let folder: string;
let policy: TestPolicy;
let admin: RunningAdmin;

async function start(): Promise<void> {
  const settings = { path: 'rego', push: true, persistence_folder: 'kept' };
  policy = await startTestPolicy(settings, { admin: { port: 0, api_token_file: 'token' } }, folder);
  const at = { address: '127.0.0.1', port: 0, api_token_file: join(folder, 'token') };
  const view = {
    live: () => true,
    ready: () => ({ ready: true, checks: [] }),
    metrics: () => ({ contentType: 'x', body: '' }),
  };
  admin = await startAdmin(at, { ...view, ...(policy.source.api && { api: policy.source.api }) });
}

async function stop(): Promise<void> {
  await admin.close();
  await policy.close();
}

async function call(method: string, path: string, body?: unknown, token = TOKEN): Promise<[number, unknown]> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const init = { method, headers: { authorization: `Bearer ${token}` }, ...(body === undefined ? {} : { body: text }) };
  const response = await fetch(admin.origin + path, init);
  const answer = await response.text();
  return [response.status, answer === '' ? null : JSON.parse(answer)];
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-push-'));
  writeFileSync(join(folder, 'token'), TOKEN, { mode: 0o600 });
  const { mkdirSync } = await import('node:fs');
  mkdirSync(join(folder, 'rego'));
  writeFileSync(join(folder, 'rego/decision.rego'), decisionModule(false).text);
  await start();
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

const BY_LIMIT = 'package sallyport\n\ndecision := {"allow": data.limits.builds > 1}\n';

describe("pushes in the way of OPA's REST API, as OPAL makes them", () => {
  it('are in use when they are answered: policies and data', async () => {
    expect(await call('GET', '/health')).toEqual([200, {}]);
    expect(await call('PUT', '/v1/policies/decision.rego', BY_LIMIT)).toEqual([200, {}]);
    expect(policy.allows()).toBe(false);
    expect(await call('PUT', '/v1/data/limits', { builds: 2, id: 1 })).toEqual([204, null]);
    expect(policy.allows()).toBe(true);
    expect(await call('PATCH', '/v1/data/limits', [{ op: 'replace', path: '/builds', value: 1 }])).toEqual([204, null]);
    expect(policy.allows()).toBe(false);
    expect(await call('GET', '/v1/data/limits/builds')).toEqual([200, { result: 1 }]);
    expect(await call('PUT', '/v1/data/a/b%2Fc', 1)).toEqual([204, null]);
    expect(await call('GET', '/v1/data/a')).toEqual([200, { result: { 'b/c': 1 } }]);
    expect(await call('DELETE', '/v1/data/limits')).toEqual([204, null]);
    expect(await call('GET', '/v1/data/limits')).toEqual([200, {}]);
    expect(await call('GET', '/v1/policies')).toEqual([200, { result: [{ id: 'decision.rego', raw: BY_LIMIT }] }]);
    expect(policy.source.holder.status()).toMatchObject({ failures: 0, pendingFailure: null });
  });

  it('that cannot be used are refused with the reason, and the policy in force stays', async () => {
    const before = policy.source.holder.status().revision;
    const broken = await call('PUT', '/v1/policies/a/b.rego', 'package sallyport\n\ndecision := x\n');
    expect(broken).toMatchObject([400, { code: 'invalid_parameter', message: expect.stringMatching(/a\/b\.rego:3/) }]);
    const foreign = await call('PUT', '/v1/policies/decision.rego', 'package sallyport\n\ndecision := http.send({})\n');
    expect(foreign).toMatchObject([400, { message: expect.stringMatching(/http\.send/) }]);
    expect(await call('DELETE', '/v1/policies/decision.rego')).toMatchObject([400, {}]);
    expect(await call('DELETE', '/v1/policies/none')).toMatchObject([404, { code: 'resource_not_found' }]);
    expect(await call('DELETE', '/v1/data/none')).toMatchObject([400, {}]);
    expect(await call('PUT', '/v1/data/x', '{')).toMatchObject([400, {}]);
    expect(await call('PUT', '/v1/data', [1])).toMatchObject([400, { message: expect.stringMatching(/object/) }]);
    expect(await call('PATCH', '/v1/data/x', [{ op: 'move', from: '/a', path: '/b' }])).toMatchObject([400, {}]);
    expect(policy.source.holder.status().revision).toBe(before);
    expect(policy.allows()).toBe(false);
  });

  it('need the token', async () => {
    expect((await call('PUT', '/v1/policies/decision.rego', BY_LIMIT, 'x'.repeat(40)))[0]).toBe(401);
    expect((await call('PUT', '/v1/data/x', 1, ''))[0]).toBe(401);
    expect(policy.allows()).toBe(false);
  });

  it('are there after a restart', async () => {
    await call('PUT', '/v1/policies/decision.rego', decisionModule(true).text);
    await stop();
    await start();
    expect(policy.allows()).toBe(true);
    expect(await call('GET', '/v1/policies/decision.rego')).toMatchObject([200, { result: { id: 'decision.rego' } }]);
  });

  it('are off unless they are configured, and cannot be without a token', () => {
    expect(() => policyConfig({ path: 'rego', push: true })).toThrow(/admin\.api_token_file/);
    expect(policyConfig({ path: 'rego' }).policy.push).toBe(false);
  });
});
