import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseExactJson } from '../../src/policy/exact_json.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { startTestPolicy, type TestPolicy } from '../support/bundle_gateway.ts';
import { decisionModule, ecPair, opaBundle } from '../support/bundles.ts';
import { tamperings } from '../support/tampered_bundles.ts';

const engine = new RegoEngine();
const key = ecPair();
const signing = { key: key.privateKey, algorithm: 'ES256', keyId: 'k1', scope: 'live' };
const content = { modules: [decisionModule(true)], data: parseExactJson('{"q":{"n":1.50}}'), revision: '5' };
const bundle = await opaBundle({ ...content, signing }, engine);
const family = tamperings({
  bundle: await opaBundle({ ...content, modules: [decisionModule(false)], revision: '6', signing }, engine),
  key,
  unsigned: await opaBundle(content, engine),
  bySomebodyElse: await opaBundle({ ...content, signing: { ...signing, key: ecPair().privateKey } }, engine),
  forAnotherScope: await opaBundle({ ...content, signing: { ...signing, scope: 'test' } }, engine),
});

let folder: string;
let policy: TestPolicy;

function put(bytes: Uint8Array): void {
  writeFileSync(join(folder, 'draft'), bytes);
  renameSync(join(folder, 'draft'), join(folder, 'bundle.tar.gz'));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-bundle-'));
  writeFileSync(join(folder, 'k1.pem'), key.publicKey);
  put(bundle);
  const keys = [{ id: 'k1', algorithm: 'ES256', public_key_file: 'k1.pem' }];
  const signed = {
    name: 'policy',
    file: 'bundle.tar.gz',
    signing: { scope: 'live' },
    unpacked_limit_bytes: 67_108_864,
  };
  const settings = { bundles: [signed], keys, watch: false };
  policy = await startTestPolicy(settings, {}, folder);
});

afterAll(async () => {
  await policy.close();
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('the policy in force stays, and it is said why', () => {
  const offers: [string, RegExp, () => Uint8Array | Promise<Uint8Array>][] = [
    ...family.map(({ name, says, make }): [string, RegExp, () => Uint8Array] => [name, says, make]),
    ['an older revision', /roll-back/, () => opaBundle({ ...content, revision: '4', signing }, engine)],
    ['no revision', /no revision/, () => opaBundle({ modules: content.modules, data: {}, signing }, engine)],
    [
      'a policy that does not compile',
      /does not compile[\s\S]*p\.rego:3/,
      () =>
        opaBundle(
          {
            ...content,
            modules: [{ path: 'p.rego', text: 'package sallyport\n\ndecision := x\n' }],
            revision: '7',
            signing,
          },
          engine,
        ),
    ],
    [
      'a built-in function that the gateway does not have',
      /http\.send/,
      () =>
        opaBundle(
          {
            ...content,
            modules: [
              { path: 'p.rego', text: 'package sallyport\n\ndecision := http.send({"url": "x", "method": "get"})\n' },
            ],
            revision: '7',
            signing,
            capabilities: 'opa',
          },
          engine,
        ),
    ],
    [
      'a policy without the entrypoint',
      /entrypoint|sallyport\/decision/,
      () =>
        opaBundle(
          { ...content, modules: [{ path: 'p.rego', text: 'package other\n\nx := 1\n' }], revision: '7', signing },
          engine,
        ),
    ],
    [
      'a policy that fails on the sample requests',
      /fails on a sample/,
      () =>
        opaBundle(
          {
            ...content,
            modules: [{ path: 'p.rego', text: 'package sallyport\n\ndecision := x if some x in [1, 2]\n' }],
            revision: '7',
            signing,
          },
          engine,
        ),
    ],
    [
      'WASM that is none',
      /not a WASM policy|not one|WASM/,
      () =>
        opaBundle(
          {
            ...content,
            revision: '7',
            signing,
            wasm: { module: Buffer.from('no'), entrypoints: ['sallyport/decision'] },
          },
          engine,
        ),
    ],
  ];

  it.each(offers)('%s', async (_name, says, make) => {
    const { holder } = policy.source;
    const before = holder.status();
    put(await make());
    expect(await policy.source.rebuild()).toBe(false);
    const after = holder.status();
    expect(after.revision).toBe(before.revision);
    expect(after.failures).toBe(before.failures + 1);
    expect(after.pendingFailure).toMatch(says);
    expect(policy.lines.at(-1)).toMatchObject({ level: 'error', why: expect.stringMatching(says) });
    expect(policy.allows()).toBe(true);
    expect(policy.source.bundles?.()).toMatchObject([{ revision: '5', problem: expect.stringMatching(says) }]);
  });

  it('and a newer bundle takes its place afterwards, with nothing left of the failures', async () => {
    put(await opaBundle({ ...content, modules: [decisionModule(false)], revision: '10', signing }, engine));
    expect(await policy.source.rebuild()).toBe(true);
    expect(policy.allows()).toBe(false);
    expect(policy.source.holder.status()).toMatchObject({ pendingFailure: null, activations: 2 });
    expect(policy.source.holder.live().bundles).toBe('{"policy":{"revision":"10"}}');
  });
});
