import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type RunningDemoCloud, startDemoCloud } from '../../src/demo/cloud.ts';
import { answerCall } from '../../src/demo/cloud_api.ts';
import { CloudStore } from '../../src/demo/cloud_store.ts';

let cloud: RunningDemoCloud;
beforeAll(async () => {
  cloud = await startDemoCloud({ port: 0 });
});
afterAll(() => cloud.close());

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(cloud.origin + path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
}

describe('the demo cloud', () => {
  it('serves every operation of its catalogue', async () => {
    const file = join(import.meta.dirname, '../../catalogs/demo_cloud.yaml');
    const catalogue = parse(readFileSync(file, 'utf8')) as { operations: { name: string; request: string }[] };
    expect(catalogue.operations.length).toBeGreaterThan(10);
    await call('PUT', '/v1/projects/p1/secrets/token', { value: 'x' });
    const deployment = (await call('POST', '/v1/projects/p1/deployments')).body as { id: string };
    const names = { build: 'b1', deployment: deployment.id, secret: 'token' };
    const deletions = catalogue.operations.filter(({ request }) => request.startsWith('DELETE'));
    const others = catalogue.operations.filter(({ request }) => !request.startsWith('DELETE'));
    for (const { name, request } of [...others, ...deletions.reverse()]) {
      const [method = '', template = ''] = request.split(' ');
      const path = template.replace(/\{(\w+)\}/g, (_whole, key: string) =>
        key === 'project' ? 'p1' : names[key as 'build'],
      );
      const { status } = await call(
        method,
        path,
        method === 'GET' || method === 'DELETE' ? undefined : { id: 'p3', value: 'x' },
      );
      expect([name, status]).toEqual([name, expect.toSatisfy((code: number) => code >= 200 && code < 300)]);
    }
    expect((await call('GET', '/v1/projects/p1')).status).toBe(404);
  });

  it('creates, shows, lists and deletes a build, and says who asked for it', async () => {
    const made = await call(
      'POST',
      '/v1/projects/p2/builds',
      { ref: 'refs/tags/v1', commit: '4f2a9c1', x: 'y' },
      { 'sallyport-client': 'deploy' },
    );
    expect(made).toEqual({
      status: 201,
      body: {
        id: expect.stringMatching(/^b\d+$/),
        project: 'p2',
        ref: 'refs/tags/v1',
        commit: '4f2a9c1',
        state: 'queued',
        created_by: 'deploy',
      },
    });
    const { id } = made.body as { id: string };
    expect(await call('GET', `/v1/projects/p2/builds/${id}`)).toEqual({ status: 200, body: made.body });
    expect(await call('GET', '/v1/projects/p2/builds')).toEqual({ status: 200, body: { builds: [made.body] } });
    expect(await call('DELETE', `/v1/projects/p2/builds/${id}`)).toEqual({ status: 204, body: null });
    expect((await call('GET', `/v1/projects/p2/builds/${id}`)).status).toBe(404);
  });

  it('lists secrets by name, never with their value', async () => {
    const listed = await call('GET', '/v1/projects/p2/secrets');
    expect(listed.body).toEqual({ secrets: [{ id: 'bank-password' }] });
    expect((await call('GET', '/v1/projects/p2/secrets/bank-password')).body).toHaveProperty('value');
  });

  it.each([
    ['GET', '/', 404],
    ['GET', '/v2/projects', 404],
    ['GET', '/v1/projects/p2/nodes', 404],
    ['GET', '/v1/projects/p2/builds/b1/logs', 404],
    ['GET', '/v1/projects/none/builds', 404],
    ['GET', '/v1/projects/%ff', 404],
    ['GET', '/v1/projects/__proto__', 404],
    ['GET', '/v1/projects/p2/constructor', 404],
    ['PATCH', '/v1/projects/p2', 405],
    ['POST', '/v1/projects/p2/secrets', 405],
    ['PUT', '/v1/projects', 405],
  ])('%s %s is %d', async (method, path, status) => {
    expect((await call(method, path)).status).toBe(status);
  });

  it.each([
    ['[]'],
    ['{"id":'],
    ['{"id":7}'],
    ['{"id":"a","id":"b"}'],
    [`{"id":"${'x'.repeat(1025)}"}`],
    [`{"a":1${' '.repeat(20_000)}}`],
  ])('400 for a body that is not a small JSON object of texts: %.12s', async (body) => {
    expect((await call('POST', '/v1/projects', body)).status).toBe(400);
  });

  it('is bounded: takes so many projects and so many builds, and no more', () => {
    const store = new CloudStore();
    const make = (path: string, body: Record<string, string>) =>
      answerCall(store, { method: 'POST', segments: path.split('/'), body, caller: 'ci' }).status;
    for (let index = 0; index < 18; index++) expect(make('projects', { id: `x${index}` })).toBe(201);
    expect(make('projects', { id: 'more' })).toBe(409);
    expect(make('projects', { id: 'x1' })).toBe(409);
    for (let index = 0; index < 200; index++) expect(make('projects/p2/builds', {})).toBe(201);
    expect(make('projects/p2/builds', {})).toBe(409);
  });

  it('with a credential: takes no call without it', async () => {
    const own = await startDemoCloud({ port: 0, credential: 'Bearer gateway' });
    const status = async (headers: Record<string, string>) =>
      (await fetch(`${own.origin}/v1/projects`, { headers })).status;
    expect(await status({})).toBe(401);
    expect(await status({ authorization: 'Bearer gatewax' })).toBe(401);
    expect(await status({ authorization: 'DPoP gateway' })).toBe(401);
    expect(await status({ authorization: 'Bearer gateway' })).toBe(200);
    await own.close();
  });
});
