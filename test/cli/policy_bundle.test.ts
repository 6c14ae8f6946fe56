import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBundle } from '../../src/rego/bundle.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { openBundle } from '../../src/rego/open_bundle.ts';
import { decisionModule, ecPair } from '../support/bundles.ts';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');
const engine = new RegoEngine();
const key = ecPair();
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-sign-'));
  mkdirSync(join(folder, 'rego'));
  writeFileSync(join(folder, 'rego/decision.rego'), decisionModule(true).text);
  writeFileSync(join(folder, 'key.pem'), key.privateKey, { mode: 0o600 });
});
afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...flags: string[]) => [
  MAIN,
  'policy',
  'bundle',
  join(folder, 'rego'),
  '--output',
  join(folder, 'b.tar.gz'),
  ...flags,
];

describe('sallyport policy bundle --sign', () => {
  it("writes what OPA's own reader and the gateway accept, and nobody else's key verifies", async () => {
    const out = execFileSync(
      process.execPath,
      run('--sign', join(folder, 'key.pem'), '--key-id', 'k1', '--scope', 'live', '--revision', '7', '--json'),
      { encoding: 'utf8' },
    );
    expect(JSON.parse(out)).toMatchObject({ ok: true, revision: '7', signed: true });
    const bundle = readFileSync(join(folder, 'b.tar.gz'));
    const verification = { keys: { k1: { key: key.publicKey, algorithm: 'ES256' } }, scope: 'live' };
    expect(await readBundle(bundle, verification, engine)).toMatchObject({ ok: true });
    const opened = await openBundle(bundle, { verification, unpackedLimit: 10_000_000 }, engine);
    expect(opened).toMatchObject({
      ok: true,
      bundle: { manifest: { revision: '7', wasm: [{ entrypoint: 'sallyport/decision' }] } },
    });
    const other = { ...verification, keys: { k1: { key: ecPair().publicKey, algorithm: 'ES256' } } };
    expect(await openBundle(bundle, { verification: other, unpackedLimit: 10_000_000 }, engine)).toMatchObject({
      ok: false,
      code: 'signature',
    });
  });

  it('says what is wrong with a key, and that the algorithm is not known', () => {
    const noKey = spawnSync(process.execPath, run('--sign', join(folder, 'rego/decision.rego')), { encoding: 'utf8' });
    expect([noKey.status, noKey.stderr]).toEqual([1, expect.stringContaining('expected a private key in PEM form')]);
    const unknown = spawnSync(process.execPath, run('--sign', join(folder, 'key.pem'), '--algorithm', 'none'), {
      encoding: 'utf8',
    });
    expect(unknown.status).toBe(2);
  });
});
