import { generateKeyPairSync } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { type BundleWriteRequest, writeBundle } from '../../src/rego/bundle.ts';
import type { RegoEngine } from '../../src/rego/engine_host.ts';
import { type TarEntry, tarGz, untar } from './tar.ts';

/** A key pair in PEM form. */
export interface PemPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** A key for ES256. */
export function ecPair(): PemPair {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    privateKey: keys.privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
    publicKey: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** A policy whose decision is what `allow` says. */
export function decisionModule(allow: boolean): { path: string; text: string } {
  return { path: 'sallyport/decision.rego', text: `package sallyport\n\ndecision := {"allow": ${allow}}\n` };
}

/** A bundle as OPA's own writer makes it; what cannot be written fails the test. */
export async function opaBundle(request: BundleWriteRequest, engine: RegoEngine): Promise<Buffer> {
  const written = await writeBundle(request, engine);
  if (!written.ok) throw new Error(JSON.stringify(written.diagnostics));
  return Buffer.from(written.bundle);
}

/** The bundle with its entries changed. */
export function repack(bundle: Uint8Array, change: (entries: TarEntry[]) => readonly TarEntry[]): Buffer {
  return tarGz(change(untar(gunzipSync(bundle))));
}

/** The entries, one of them with another content. */
export function replaced(entries: readonly TarEntry[], name: string, change: (content: string) => string): TarEntry[] {
  return entries.map((entry) =>
    entry.name === name ? { ...entry, content: change(Buffer.from(entry.content ?? '').toString('utf8')) } : entry,
  );
}
