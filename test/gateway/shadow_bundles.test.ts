import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { describeGateway } from '../../src/gateway/describe.ts';
import { sendShadow } from '../../src/gateway/shadow_source.ts';
import { RegoEngine, sharedRegoEngine } from '../../src/rego/engine_host.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { policyConfig } from '../support/bundle_gateway.ts';
import { BundleServer, serving } from '../support/bundle_server.ts';
import { decisionModule, ecPair, opaBundle } from '../support/bundles.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

/** A candidate policy that comes as a bundle: from a file, and from a service. */

const POLICIES = join(import.meta.dirname, '../../policies');
const READ = '/v1/projects/p1';
/** Seconds that compiling may take on a busy machine. */
const COMPILES = 30;

const engine = new RegoEngine();
const key = ecPair();
const signing = { key: key.privateKey, algorithm: 'ES256', keyId: 'k1' };
const keys = [{ id: 'k1', algorithm: 'ES256', public_key_file: 'k1.pem' }];
const bundleOf = (allow: boolean, revision: string, signed = true) =>
  opaBundle({ modules: [decisionModule(allow)], revision, ...(signed ? { signing } : {}) }, engine);

let upstream: RecordingUpstream;
let folder: string;
let control: BundleServer;
const gateways: TestGateway[] = [];

beforeAll(async () => {
  upstream = await startRecordingUpstream();
});
afterAll(async () => {
  await upstream.close();
  await engine.close();
  await sharedRegoEngine().close();
});
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-candidate-'));
  writeFileSync(join(folder, 'k1.pem'), key.publicKey);
  control = new BundleServer((_request, response) => response.writeHead(503).end());
  await control.start();
});
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.close();
  await control.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The settings of a policy in the repository with a candidate; files of both are in `folder`. */
const settings = (shadow: object) => ({
  services: [{ name: 'control', url: control.url, timeout_ms: 1000 }],
  policy: {
    path: POLICIES,
    keys: keys.map((one) => ({ ...one, public_key_file: join(folder, 'k1.pem') })),
    persistence_folder: join(folder, 'kept'),
    shadow,
  },
});

async function start(shadow: object): Promise<TestGateway> {
  const gateway = await startTestGateway({ upstream: upstream.origin, config: settings(shadow) });
  gateways.push(gateway);
  return gateway;
}

const detailOf = (gateway: TestGateway) =>
  gateway.gateway.readiness().checks.find(({ name }) => name === 'shadow')?.detail ?? '';
const candidateIs = (gateway: TestGateway, text: RegExp) =>
  eventually(`the candidate is ${text}`, () => text.test(detailOf(gateway)), COMPILES);

/** Calls, and says what the candidate made of it. */
async function difference(gateway: TestGateway): Promise<unknown> {
  const before = (await gateway.records(0)).length;
  const response = await fetch(gateway.origin + READ, { headers: await gateway.headers('GET', READ) });
  await response.text();
  expect(response.status).toBe(200);
  const record = (await gateway.records(before + 1)).at(-1) as never as {
    custom: { sallyport: { shadow?: { difference: string } } };
  };
  return record.custom.sallyport.shadow?.difference ?? 'unasked';
}

function put(bytes: Uint8Array): void {
  writeFileSync(join(folder, 'draft'), bytes);
  renameSync(join(folder, 'draft'), join(folder, 'next.tar.gz'));
}

describe('a candidate in a bundle file', { timeout: 120_000 }, () => {
  it('is verified and watched as a live one is; what is refused leaves the candidate before, and the live policy alone', async () => {
    put(await bundleOf(false, '1'));
    const gateway = await start({ path: join(folder, 'next.tar.gz'), signing: { key: 'k1' } });
    await candidateIs(gateway, /^sha256:[0-9a-f]{64}$/);
    expect(await difference(gateway)).toBe('refuses');
    for (const [bytes, says] of [
      [await bundleOf(true, '2', false), /not signed/],
      [Buffer.from('no bundle'), /not a gzip/],
      [await bundleOf(true, '0'), /roll-back/],
      [
        await opaBundle(
          { modules: [{ path: 'p.rego', text: 'package p\n\nx := 1\n' }], revision: '3', signing },
          engine,
        ),
        /sallyport/,
      ],
    ] as const) {
      put(bytes);
      await candidateIs(gateway, new RegExp(`^sha256:[0-9a-f]{64} \\(a newer one was refused: .*${says.source}`, 's'));
      expect(await difference(gateway)).toBe('refuses');
    }
    put(await bundleOf(true, '4'));
    await candidateIs(gateway, /^sha256:[0-9a-f]{64}$/);
    await eventually('it is asked', async () => (await difference(gateway)) === 'none', COMPILES);
    const { checks, ready } = gateway.gateway.readiness();
    expect(ready).toBe(true);
    expect(checks.find(({ name }) => name === 'policy')?.detail).toMatch(/^sha256:[0-9a-f]{64}$/);
    const metrics = await (await fetch(`${gateway.gateway.adminOrigin}/metrics`)).text();
    expect(metrics).toMatch(/^sallyport_shadow_failures_total [1-9]/m);
    expect(metrics).toMatch(/^sallyport_policy_reloads_total\{outcome="failure"\} 0$/m);
  });

  it('that is not there yet is said to be missing, and asked once it comes', async () => {
    const gateway = await start({ path: join(folder, 'next.tar.gz') });
    await candidateIs(gateway, /none yet .*there is no such file/);
    expect(await difference(gateway)).toBe('unasked');
    put(await bundleOf(false, '1', false));
    await candidateIs(gateway, /^sha256:/);
    expect(await difference(gateway)).toBe('refuses');
  });
});

describe('a candidate in bundles of a service', { timeout: 120_000 }, () => {
  const polling = { min_seconds: 1, max_seconds: 1 };
  const shadow = { bundles: [{ name: 'next', service: 'control', polling, signing: { key: 'k1' } }] };

  it('is polled with an ETag; the gateway does not wait for it, and failures of the service change nothing', async () => {
    const gateway = await start(shadow);
    expect(await difference(gateway)).toBe('unasked');
    await candidateIs(gateway, /none yet .*status 503/);
    control.behave = serving(await bundleOf(false, '1'), '"1"');
    await candidateIs(gateway, /^sha256:[0-9a-f]{64}$/);
    expect(await difference(gateway)).toBe('refuses');
    await eventually('a 304', () => control.seen.at(-1)?.headers['if-none-match'] === '"1"');
    expect(control.seen.at(-1)?.path).toBe('/bundles/next');
    control.behave = (_request, response) => response.writeHead(200).end('garbage');
    await candidateIs(gateway, /a newer one was refused: .*not a gzip/);
    expect(await difference(gateway)).toBe('refuses');
    control.behave = serving(await bundleOf(true, '2'), '"2"');
    await candidateIs(gateway, /^sha256:[0-9a-f]{64}$/);
    await eventually('it is asked', async () => (await difference(gateway)) === 'none', COMPILES);
  });

  it('is kept: a restart has it without the service', async () => {
    control.behave = serving(await bundleOf(false, '1'), '"1"');
    const first = await start(shadow);
    await candidateIs(first, /^sha256:/);
    await eventually('kept', () => existsSync(join(folder, 'kept/candidate/next.bundle')));
    await first.close();
    gateways.length = 0;
    control.behave = (_request, response) => response.writeHead(500).end();
    const second = await start(shadow);
    await eventually('it is asked', async () => (await difference(second)) === 'refuses', COMPILES);
  });

  it('is sent to the processes that judge, once for each that can be used', async () => {
    control.behave = serving(await bundleOf(false, '1'), '"1"');
    const { policy, services } = settings(shadow);
    const sent: string[] = [];
    const lines: string[] = [];
    const log = createLog({ level: 'info', destination: { write: (line) => lines.push(line) } });
    const config = policyConfig(policy, { services }, folder);
    const source = sendShadow({ config, clock: Date.now, log }, ({ revision }) => sent.push(revision));
    await eventually('the first', () => sent.length === 1, COMPILES);
    control.behave = serving(await bundleOf(true, '2', false), '"x"');
    await eventually('the refusal', () => /not signed/.test(source?.shadow.status().pendingFailure ?? ''), COMPILES);
    control.behave = serving(await bundleOf(true, '2'), '"2"');
    await eventually('the second', () => sent.length === 2, COMPILES);
    expect(source?.shadow.judge({} as never)).toBeNull();
    await source?.close();
    const count = control.seen.length;
    await new Promise((resolve) => setTimeout(resolve, 1300));
    expect(control.seen).toHaveLength(count);
    expect(lines.join('')).toContain('"of":"candidate"');
  });

  it('is fetched and tried by config check, which says its revision or why it cannot be used', async () => {
    control.behave = serving(await bundleOf(false, '1'), '"1"');
    const { policy, services } = settings(shadow);
    const config = policyConfig({ ...policy, persistence_folder: undefined }, { services }, folder);
    expect((await describeGateway(config)).shadow).toMatchObject({ from: 'bundles next', sample: 1 });
    control.behave = serving(await bundleOf(false, '1', false), '"1"');
    const brief = { ...policy, persistence_folder: undefined, start_timeout_seconds: 2 };
    await expect(describeGateway(policyConfig(brief, { services }, folder))).rejects.toThrow(/next: .*not signed/);
  });
});
