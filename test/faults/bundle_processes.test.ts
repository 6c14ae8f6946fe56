import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { BundleServer, serving } from '../support/bundle_server.ts';
import { decisionModule, ecPair, opaBundle } from '../support/bundles.ts';
import { eventually } from '../support/eventually.ts';
import type { GatewayProcess } from '../support/process.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { Scene } from './scene.ts';

const engine = new RegoEngine();
const key = ecPair();
const signing = { key: key.privateKey, algorithm: 'ES256', keyId: 'k1' };
const signed = (allow: boolean, revision: string) =>
  opaBundle({ modules: [decisionModule(allow)], revision, signing }, engine);

let scene: Scene;
let redis: RedisServer;
let control: BundleServer;
let gateway: GatewayProcess;

beforeAll(async () => {
  scene = await Scene.create();
  redis = await startRedis();
  scene.atEnd(() => redis.stop());
  control = new BundleServer(serving(await signed(true, '1'), '"1"'));
  await control.start();
  scene.atEnd(() => control.stop());
  writeFileSync(join(scene.folder, 'k1.pem'), key.publicKey);
  const upstream = await scene.upstream();
  const bundle = {
    name: 'main',
    service: 'control',
    polling: { min_seconds: 1, max_seconds: 1 },
    signing: { key: 'k1' },
  };
  const policy = { bundles: [bundle], keys: [{ id: 'k1', algorithm: 'ES256', public_key_file: 'k1.pem' }] };
  const services = [{ name: 'control', url: control.url }];
  const replay = { store: 'redis', redis: { url: redis.url } };
  gateway = await scene.start(scene.config(upstream.origin, { policy, services, processes: 2, replay }));
}, 120_000);
afterAll(async () => {
  await scene.close();
  await engine.close();
});

/** What the last record of such an outcome says of bundles. */
async function bundlesRecorded(outcome: string): Promise<unknown> {
  type Line = { bundles: unknown; custom: { sallyport: { outcome: string } } };
  const last = () =>
    (scene.records() as unknown as Line[]).findLast(({ custom }) => custom.sallyport.outcome === outcome);
  await eventually('the record', () => last() !== undefined);
  return last()?.bundles;
}

describe('a signed bundle of a service in a gateway of several processes', () => {
  it('is fetched by one of them, used by all, and named in each record and in the metrics', async () => {
    const seen = await scene.call(gateway);
    expect(seen.status).toBe(200);
    expect(await bundlesRecorded('allowed')).toEqual({ main: { revision: '1' } });
    expect(await gateway.metric('sallyport_bundle_up', 'bundle="main"')).toBe(1);
    expect(control.seen.filter(({ headers }) => headers['if-none-match'] === '')).toHaveLength(1);
  });

  it('that is unsigned changes nothing; readiness says why; a newer one that is signed is used by all', async () => {
    const unsigned = await opaBundle({ modules: [decisionModule(false)], revision: '2' }, engine);
    control.behave = serving(unsigned, '"2"');
    await eventually(
      'the refusal',
      async () => (await gateway.metric('sallyport_bundle_up', 'bundle="main"')) === 0,
      20,
    );
    const { checks } = await gateway.readiness();
    expect(checks.find(({ name }) => name === 'policy')).toMatchObject({
      ok: true,
      detail: expect.stringMatching(/not signed/),
    });
    expect((await scene.call(gateway)).status).toBe(200);
    control.behave = serving(await signed(false, '3'), '"3"');
    await scene.callUntil(gateway, 403);
    const replaced = () => gateway.log.filter(({ msg }) => msg === 'the policy was replaced').length;
    await eventually('all processes', () => replaced() === 3, 20);
    const seen = await scene.call(gateway);
    expect(seen).toMatchObject({ status: 403, reason: 'policy.denied' });
    expect(await bundlesRecorded('refused')).toEqual({ main: { revision: '3' } });
  });
});
