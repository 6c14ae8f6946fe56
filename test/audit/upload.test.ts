import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { createAuditor } from '../../src/audit/auditor.ts';
import { eventForUpload } from '../../src/audit/event_mask.ts';
import { recordUploads } from '../../src/gateway/record_uploads.ts';
import { makeArtifact } from '../../src/policy/artifact.ts';
import type { LoadedPolicy } from '../../src/policy/load.ts';
import { activatePolicy } from '../../src/policy/load.ts';
import { buildPolicy } from '../../src/rego/build.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { policyConfig } from '../support/bundle_gateway.ts';
import { BundleServer } from '../support/bundle_server.ts';
import { eventually } from '../support/eventually.ts';
import { regoEngine } from '../support/rego.ts';
import { allowed } from './evidence.ts';

afterAll(() => regoEngine.close());
const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const DECISION = { path: 'd.rego', text: 'package sallyport\n\ndecision := {"allow": true}\n' };

/** A policy with rules for records. */
async function withLogRules(rules: string): Promise<LoadedPolicy> {
  const modules = [DECISION, { path: 'log.rego', text: `package system.log\n\n${rules}\n` }];
  const entrypoints = [
    'sallyport/decision',
    ...['drop', 'mask'].filter((name) => rules.includes(name)).map((name) => `system/log/${name}`),
  ];
  const built = await buildPolicy({ modules, entrypoints }, regoEngine);
  if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
  return activatePolicy(makeArtifact({ wasm: built.wasm, data: {}, entrypoint: 'sallyport/decision' }));
}

const EVENT = {
  labels: { app: 'x' },
  decision_id: 'd1',
  input: { a: { b: 1 }, list: [1, 2] },
  result: { allow: true },
  custom: { c: 1 },
};
const line = JSON.stringify(EVENT);
const upload = (policy: LoadedPolicy) => {
  const text = eventForUpload(line, (rule, event, now) => policy.evaluateRule?.(rule, event, now) ?? null, 0);
  return text === null ? null : (JSON.parse(text) as Record<string, unknown>);
};

describe('what a control plane gets of a record (data.system.log)', () => {
  it('is all of it where the policy has no such rules', async () => {
    expect(upload(await withLogRules('x := 1'))).toEqual(EVENT);
  });

  it('is nothing where drop is true', async () => {
    expect(upload(await withLogRules('drop if input.input.a.b == 1'))).toBeNull();
    expect(upload(await withLogRules('drop if input.input.a.b == 2'))).toEqual(EVENT);
  });

  it('is without what mask names, and says what that was', async () => {
    const policy = await withLogRules(
      'mask contains "/input/a/b"\n\nmask contains "/input/none"\n\nmask contains {"op": "upsert", "path": "/result/allow", "value": "hidden"}',
    );
    expect(upload(policy)).toEqual({
      ...EVENT,
      input: { a: {}, list: [1, 2] },
      result: { allow: 'hidden' },
      erased: ['/input/a/b'],
      masked: ['/result/allow'],
    });
  });

  it.each([
    ['fails', 'mask := x if some x in ["/input/a", "/input/list"]'],
    ['names something outside of input and result', 'mask contains "/labels"'],
    ['is no set', 'mask := 1'],
    ['has an unknown operation', 'mask contains {"op": "move", "path": "/input/a"}'],
  ])('has no content where mask %s, and is never sent unmasked', async (_name, rules) => {
    expect(upload(await withLogRules(rules))).toEqual({
      labels: { app: 'x' },
      decision_id: 'd1',
      erased: ['/input', '/result', '/custom'],
      error: { code: 'mask_failed' },
    });
  });
});

describe('uploads of records (OPA decision log API)', () => {
  it('are gzipped JSON arrays of at most 32,768 bytes, each event once, also when the control plane was away', async () => {
    const policy = await withLogRules('x := 1');
    let away = true;
    const control = new BundleServer((_request, response) => response.writeHead(away ? 503 : 200).end());
    await control.start();
    ends.push(() => control.stop());
    const sinks = [{ type: 'opa', url: control.url, partition: 'p1' }];
    const config = policyConfig({ path: 'p' }, { audit: { sinks } });
    const auditor = createAuditor({
      config: config.audit,
      labels: { app: 'sallyport' },
      clock: Date.now,
      log: createLog({ level: 'silent' as never, destination: { write: () => undefined } }),
      uploads: recordUploads(config, Date.now, () => policy),
    });
    for (let index = 0; index < 2000; index++) auditor.record({ ...allowed(), id: `${index}-${Math.random()}` });
    await eventually('a refused upload', () => control.seen.length > 0);
    await eventually('the sink is told to be away', () => !auditor.available());
    away = false;
    expect(await auditor.close(20_000)).toBe(0);
    const taken = control.seen.slice(1).filter(({ path }) => path === '/logs/p1');
    const all = control.seen.map(({ body }) => body.length);
    expect(Math.max(...all)).toBeLessThanOrEqual(32_768);
    expect(taken[0]?.headers).toMatchObject({ 'content-type': 'application/json', 'content-encoding': 'gzip' });
    const ids = new Set(
      control.seen.flatMap(({ body }) =>
        (JSON.parse(gunzipSync(body).toString()) as { decision_id: string }[]).map((event) => event.decision_id),
      ),
    );
    expect(ids.size).toBe(2000);
  });
});
