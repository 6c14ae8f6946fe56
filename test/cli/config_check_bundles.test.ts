import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { startTestPolicy, type TestPolicy } from '../support/bundle_gateway.ts';
import { BundleServer } from '../support/bundle_server.ts';
import { decisionModule, ecPair, opaBundle } from '../support/bundles.ts';
import { eventually } from '../support/eventually.ts';
import { runSallyport } from '../support/program.ts';

/** `sallyport config check` of a gateway that keeps its bundles in a folder: a look leaves that folder as it was. */

const POLICIES = join(import.meta.dirname, '../../policies');
const engine = new RegoEngine();
const key = ecPair();
const signing = { key: key.privateKey, algorithm: 'ES256', keyId: 'k1' };
const signed = { key: 'k1' };
const DISCOVERY = 'package config\n\ndiscovery := {"bundles": {"main": {"service": "control", "resource": "main"}}}\n';

let folder: string;
let control: BundleServer;
let served: Map<string, Uint8Array>;
let first: Buffer;
let second: Buffer;
let discovery: Buffer;
const running: TestPolicy[] = [];

beforeAll(async () => {
  first = await opaBundle({ modules: [decisionModule(true)], revision: '1', signing }, engine);
  second = await opaBundle({ modules: [decisionModule(false)], revision: '2', signing }, engine);
  const modules = [{ path: 'config.rego', text: DISCOVERY }];
  discovery = await opaBundle({ modules, revision: 'd', signing }, engine);
});
afterAll(() => engine.close());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-check-'));
  writeFileSync(join(folder, 'k1.pem'), key.publicKey);
  served = new Map([
    ['/main', first],
    ['/next', second],
    ['/discovery', discovery],
  ]);
  control = new BundleServer(({ path }, response) => {
    const bundle = served.get(path);
    if (bundle === undefined) response.writeHead(404).end();
    else response.writeHead(200, { etag: `"${path}${bundle.length}"` }).end(bundle);
  });
  await control.start();
});
afterEach(async () => {
  for (const policy of running.splice(0)) await policy.close();
  await control.stop();
  rmSync(folder, { recursive: true, force: true });
});

const bundle = (name: string) => ({ name, service: 'control', resource: name, signing: signed });
const keys = [{ id: 'k1', algorithm: 'ES256', public_key_file: 'k1.pem' }];
const services = () => [{ name: 'control', url: control.url, timeout_ms: 1000 }];
const kept = { keys, persistence_folder: 'kept', start_timeout_seconds: 10 };
const POLICY = {
  bundles: { ...kept, bundles: [bundle('main')] },
  discovery: {
    ...kept,
    discovery: { service: 'control', resource: 'discovery', decision: 'config/discovery' },
  },
  candidate: { ...kept, bundles: [bundle('main')], shadow: { bundles: [bundle('next')] } },
  pushed: { ...kept, path: POLICIES, push: true },
};

/** `sallyport config check --json gateway.yaml`, as a process of its own. */
async function check(policy: object) {
  const issuers = [{ issuer: 'https://as.example.com' }];
  const resource = 'https://cloud.example.com/v1';
  const routes = [{ name: 'r', path_prefix: '/', upstream: { url: 'http://127.0.0.1:1' }, resource }];
  const admin = { api_token_file: 'admin.token' };
  writeFileSync(join(folder, 'admin.token'), 'a'.repeat(40), { mode: 0o600 });
  const config = { version: 1, admin, issuers, routes, policy, services: services() };
  writeFileSync(join(folder, 'gateway.yaml'), stringify(config));
  const program = runSallyport(folder, 'config', 'check', '--json', 'gateway.yaml');
  const code = await program.ended;
  const value = code === 0 ? (JSON.parse(program.text()) as Described) : null;
  return { code, errors: program.errors(), revision: value?.policy.revision, shadow: value?.shadow?.revision };
}

interface Described {
  readonly policy: { readonly revision: string };
  readonly shadow: { readonly revision: string } | null;
}

/** Lets a gateway's part that gets the policy run until it kept something. */
async function runOnce(policy: object, file: string): Promise<void> {
  const source = await startTestPolicy(policy, { services: services() }, folder);
  running.push(source);
  await eventually('kept', () => existsSync(join(folder, 'kept', file)));
  await running.pop()?.close();
}

/** Everything in the folder of bundles, with its content and its times. */
function contents(path = join(folder, 'kept')): unknown {
  if (!existsSync(path)) return null;
  return readdirSync(path, { withFileTypes: true }).map((entry) => {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) return [entry.name, contents(inner)];
    const { mtimeMs, ctimeMs, ino } = statSync(inner);
    return [entry.name, mtimeMs, ctimeMs, ino, readFileSync(inner).toString('base64')];
  });
}

describe('config check of a gateway with persistence_folder', { timeout: 60_000 }, () => {
  it.each(Object.entries(POLICY))('%s: what is fetched is tried and not kept', async (_name, policy) => {
    const { code, errors, revision } = await check(policy);
    expect([code, errors]).toEqual([0, '']);
    expect(revision).toMatch(/^sha256:|main/);
    expect(contents()).toBeNull();
  });

  it.each([
    ['bundles', POLICY.bundles, 'main.bundle'],
    ['discovery', POLICY.discovery, '.discovery.bundle'],
  ])(
    '%s: what a gateway kept stays as it is, also when the service has something newer',
    async (_name, policy, file) => {
      await runOnce(policy, file);
      await eventually('kept', () => existsSync(join(folder, 'kept/main.bundle')));
      const before = contents();
      served.set('/main', second);
      expect(await check(policy)).toMatchObject({ code: 0, errors: '' });
      expect(contents()).toEqual(before);
    },
  );

  it('what was kept does while the service is away, as for a start', async () => {
    await runOnce(POLICY.bundles, 'main.bundle');
    const before = contents();
    const fetched = await check({ ...POLICY.bundles, persistence_folder: undefined });
    served.clear();
    const { code, errors, revision } = await check(POLICY.bundles);
    expect([code, errors, revision]).toEqual([0, '', fetched.revision]);
    expect(contents()).toEqual(before);
    const none = await check({ ...POLICY.bundles, persistence_folder: 'other', start_timeout_seconds: 1 });
    expect(none).toMatchObject({ code: 1, errors: expect.stringMatching(/main: .*404/) as string });
    expect(existsSync(join(folder, 'other'))).toBe(false);
  });
});
