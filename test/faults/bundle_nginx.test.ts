import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RegoEngine, sharedRegoEngine } from '../../src/rego/engine_host.ts';
import { createLog } from '../../src/telemetry/log.ts';
import type { LogLine } from '../support/bundle_gateway.ts';
import { decisionModule, opaBundle } from '../support/bundles.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { freePort, type Nginx, startNginx } from '../support/nginx.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

/** nginx as the server of a gateway's bundle: what callers, the log, the metrics and readiness see of its troubles. */

const READ = '/v1/projects/p1';
/** Seconds that a change may take on a busy machine. */
const SOON = 30;

const engine = new RegoEngine();
const lines: LogLine[] = [];
const log = createLog({ level: 'info', destination: { write: (line) => lines.push(JSON.parse(line)) } });

let folder: string;
let port: number;
let nginx: Nginx;
let silent: net.Server;
let upstream: RecordingUpstream;
let gateway: TestGateway;
let revision = 0;

/** What nginx does is said by files beside the bundle, so that it need not be told. */
const behaviour = (root: string, silentPort: number) => `
  root ${root};
  location = /garbage.html { }
  location / {
    if (-f ${root}/mode.error) { return 500; }
    if (-f ${root}/mode.away) { return 503; }
    if (-f ${root}/mode.moved) { return 302 /elsewhere; }
    if (-f ${root}/mode.garbage) { rewrite ^ /garbage.html last; }
    if (-f ${root}/mode.cut) { return 200 'half'; }
    if (-f ${root}/mode.slow) { set $limit_rate 1; }
    if (-f ${root}/mode.hang) { proxy_pass http://127.0.0.1:${silentPort}; }
  }`;

const root = () => join(folder, 'www');
const setMode = (mode: string) => writeFileSync(join(root(), `mode.${mode}`), '');
const clearMode = (mode: string) => rmSync(join(root(), `mode.${mode}`), { force: true });

/** Another bundle takes the place of the one before, whole. */
async function publish(allow: boolean): Promise<void> {
  revision++;
  const bundle = await opaBundle({ modules: [decisionModule(allow)], revision: String(revision) }, engine);
  writeFileSync(join(folder, 'draft'), bundle);
  renameSync(join(folder, 'draft'), join(root(), 'main.tar.gz'));
}

const start = async () => {
  nginx = await startNginx(port, folder, behaviour(root(), (silent.address() as AddressInfo).port));
};

async function status(): Promise<number> {
  const response = await fetch(gateway.origin + READ, { headers: await gateway.headers('GET', READ) });
  await response.text();
  return response.status;
}

const policyDetail = () => gateway.gateway.readiness().checks.find(({ name }) => name === 'policy')?.detail ?? '';

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${gateway.gateway.adminOrigin}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(name));
  return Number(line?.slice(line.lastIndexOf(' ')));
}

const UP = 'sallyport_bundle_up{bundle="main"}';
const unchanged = () => metric('sallyport_bundle_requests_total{bundle="main",outcome="unchanged"}');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-nginx-'));
  mkdirSync(root());
  writeFileSync(join(root(), 'garbage.html'), '<!doctype html><title>Sign in</title>');
  silent = net.createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  port = await freePort();
  await publish(true);
  await start();
  upstream = await startRecordingUpstream();
  const bundles = [
    { name: 'main', service: 'control', resource: 'main.tar.gz', polling: { min_seconds: 1, max_seconds: 1 } },
  ];
  gateway = await startTestGateway({
    upstream: upstream.origin,
    artifact: 'configured',
    log,
    config: { services: [{ name: 'control', url: `http://127.0.0.1:${port}`, timeout_ms: 1000 }], policy: { bundles } },
  });
}, 60_000);

afterAll(async () => {
  await gateway.close();
  await nginx.stop();
  await upstream.close();
  silent.close();
  await engine.close();
  await sharedRegoEngine().close();
  rmSync(folder, { recursive: true, force: true });
});

describe('nginx as a server of bundles', { timeout: 120_000 }, () => {
  it('serves one, and then 304: nothing is compiled again', async () => {
    expect(await status()).toBe(200);
    await eventually('a 304', async () => (await unchanged()) > 0, SOON);
    expect(await metric(UP)).toBe(1);
    expect(await metric('sallyport_policy_reloads_total{outcome="success"}')).toBe(1);
  });

  it.each([
    ['error', /status 500/],
    ['away', /status 503/],
    ['moved', /status 302/],
    ['garbage', /not a gzip file/],
    ['cut', /not a gzip file/],
    ['slow', /no whole answer within 1000 ms/],
    ['hang', /no whole answer within 1000 ms/],
  ])(
    '%s: calls go on under the policy before; log, metric and readiness say why; then the next one is used',
    async (mode, says) => {
      await publish(true);
      await eventually('the newest', () => policyIsNewest(), SOON);
      const detail = policyDetail();
      expect(detail).toMatch(/^sha256:[0-9a-f]{64}$/);
      setMode(mode);
      await publish(false);
      const before = lines.length;
      await eventually('the failure', () => says.test(policyDetail()), SOON);
      expect(policyDetail().startsWith(`${detail} (a newer one was refused: `)).toBe(true);
      expect(gateway.gateway.readiness().ready).toBe(true);
      expect(await metric(UP)).toBe(0);
      expect(await status()).toBe(200);
      const said = lines.slice(before).filter(({ level, why }) => level === 'error' && says.test(why ?? ''));
      expect(said.length).toBeGreaterThan(0);
      clearMode(mode);
      await eventually('the new policy', async () => (await status()) === 403, SOON);
      await eventually('no failure', () => /^sha256:[0-9a-f]{64}$/.test(policyDetail()), SOON);
      expect(await metric(UP)).toBe(1);
    },
  );

  it('is stopped and comes back', async () => {
    await publish(true);
    await eventually('the newest', () => policyIsNewest(), SOON);
    await nginx.stop();
    await eventually('the failure', () => /ECONN/.test(policyDetail()), SOON);
    expect(await status()).toBe(200);
    await publish(false);
    await start();
    await eventually('the new policy', async () => (await status()) === 403, SOON);
    expect(await metric(UP)).toBe(1);
  });
});

/** Whether the bundle that was published last is in use. */
async function policyIsNewest(): Promise<boolean> {
  const text = await (await fetch(`${gateway.gateway.adminOrigin}/metrics`)).text();
  return text.includes(`revision="${revision}"`);
}
