import { makeArtifact } from '../policy/artifact.ts';
import { activatePolicy } from '../policy/load.ts';
import { buildPolicy } from '../rego/build.ts';
import { type BundleWriteRequest, type BundleWriteResult, writeBundle } from '../rego/bundle.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import { type Finding, withHint } from './check.ts';
import type { PolicyProject } from './project.ts';

/** What is built. */
export interface PackageRequest {
  /** The rule that the gateway asks, such as `sallyport/decision`. */
  readonly entrypoint: string;
  /** `wasm`: the module alone, without data. `bundle`: a `bundle.tar.gz` of OPA with modules, data and the WASM module. */
  readonly form: 'wasm' | 'bundle';
  /** Of the bundle. Default: the digest of policy, data and entrypoint that the gateway would name in its records. */
  readonly revision?: string;
  /** Of the bundle: the parts of data that belong to it. Default: all. */
  readonly roots?: readonly string[];
  /** Of the bundle: how it is signed. Default: not at all. */
  readonly signing?: NonNullable<BundleWriteRequest['signing']>;
}

/** A policy ready to be shipped, or what stands in the way. */
export type PackageResult =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly revision: string }
  | { readonly ok: false; readonly findings: readonly Finding[] };

/**
 * Compiles a folder, tries the result as the gateway does before it uses a policy, and packs it.
 * @throws Error that says why the gateway would not use it
 */
export async function packagePolicy(
  { modules, data }: PolicyProject,
  request: PackageRequest,
  engine: RegoEngine,
): Promise<PackageResult> {
  const { entrypoint, form } = request;
  const built = await buildPolicy({ modules, data, entrypoints: [entrypoint] }, engine);
  if (!built.ok) return { ok: false, findings: built.diagnostics.map(withHint) };
  const artifact = makeArtifact({ wasm: built.wasm, data, entrypoint });
  await activatePolicy(artifact);
  const { revision = artifact.revision } = request;
  if (form === 'wasm') return { ok: true, bytes: built.wasm, revision };
  const wasm = { module: built.wasm, entrypoints: built.entrypoints };
  const { roots, signing } = request;
  const options = { ...(roots === undefined ? {} : { roots }), ...(signing === undefined ? {} : { signing }) };
  const written: BundleWriteResult = await writeBundle({ modules, data, revision, wasm, ...options }, engine);
  if (!written.ok) return { ok: false, findings: written.diagnostics.map(withHint) };
  return { ok: true, bytes: written.bundle, revision };
}
