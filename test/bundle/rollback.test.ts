import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type RunningAdmin, startAdmin } from '../../src/admin/admin.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { startTestPolicy, type TestPolicy } from '../support/bundle_gateway.ts';
import { BundleServer, serving } from '../support/bundle_server.ts';
import { decisionModule, opaBundle } from '../support/bundles.ts';
import { eventually } from '../support/eventually.ts';

/** `POST /rollback/NAME` on the admin port: going back to an older bundle on purpose. */

const TOKEN = 'a-token-of-at-least-thirty-two-characters';
const engine = new RegoEngine();
const older: Buffer[] = [];
let newest: Buffer;
let folder: string;
let control: BundleServer;
let policy: TestPolicy;
let admin: RunningAdmin;

beforeAll(async () => {
  for (const revision of ['1', '2']) {
    older.push(await opaBundle({ modules: [decisionModule(false)], revision }, engine));
  }
  newest = await opaBundle({ modules: [decisionModule(true)], revision: '3' }, engine);
});
afterAll(() => engine.close());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-rollback-'));
  writeFileSync(join(folder, 'token'), TOKEN, { mode: 0o600 });
  control = new BundleServer(serving(newest, '"3"'));
  await control.start();
});
afterEach(async () => {
  await admin.close();
  await policy.close();
  await control.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(bundles: object[], settings: object = {}): Promise<void> {
  policy = await startTestPolicy(
    { bundles, ...settings },
    { services: [{ name: 'control', url: control.url }] },
    folder,
  );
  const view = {
    live: () => true,
    ready: () => ({ ready: true, checks: [] }),
    metrics: () => ({ contentType: 'x', body: '' }),
    ...(policy.source.api && { api: policy.source.api }),
  };
  admin = await startAdmin({ address: '127.0.0.1', port: 0, api_token_file: join(folder, 'token') }, view);
}

async function rollBack(name: string, { token = TOKEN, method = 'POST' } = {}): Promise<number> {
  const headers: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${admin.origin}/rollback/${name}`, { method, headers });
  await response.arrayBuffer();
  return response.status;
}

const polling = { min_seconds: 1, max_seconds: 1 };
const fromService = { name: 'main', service: 'control', polling };
const problem = () => policy.source.bundles?.()[0]?.problem ?? '';
const revision = () => policy.source.bundles?.()[0]?.revision;

describe('POST /rollback/NAME', () => {
  it('lets the next bundle of that name be older than the one in use: once', async () => {
    await start([fromService], { persistence_folder: 'kept' });
    control.behave = serving(older[1] as Buffer, '"2"');
    await eventually('the refusal', () => /roll-back/.test(problem()));
    expect(policy.allows()).toBe(true);
    expect(await rollBack('main')).toBe(202);
    await eventually('the older policy', () => revision() === '2', 20);
    expect(policy.allows()).toBe(false);
    await eventually('no problem', () => problem() === '');
    expect(policy.lines.filter(({ level, bundle }) => level === 'warn' && bundle === 'main')).toMatchObject([
      { bundle: 'main', msg: expect.stringContaining('may be older') },
    ]);
    control.behave = serving(older[0] as Buffer, '"1"');
    await eventually('the next refusal', () => /roll-back/.test(problem()), 20);
    expect(revision()).toBe('2');
    // The one that was left may come again: it is newer.
    control.behave = serving(await opaBundle({ modules: [decisionModule(true)], revision: '4' }, engine), '"4"');
    await eventually('a newer policy', () => policy.allows(), 20);
  });

  it('holds for a file that is put back as well', async () => {
    const put = (bytes: Uint8Array) => {
      writeFileSync(join(folder, 'draft'), bytes);
      renameSync(join(folder, 'draft'), join(folder, 'main.tar.gz'));
    };
    put(newest);
    await start([{ name: 'main', file: 'main.tar.gz' }], { watch: false });
    put(older[1] as Buffer);
    expect(await policy.source.rebuild()).toBe(false);
    expect(policy.allows()).toBe(true);
    expect(await rollBack('main')).toBe(202);
    expect(policy.allows()).toBe(false);
    expect(problem()).toBe('');
  });

  it('is not spent by a bundle that cannot be used, and lets nothing else pass', async () => {
    await start([fromService]);
    control.behave = serving(Buffer.from('garbage'), '"x"');
    await eventually('the refusal', () => /not a gzip/.test(problem()), 20);
    expect(await rollBack('main')).toBe(202);
    await eventually('another refusal', () => (policy.source.bundles?.()[0]?.refusals ?? 0) > 1, 20);
    expect(policy.allows()).toBe(true);
    control.behave = serving(older[1] as Buffer, '"2"');
    await eventually('the older policy', () => revision() === '2', 20);
  });

  it('is for the holder of the token, for bundles that are there, and for POST', async () => {
    await start([fromService]);
    const lines = policy.lines.length;
    expect(await rollBack('main', { token: '' })).toBe(401);
    expect(await rollBack('main', { token: 'x'.repeat(40) })).toBe(401);
    expect(await rollBack('other')).toBe(404);
    expect(await rollBack('')).toBe(404);
    expect(await rollBack('main/more')).toBe(404);
    expect(await rollBack('__proto__')).toBe(404);
    expect(await rollBack('main', { method: 'GET' })).toBe(405);
    expect(policy.lines.slice(lines).filter(({ level }) => level === 'warn')).toEqual([]);
    control.behave = serving(older[1] as Buffer, '"2"');
    await eventually('the refusal', () => /roll-back/.test(problem()), 20);
    expect(policy.allows()).toBe(true);
  });
});
