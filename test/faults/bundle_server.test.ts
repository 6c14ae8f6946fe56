import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseExactJson } from '../../src/policy/exact_json.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { startTestPolicy, type TestPolicy } from '../support/bundle_gateway.ts';
import { BundleServer, serving } from '../support/bundle_server.ts';
import { decisionModule, opaBundle } from '../support/bundles.ts';
import { eventually } from '../support/eventually.ts';
import { tarGz } from '../support/tar.ts';

const engine = new RegoEngine();
let allow: Buffer;
let deny: Buffer;
let folder: string;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  allow = await opaBundle({ modules: [decisionModule(true)], data: { limit: 1 }, revision: '1' }, engine);
  deny = await opaBundle({ modules: [decisionModule(false)], data: { limit: 1 }, revision: '2' }, engine);
});
afterAll(() => engine.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-bundles-'));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
});

const polling = { min_seconds: 1, max_seconds: 1 };

async function server(...behaviour: ConstructorParameters<typeof BundleServer>): Promise<BundleServer> {
  const started = new BundleServer(...behaviour);
  await started.start();
  ends.push(() => started.stop());
  return started;
}

/** A policy of one bundle of a service. */
async function policyOf(url: string, settings: object = {}, bundle: object = {}): Promise<TestPolicy> {
  const bundles = [{ name: 'main', service: 'control', resource: 'main.tar.gz', polling, ...bundle }];
  const services = [{ name: 'control', url, timeout_ms: 1000 }];
  const policy = { bundles, start_timeout_seconds: 20, ...settings };
  const started = await startTestPolicy(policy, { services }, folder);
  ends.push(() => started.close());
  return started;
}

const stateOf = (policy: TestPolicy) => policy.source.bundles?.()[0];
const ask = (policy: TestPolicy) => policy.source.rebuild();

describe('a service of bundles (OPA bundle API)', () => {
  it('is asked with If-None-Match, also when empty, and Prefer; 304 changes nothing', async () => {
    const control = await server(serving(allow, '"a"'));
    const policy = await policyOf(control.url);
    await eventually('a 304', () => (stateOf(policy)?.counts.unchanged ?? 0) > 0);
    const [first, second] = control.seen;
    expect(first).toMatchObject({
      path: '/main.tar.gz',
      headers: { 'if-none-match': '', prefer: 'modes=snapshot,delta' },
    });
    expect(second?.headers['if-none-match']).toBe('"a"');
    expect(policy.source.holder.status()).toMatchObject({ activations: 1, failures: 0, pendingFailure: null });
    control.behave = serving(deny, '"b"');
    await ask(policy);
    await eventually('the new policy', () => !policy.allows());
    expect(policy.source.holder.live().bundles).toBe('{"main":{"revision":"2"}}');
  });

  it.each([
    ['500', /status 500/, (_: unknown, response: import('node:http').ServerResponse) => response.writeHead(500).end()],
    [
      'a redirect',
      /status 302/,
      (_: unknown, response: import('node:http').ServerResponse) => response.writeHead(302, { location: '/' }).end(),
    ],
    [
      'garbage',
      /not a gzip file/,
      (_: unknown, response: import('node:http').ServerResponse) =>
        response.writeHead(200, { etag: '"g"' }).end('<html>'),
    ],
    [
      'nothing',
      /not a gzip file/,
      (_: unknown, response: import('node:http').ServerResponse) => response.writeHead(200).end(),
    ],
    ['silence', /no whole answer within 1000 ms/, () => undefined],
    [
      'half an answer',
      /no whole answer|cannot be reached/,
      (_: unknown, response: import('node:http').ServerResponse) =>
        response.writeHead(200, { 'content-length': '1000' }).write('x'),
    ],
    [
      'a broken connection',
      /cannot be reached/,
      (_: unknown, response: import('node:http').ServerResponse) => response.destroy(),
    ],
    [
      'more than is allowed',
      /more than 33554432 bytes/,
      (_: unknown, response: import('node:http').ServerResponse) => response.end(Buffer.alloc(33_554_433)),
    ],
  ])(
    'that answers with %s: the policy stays, readiness says why, the ETag is forgotten, and it goes on afterwards',
    async (_name, says, behave) => {
      const control = await server(serving(allow, '"a"'));
      const policy = await policyOf(control.url);
      control.behave = behave as never;
      await ask(policy);
      await eventually('the failure', () => says.test(policy.source.holder.status().pendingFailure ?? ''));
      expect(policy.allows()).toBe(true);
      expect(policy.lines.some(({ level, why }) => level === 'error' && says.test(why ?? ''))).toBe(true);
      const before = control.seen.length;
      control.behave = serving(deny, '"b"');
      await eventually('the new policy', () => !policy.allows());
      expect(control.seen[before]?.headers['if-none-match']).toBe('');
      expect(policy.source.holder.status().pendingFailure).toBeNull();
    },
  );

  it('that is gone and comes back: the policy stays meanwhile, and is renewed afterwards', async () => {
    const control = await server(serving(allow, '"a"'));
    const policy = await policyOf(control.url);
    await control.stop();
    await ask(policy);
    await eventually('ECONNREFUSED', () => /ECONNREFUSED/.test(stateOf(policy)?.problem ?? ''));
    expect(policy.allows()).toBe(true);
    control.behave = serving(deny, '"b"');
    await control.start();
    await eventually('the new policy', () => !policy.allows());
  });

  it('that is down at the start is waited for', async () => {
    const control = await server((_request, response) => response.writeHead(503).end());
    setTimeout(() => {
      control.behave = serving(allow, '"a"');
    }, 700);
    expect((await policyOf(control.url)).allows()).toBe(true);
  });

  it('that never answers at the start: it ends in time, and says which bundle is missing and why', async () => {
    const control = await server(() => undefined);
    await expect(policyOf(control.url, { start_timeout_seconds: 2 })).rejects.toThrow(/main: .*no whole answer/s);
  });

  it('is not needed for a restart: bundles are kept, readable by the owner alone, and a damaged one is not used', async () => {
    const control = await server(serving(allow, '"a"'));
    const kept = { persistence_folder: 'kept' };
    const first = await policyOf(control.url, kept);
    await eventually('kept', () => existsSync(join(folder, 'kept/main.bundle')));
    await first.close();
    await control.stop();
    const file = join(folder, 'kept/main.bundle');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const second = await policyOf(control.url, kept);
    expect(second.allows()).toBe(true);
    expect(second.source.holder.live().bundles).toBe('{"main":{"revision":"1"}}');
    await second.close();
    const bytes = readFileSync(file);
    bytes[bytes.length - 20] = (bytes.at(-20) ?? 0) ^ 1;
    writeFileSync(file, bytes);
    await expect(policyOf(control.url, { ...kept, start_timeout_seconds: 1 })).rejects.toThrow(
      /no policy to start with/,
    );
    await control.start();
  });

  it('cannot roll back, also across a restart, unless that is allowed', async () => {
    const control = await server(serving(deny, '"b"'));
    const kept = { persistence_folder: 'kept' };
    const first = await policyOf(control.url, kept);
    control.behave = serving(allow, '"a"');
    await ask(first);
    await eventually('the refusal', () => /roll-back/.test(stateOf(first)?.problem ?? ''));
    expect(first.allows()).toBe(false);
    await first.close();
    const second = await policyOf(control.url, kept);
    await eventually('the refusal', () => /roll-back/.test(stateOf(second)?.problem ?? ''));
    expect(second.allows()).toBe(false);
    await second.close();
    const third = await policyOf(control.url, { ...kept, rollback: 'allow' });
    await eventually('the older policy', () => third.allows());
  });

  it('that can hold answers back is asked again at once, and told how long it may wait', async () => {
    const control = await server(serving(allow, '"a"', { 'content-type': 'application/vnd.openpolicyagent.bundles' }));
    const slow = { polling: { min_seconds: 60, max_seconds: 60, long_polling_seconds: 5 } };
    const policy = await policyOf(control.url, {}, slow);
    await eventually('a long poll', () => control.seen.length > 1);
    expect(control.seen[1]?.headers['prefer']).toBe('modes=snapshot,delta;wait=5');
    control.behave = serving(deny, '"b"');
    await eventually('the new policy', () => !policy.allows());
    // Without the content type it is not asked to wait any more.
    const count = control.seen.length;
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(control.seen.length - count).toBeLessThanOrEqual(1);
  });

  it('may send changes to data only; what does not fit makes the whole bundle come again', async () => {
    const rule = 'package sallyport\n\ndecision := {"allow": data.limit > 1}\n';
    const whole = await opaBundle(
      { modules: [{ path: 'sallyport/d.rego', text: rule }], data: { limit: 1 }, revision: '1' },
      engine,
    );
    const delta = (revision: string, patch: object) =>
      tarGz([
        { name: '/patch.json', content: JSON.stringify({ data: [patch] }) },
        { name: '/.manifest', content: JSON.stringify({ revision, roots: [''] }) },
      ]);
    const control = await server(serving(whole, '"a"'));
    const policy = await policyOf(control.url);
    expect(policy.allows()).toBe(false);
    control.behave = serving(delta('2', { op: 'replace', path: '/limit', value: 2 }), '"b"');
    await ask(policy);
    await eventually('the change', () => policy.allows());
    expect(policy.source.holder.live().bundles).toBe('{"main":{"revision":"2"}}');
    control.behave = serving(delta('3', { op: 'remove', path: '/none/there' }), '"c"');
    const before = control.seen.length;
    await ask(policy);
    await eventually('the refusal', () => /not there/.test(stateOf(policy)?.problem ?? ''));
    await eventually('another request', () => control.seen.length > before + 1);
    expect(control.seen.at(-1)?.headers['if-none-match']).toBe('');
    expect(policy.allows()).toBe(true);
  });

  it('need not be there for a restart after changes: what they made of the bundle is kept, and goes on from there', async () => {
    const rule = 'package sallyport\n\ndecision := {"allow": data.limit == 3, "reasons": [{"code": data.note}]}\n';
    const base = {
      modules: [{ path: 'sallyport/d.rego', text: rule }],
      data: parseExactJson('{"limit":1,"note":"a","id":1234567890123456789012}') as object,
    };
    const delta = (revision: string, ...patch: object[]) =>
      tarGz([
        { name: '/patch.json', content: JSON.stringify({ data: patch }) },
        { name: '/.manifest', content: JSON.stringify({ revision, roots: [''] }) },
      ]);
    const control = await server(serving(await opaBundle({ ...base, revision: '1' }, engine), '"1"'));
    const kept = { persistence_folder: 'kept' };
    const file = join(folder, 'kept/main.bundle');
    const first = await policyOf(control.url, kept);
    const revisionIs = (policy: TestPolicy, revision: string) =>
      eventually(`revision ${revision}`, () => stateOf(policy)?.revision === revision, 20);
    for (const [revision, value] of [
      ['2', 2],
      ['3', 3],
    ] as const) {
      control.behave = serving(delta(revision, { op: 'replace', path: '/limit', value }), `"${revision}"`);
      await ask(first);
      await revisionIs(first, revision);
    }
    expect(first.allows()).toBe(true);
    await eventually('it is kept', () => readFileSync(file).includes('"superseded":["1","2"]'));
    await first.close();
    await control.stop();

    const second = await policyOf(control.url, kept);
    expect(second.allows()).toBe(true);
    expect(second.source.holder.live().bundles).toBe('{"main":{"revision":"3"}}');
    expect(second.source.holder.live().artifact.data).toContain('"id":1234567890123456789012');
    // Nobody else has the bundle in this form: it is asked for as if there were none, and older ones are refused.
    control.behave = serving(await opaBundle({ ...base, revision: '2' }, engine), '"2"');
    const before = control.seen.length;
    await control.start();
    await eventually('a roll-back refused', () => /roll-back/.test(stateOf(second)?.problem ?? ''), 20);
    expect(control.seen[before]?.headers['if-none-match']).toBe('');
    expect(second.allows()).toBe(true);
    control.behave = serving(delta('4', { op: 'upsert', path: '/limit', value: 4 }), '"4"');
    await ask(second);
    await revisionIs(second, '4');
    expect(second.allows()).toBe(false);
    await second.close();
    await control.stop();
    const third = await policyOf(control.url, kept);
    expect(third.source.holder.live().bundles).toBe('{"main":{"revision":"4"}}');
    await control.start();
  });
});

describe('a control plane', () => {
  it('is told what is in use and what went wrong (OPA status API), with the credentials of the gateway', async () => {
    const control = await server(({ method, headers }, response) => {
      if (headers.authorization !== 'Bearer s3cr3t-token') response.writeHead(401).end();
      else if (method === 'POST') response.writeHead(200).end();
      else serving(allow, '"a"')({ headers } as never, response);
    });
    writeFileSync(join(folder, 'token'), 's3cr3t-token\n', { mode: 0o600 });
    const services = [{ name: 'control', url: control.url, credentials: { type: 'bearer', token_file: 'token' } }];
    const bundles = [{ name: 'main', service: 'control', polling }];
    const policy = await startTestPolicy(
      { bundles, status: { service: 'control', partition: 'p1' } },
      { services },
      folder,
    );
    ends.push(() => policy.close());
    const reports = () =>
      control.seen.filter(({ path }) => path === '/status/p1').map(({ body }) => JSON.parse(body.toString()) as object);
    await eventually('a report', () => JSON.stringify(reports()).includes('active_revision'));
    expect(control.seen[0]?.path).toBe('/bundles/main');
    expect(reports().at(-1)).toMatchObject({
      bundles: {
        main: { name: 'main', active_revision: '1', last_successful_activation: expect.stringMatching(/Z$/) },
      },
      plugins: { bundle: { state: 'OK' } },
    });
    writeFileSync(join(folder, 'token'), 'another\n');
    await ask(policy);
    await eventually('the failure', () => /status 401/.test(stateOf(policy)?.problem ?? ''));
    expect(JSON.stringify(policy.lines)).not.toContain('s3cr3t');
  });

  it('lets several bundles be one policy, each owning its part of data; where two own one part, none of it is used', async () => {
    const rule = { path: 'sallyport/d.rego', text: 'package sallyport\n\ndecision := {"allow": data.tables.open}\n' };
    const rules = await opaBundle({ modules: [rule], roots: ['sallyport'], revision: 'r' }, engine);
    const tables = (roots: string[], open: boolean, revision: string) =>
      opaBundle({ modules: [], data: { tables: { open } }, roots, revision }, engine);
    const served = new Map([
      ['/bundles/rules', rules],
      ['/bundles/tables', await tables(['tables'], true, '1')],
    ]);
    const control = await server(({ path, headers }, response) => {
      const bundle = served.get(path) ?? Buffer.alloc(0);
      serving(bundle, `"${bundle.length}-${bundle.at(-8)}"`)({ headers } as never, response);
    });
    const services = [{ name: 'control', url: control.url }];
    const bundles = ['rules', 'tables'].map((name) => ({ name, service: 'control', polling }));
    const policy = await startTestPolicy({ bundles }, { services }, folder);
    ends.push(() => policy.close());
    expect(policy.allows()).toBe(true);
    expect(policy.source.holder.live().bundles).toBe('{"rules":{"revision":"r"},"tables":{"revision":"1"}}');
    served.set('/bundles/tables', await tables([''], false, '2'));
    await eventually('the refusal', () => /both own/.test(policy.source.holder.status().pendingFailure ?? ''));
    expect(policy.allows()).toBe(true);
    served.set('/bundles/tables', await tables(['tables'], false, '3'));
    await eventually('the new data', () => !policy.allows());
    expect(policy.source.holder.status().pendingFailure).toBeNull();
  });
});

describe('a discovery bundle', () => {
  const discovered = (bundles: object, revision: string) =>
    opaBundle({ modules: [], data: { config: { bundles } }, revision }, engine);

  it('says which bundles there are, also another time and after a restart; what cannot be used changes nothing', async () => {
    const served = new Map([
      ['/discovery.tar.gz', await discovered({ main: { service: 'control', resource: 'a' } }, '1')],
      ['/a', allow],
      ['/b', deny],
    ]);
    const control = await server(({ path, headers }, response) => {
      const bundle = served.get(path) ?? Buffer.alloc(0);
      serving(bundle, `"${path}-${bundle.subarray(-8).toString('hex')}"`)({ headers } as never, response);
    });
    const services = [{ name: 'control', url: control.url }];
    const discovery = { service: 'control', decision: 'config', polling };
    const settings = { discovery, persistence_folder: 'kept', start_timeout_seconds: 20 };
    const policy = await startTestPolicy(settings, { services }, folder);
    ends.push(() => policy.close());
    expect(policy.allows()).toBe(true);
    served.set('/discovery.tar.gz', await discovered({ main: { service: 'elsewhere' } }, '2'));
    await eventually('the refusal', () => /elsewhere/.test(policy.source.holder.status().pendingFailure ?? ''));
    expect(policy.allows()).toBe(true);
    served.set('/discovery.tar.gz', await discovered({ other: { service: 'control', resource: 'b' } }, '3'));
    await eventually('the other bundle', () => !policy.allows());
    await eventually('no failure', () => policy.source.holder.status().pendingFailure === null);
    expect(policy.source.holder.live().bundles).toBe('{"other":{"revision":"2"}}');
    expect(policy.source.bundles?.().map(({ name }) => name)).toEqual(['other']);
    await eventually('kept', () => existsSync(join(folder, 'kept/other.bundle')));
    await policy.close();
    await control.stop();
    const again = await startTestPolicy(settings, { services }, folder);
    ends.push(() => again.close());
    expect(again.source.holder.live().bundles).toBe('{"other":{"revision":"2"}}');
    await control.start();
  });
});
