import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPolicy } from '../../src/rego/build.ts';
import { type BundleVerification, type BundleWriteRequest, readBundle, writeBundle } from '../../src/rego/bundle.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());

const modules = [{ path: 'p/p.rego', text: 'package p\n\n# kept\nx   := 1\n' }];
let privateKey: string;
let publicKey: string;

beforeAll(() => {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  privateKey = keys.privateKey.export({ type: 'sec1', format: 'pem' }).toString();
  publicKey = keys.publicKey.export({ type: 'spki', format: 'pem' }).toString();
});

async function write(request: Partial<BundleWriteRequest> = {}): Promise<Uint8Array> {
  const written = await writeBundle({ modules, data: { q: { n: 1 } }, revision: 'r1', ...request }, engine);
  if (!written.ok) throw new Error(JSON.stringify(written.diagnostics));
  return written.bundle;
}

const signing = () => ({ key: privateKey, algorithm: 'ES256', keyId: 'k1', scope: 'live' });
const verification = (rest: Partial<BundleVerification> = {}): BundleVerification => ({
  keys: { k1: { key: publicKey, algorithm: 'ES256' } },
  scope: 'live',
  ...rest,
});

describe("bundles of OPA's own writer and reader", () => {
  it('hold modules, data, manifest and WASM', async () => {
    const built = await buildPolicy({ modules, entrypoints: ['p/x'] }, engine);
    if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
    const wasm = { module: built.wasm, entrypoints: built.entrypoints };
    const read = await readBundle(await write({ wasm, roots: ['p', 'q'] }), undefined, engine);
    if (!read.ok) throw new Error(read.refusal);
    expect(read.bundle).toMatchObject({
      type: 'snapshot',
      manifest: { revision: 'r1', roots: ['p', 'q'], wasm: [{ entrypoint: 'p/x', module: '/policy.wasm' }] },
      modules: [{ path: '/p/p.rego', text: modules[0]?.text }],
      dataText: '{"q":{"n":1}}',
      signatures: [],
      patch: [],
    });
    expect(read.bundle.wasm).toEqual([{ path: '/policy.wasm', wasm: built.wasm }]);
  });

  it('are accepted with the right key and scope', async () => {
    const bundle = await write({ signing: signing() });
    const read = await readBundle(bundle, verification(), engine);
    expect(read).toMatchObject({ ok: true, bundle: { signatures: [expect.stringMatching(/^ey/)] } });
  });

  it('are refused with another scope, another key, and unsigned', async () => {
    const bundle = await write({ signing: signing() });
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' });
    const keys = { k1: { key: other.toString(), algorithm: 'ES256' } };
    expect(await readBundle(bundle, verification({ scope: 'test' }), engine)).toEqual({
      ok: false,
      refusal: 'scope mismatch',
    });
    expect(await readBundle(bundle, verification({ keys }), engine)).toMatchObject({ ok: false });
    expect(await readBundle(await write(), verification(), engine)).toMatchObject({ ok: false });
  });

  it('can be signed with a secret', async () => {
    const bundle = await write({ signing: { key: 'a secret of some length', algorithm: 'HS256' } });
    const keys = { shared: { key: 'a secret of some length', algorithm: 'HS256' } };
    expect(await readBundle(bundle, { keys, keyId: 'shared' }, engine)).toMatchObject({ ok: true });
  });

  it('are refused when broken', async () => {
    const bundle = await write();
    expect(await readBundle(bundle.subarray(0, 100), undefined, engine)).toMatchObject({ ok: false });
    expect(await readBundle(new Uint8Array(), undefined, engine)).toMatchObject({ ok: false });
  });

  it('are not written of modules that do not parse', async () => {
    const written = await writeBundle({ modules: [{ path: 'p.rego', text: 'package' }] }, engine);
    expect(written).toMatchObject({ ok: false, diagnostics: [{ file: 'p.rego', row: 1 }] });
  });
});
