import type { RegoModule } from '../rego/policy_source.ts';

/** The base document of a bundle, or a part of it; numbers may have kept their spelling (exact_json.ts). */
export type BundleData = Readonly<Record<string, unknown>>;

/** A whole bundle (a snapshot, in OPA's words), opened and checked. */
export interface Bundle {
  readonly type: 'snapshot';
  /** As the manifest says; empty where it says nothing. */
  readonly revision: string;
  /** Paths below data that belong to this bundle, such as `sallyport/tables`; an empty path is all of data. */
  readonly roots: readonly string[];
  /** Rego, without tests. */
  readonly modules: readonly RegoModule[];
  readonly regoVersion: 1 | -1;
  readonly data: BundleData;
  /** Rules that a WASM module of the bundle answers. */
  readonly compiled: readonly CompiledEntrypoint[];
  /** SHA-256 of the file that it came in, hexadecimal; of a bundle that was changed since, of the file of the last change. */
  readonly digest: string;
}

/** One rule, as a path below data, and the module that answers it. */
export interface CompiledEntrypoint {
  readonly entrypoint: string;
  readonly wasm: Uint8Array<ArrayBuffer>;
}

/** Changes to the data of the bundle before. */
export interface BundleDelta {
  readonly type: 'delta';
  readonly revision: string;
  readonly roots: readonly string[];
  readonly patch: readonly PatchOperation[];
  readonly digest: string;
}

/** One change, with a path as OPA writes it: segments with `/`, `~0` and `~1` as in JSON pointers. */
export interface PatchOperation {
  readonly op: string;
  readonly path: string;
  readonly value?: unknown;
}

/**
 * Why a bundle is not used: what is wrong with the archive, its signature, its content, its age, or with what it would be part of.
 * The message is for people.
 */
export class BundleRefused extends Error {
  readonly code: 'archive' | 'signature' | 'content' | 'older' | 'policy';

  constructor(code: BundleRefused['code'], message: string) {
    super(message);
    this.name = 'BundleRefused';
    this.code = code;
  }
}

/** What is shown of a bundle's revision: the manifest's word, or its digest where the manifest has none. */
export function shownRevision({ revision, digest }: Pick<Bundle, 'revision' | 'digest'>): string {
  return revision === '' ? `sha256:${digest}` : revision;
}
