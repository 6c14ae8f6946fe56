import { writeBundle } from '../rego/bundle.ts';
import type { Bundle } from './bundle.ts';

/** Writes a bundle as a `bundle.tar.gz` of OPA, unsigned. @throws Error that says why that cannot be done */
export async function writeSnapshot({
  modules,
  data,
  revision,
  roots,
  regoVersion,
  compiled,
}: Bundle): Promise<Uint8Array> {
  const [first] = compiled;
  const entrypoints = compiled.filter(({ wasm }) => wasm === first?.wasm).map(({ entrypoint }) => entrypoint);
  if (entrypoints.length < compiled.length) throw new Error('it has several WASM modules, which cannot be written');
  const written = await writeBundle({
    modules,
    data,
    revision,
    roots,
    regoVersion,
    capabilities: 'opa',
    ...(first === undefined ? {} : { wasm: { module: first.wasm, entrypoints } }),
  });
  if (!written.ok) throw new Error(written.diagnostics.map(({ message }) => message).join('; '));
  return written.bundle;
}
