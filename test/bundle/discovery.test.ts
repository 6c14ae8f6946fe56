import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BundleWriteRequest } from '../../src/rego/bundle.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { startTestPolicy, type TestPolicy } from '../support/bundle_gateway.ts';
import { BundleServer } from '../support/bundle_server.ts';
import { decisionModule, ecPair, opaBundle } from '../support/bundles.ts';
import { eventually } from '../support/eventually.ts';

/** Discovery bundles whose Rego says which bundles there are (OPA discovery). */

const engine = new RegoEngine();
const key = ecPair();
const signing = { key: key.privateKey, algorithm: 'ES256', keyId: 'k1' };
const polling = { min_seconds: 1, max_seconds: 1 };
const DISCOVERY = '/discovery.tar.gz';

/** Which bundle this gateway gets, by its region: the example of OPA's documentation, in its two languages. */
const BY_REGION = `package config

discovery := {"bundles": {"main": {"service": "control", "resource": resource}}}

resource := data.regions[opa.runtime().config.labels.region]
`;
const BY_REGION_V0 = BY_REGION.replace('package config', 'package config\n\nanother { opa.runtime().version }');
const REGIONS = { regions: { eu: 'allow', us: 'deny' } };

let folder: string;
let control: BundleServer;
let served: Map<string, Uint8Array>;
let version = 0;
let allow: Buffer;
let deny: Buffer;
const running: TestPolicy[] = [];

beforeAll(async () => {
  allow = await opaBundle({ modules: [decisionModule(true)], revision: '1', signing }, engine);
  deny = await opaBundle({ modules: [decisionModule(false)], revision: '2', signing }, engine);
});
afterAll(() => engine.close());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-discovery-'));
  writeFileSync(join(folder, 'k1.pem'), key.publicKey);
  served = new Map([
    ['/allow', allow],
    ['/deny', deny],
  ]);
  control = new BundleServer(({ path, headers }, response) => {
    const bundle = served.get(path);
    const etag = `"${path}-${path === DISCOVERY ? version : 0}"`;
    if (bundle === undefined) response.writeHead(404).end();
    else if (headers['if-none-match'] === etag) response.writeHead(304).end();
    else response.writeHead(200, { etag }).end(bundle);
  });
  await control.start();
});
afterEach(async () => {
  for (const policy of running.splice(0)) await policy.close();
  await control.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Serves another discovery bundle, newer than the one before. */
function publish(bundle: Uint8Array): void {
  version++;
  served.set(DISCOVERY, bundle);
}

const discoveryBundle = (text: string, more: Partial<BundleWriteRequest> = {}) =>
  opaBundle(
    {
      modules: [{ path: 'config.rego', text }],
      data: REGIONS,
      revision: String(++version),
      capabilities: 'opa',
      ...more,
    },
    engine,
  );

async function start(discovery: object = {}, settings: object = {}): Promise<TestPolicy> {
  const policy = await startTestPolicy(
    {
      discovery: { service: 'control', decision: 'config.discovery', labels: { region: 'eu' }, polling, ...discovery },
      start_timeout_seconds: 20,
      ...settings,
    },
    { services: [{ name: 'control', url: control.url }] },
    folder,
  );
  running.push(policy);
  return policy;
}

const pending = (policy: TestPolicy) => policy.source.holder.status().pendingFailure ?? '';

describe('a discovery bundle with Rego', () => {
  it('is asked for its decision, which knows the labels of this gateway; another version of it takes effect', async () => {
    publish(await discoveryBundle(BY_REGION));
    const policy = await start();
    expect(policy.allows()).toBe(true);
    publish(await discoveryBundle(BY_REGION.replace('.region]', '.region] if true').replace('"main"', '"other"')));
    await eventually('the other name', () => policy.source.holder.live().bundles === '{"other":{"revision":"1"}}');
    publish(await discoveryBundle(BY_REGION, { data: { regions: { eu: 'deny' } } }));
    await eventually('the other bundle', () => !policy.allows());
    await eventually('no failure', () => pending(policy) === '');
  });

  it('gives another region another bundle', async () => {
    publish(await discoveryBundle(BY_REGION));
    expect((await start({ labels: { region: 'us' } })).allows()).toBe(false);
  });

  it('may be written in Rego v0, where its manifest says so', async () => {
    publish(await discoveryBundle(BY_REGION_V0, { regoVersion: -1 }));
    expect((await start()).allows()).toBe(true);
  });

  it('may be all of data, made by rules, where no decision is configured', async () => {
    const text = 'package bundles\n\nmain := {"service": "control", "resource": "allow"}\n';
    publish(await discoveryBundle(text, { data: {} }));
    expect((await start({ decision: undefined })).allows()).toBe(true);
  });

  it('sees nothing of the environment, and of the configuration nothing but labels', async () => {
    const text = `package config

discovery := {"bundles": {"main": {"service": "control", "resource": resource}}}

resource := "allow" if {
	object.keys(opa.runtime()) == {"config", "env"}
	opa.runtime().env == {}
	object.keys(opa.runtime().config) == {"labels"}
	object.keys(opa.runtime().config.labels) == {"app", "region", "version"}
}
`;
    publish(await discoveryBundle(text));
    expect((await start()).allows()).toBe(true);
  });

  it('works after a restart without the service, as it was kept', async () => {
    publish(await discoveryBundle(BY_REGION));
    const kept = { persistence_folder: 'kept' };
    const first = await start({}, kept);
    await eventually('kept', () => existsSync(join(folder, 'kept/main.bundle')));
    await eventually('kept', () => existsSync(join(folder, 'kept/.discovery.bundle')));
    await first.close();
    await control.stop();
    expect((await start({}, kept)).allows()).toBe(true);
    await control.start();
  });
});

const NEVER = `package config

discovery := {"bundles": {}} if count(found) > 0

found contains x if {
	list := numbers.range(1, 5000)
	some x in list
	some y in list
	some z in list
	x > y
	y > z
	z > x
}
`;
const LARGE = `package config

discovery := [[x, y, z] | some x in numbers.range(1, 400); some y in numbers.range(1, 400); some z in numbers.range(1, 400)]
`;

describe('a discovery bundle that says nothing usable changes nothing, and it is said why', () => {
  const cases: [string, RegExp, string][] = [
    ['does not compile', /does not compile:.*config\.rego:3/s, 'package config\n\ndiscovery := x\n'],
    ['is no Rego at all', /config\.rego:1/, 'not rego'],
    [
      'wants a function that is not there',
      /http\.send/,
      'package config\n\ndiscovery := http.send({"method": "get", "url": "http://127.0.0.1/"}).body\n',
    ],
    ['wants the network', /net\.lookup_ip_addr/, 'package config\n\ndiscovery := net.lookup_ip_addr("localhost")\n'],
    ['has no decision', /data\.config\.discovery is undefined/, 'package config\n\nother := 1\n'],
    [
      'has a decision that does not hold',
      /data\.config\.discovery is undefined/,
      'package config\n\ndiscovery := {} if opa.runtime().config.labels.region == "none"\n',
    ],
    [
      'says two things',
      /cannot be evaluated:.*config\.rego:\d+.*(conflict|complete rules)/s,
      'package config\n\ndiscovery := x if some x in [{"a": 1}, {"a": 2}]\n',
    ],
    ['says a text', /not usable/, 'package config\n\ndiscovery := "bundles"\n'],
    ['names no bundles', /names no bundles/, 'package config\n\ndiscovery := {"bundles": {}}\n'],
    [
      'names a service that is not configured',
      /elsewhere, which is not configured/,
      'package config\n\ndiscovery := {"bundles": {"main": {"service": "elsewhere"}}}\n',
    ],
    [
      'names something of another kind',
      /not usable/,
      'package config\n\ndiscovery := {"bundles": {"main": {"service": "control", "url": "http://x"}}}\n',
    ],
    ['never ends', /took longer than 5000 ms/, NEVER],
    ['takes too much memory', /bytes of memory|took longer/, LARGE],
  ];

  it.each(cases)('%s', { timeout: 120_000 }, async (_name, says, text) => {
    publish(await discoveryBundle(BY_REGION));
    const policy = await start();
    const before = policy.source.holder.status();
    const wrong = await discoveryBundle(BY_REGION);
    const packed = text === 'not rego' ? wrong : await discoveryBundle(text);
    publish(text === 'not rego' ? withRego(wrong, text) : packed);
    await eventually('the refusal', () => says.test(pending(policy)), 60);
    expect(policy.allows()).toBe(true);
    expect(policy.source.holder.status()).toMatchObject({ revision: before.revision, activations: 1 });
    expect(policy.source.holder.status().failures).toBeGreaterThan(before.failures);
    expect(policy.lines.some(({ level, why }) => level === 'error' && says.test(why ?? ''))).toBe(true);
    publish(await discoveryBundle(BY_REGION, { data: { regions: { eu: 'deny' } } }));
    await eventually('the next one', () => !policy.allows(), 60);
    await eventually('no failure', () => pending(policy) === '');
  });
});

/** The bundle with another text in its Rego; nobody signed it. */
function withRego(bundle: Buffer, text: string): Buffer {
  const plain = gunzipSync(bundle);
  const at = plain.indexOf('package config');
  plain.fill(' ', at, at + Buffer.byteLength(BY_REGION));
  plain.write(text, at);
  return gzipSync(plain);
}

describe('a discovery bundle with Rego and a signature', () => {
  const SIGNED = BY_REGION.replace('"resource": resource', '"resource": resource, "signing": {"keyid": "k1"}');
  const settings = { keys: [{ id: 'k1', algorithm: 'ES256', public_key_file: 'k1.pem' }] };

  it.each([
    ['is unsigned', /not signed/, () => discoveryBundle(SIGNED)],
    [
      'is signed by another key',
      /failed to verify/,
      () => discoveryBundle(SIGNED, { signing: { ...signing, key: ecPair().privateKey } }),
    ],
    [
      'was changed after it was signed',
      /digest mismatch/,
      async () => withRego(await discoveryBundle(SIGNED, { signing }), 'package config'),
    ],
    ['is older', /roll-back/, () => discoveryBundle(SIGNED, { signing, revision: '0' })],
    ['names a bundle that is unsigned', /main is not signed/, () => discoveryBundle(BY_REGION, { signing })],
  ])('that %s is refused, and the policy stays', async (_name, says, make) => {
    publish(await discoveryBundle(SIGNED, { signing }));
    const policy = await start({ signing: { key: 'k1' } }, settings);
    expect(policy.allows()).toBe(true);
    publish(await make());
    await eventually('the refusal', () => says.test(pending(policy)), 20);
    expect(policy.allows()).toBe(true);
  });
});
