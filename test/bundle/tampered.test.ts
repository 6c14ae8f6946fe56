import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { parseExactJson } from '../../src/policy/exact_json.ts';
import { readBundle } from '../../src/rego/bundle.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { type BundleOpenResult, openBundle } from '../../src/rego/open_bundle.ts';
import { decisionModule, ecPair, opaBundle, repack, replaced } from '../support/bundles.ts';
import { tamperings } from '../support/tampered_bundles.ts';
import { tarGz, untar } from '../support/tar.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());

const key = ecPair();
const verification = { keys: { k1: { key: key.publicKey, algorithm: 'ES256' } }, scope: 'live' };
const UNPACKED_LIMIT = 67_108_864;

function open(bundle: Uint8Array): Promise<BundleOpenResult> {
  return openBundle(bundle, { verification, unpackedLimit: UNPACKED_LIMIT }, engine);
}

const content = { modules: [decisionModule(false)], data: parseExactJson('{"q":{"n":1.50}}'), revision: 'r1' };
const signing = { key: key.privateKey, algorithm: 'ES256', keyId: 'k1', scope: 'live' };
const bundle = await opaBundle({ ...content, signing }, engine);
const family = tamperings({
  bundle,
  key,
  unsigned: await opaBundle(content, engine),
  bySomebodyElse: await opaBundle({ ...content, signing: { ...signing, key: ecPair().privateKey } }, engine),
  forAnotherScope: await opaBundle({ ...content, signing: { ...signing, scope: 'test' } }, engine),
});

describe('signed bundles', () => {
  it("of OPA's own code are accepted, and their numbers stay as they are spelled", async () => {
    expect(await open(bundle)).toMatchObject({ ok: true, bundle: { type: 'snapshot', dataText: '{"q":{"n":1.50}}' } });
    expect(await readBundle(bundle, verification, engine)).toMatchObject({ ok: true });
  });

  it('may be packed in another way: other order, other spaces and order of members in data and manifest', async () => {
    const other = repack(bundle, (entries) =>
      replaced(entries, '/data.json', () => '\n{ "q" : { "n" : 1.50 } }\n').reverse(),
    );
    expect(await open(other)).toMatchObject({ ok: true });
    const folders = tarGz([{ name: 'sallyport/', type: '5' }, ...untar(gunzipSync(bundle))]);
    expect(await open(folders)).toMatchObject({ ok: true });
  });

  it.each(family.map((one) => [one.name, one] as const))('are refused with %s', async (_name, { code, says, make }) => {
    const opened = await open(make());
    expect(opened).toMatchObject({ ok: false, code });
    expect(opened.ok ? '' : opened.refusal).toMatch(says);
  });
});
