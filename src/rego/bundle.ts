import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import { policyRequest, type RegoDiagnostic, type RegoModule, type RegoPolicy } from './policy_source.ts';

/** What a bundle's signature must satisfy. */
export interface BundleVerification {
  /** Public keys by key id: PEM text, or the secret itself for HS256 and its like. */
  readonly keys: Readonly<
    Record<string, { readonly key: string; readonly algorithm: string; readonly scope?: string }>
  >;
  /** The key to use, whatever the signature names. */
  readonly keyId?: string;
  readonly scope?: string;
  /** Files that need not be signed, as patterns. */
  readonly exclude?: readonly string[];
}

/** A bundle as OPA reads it. */
export interface BundleContent {
  readonly type: 'snapshot' | 'delta';
  /** The manifest in OPA's own format. */
  readonly manifest: {
    readonly revision: string;
    readonly roots?: readonly string[];
    readonly wasm?: readonly { readonly entrypoint: string; readonly module: string }[];
    readonly rego_version?: number;
    readonly file_rego_versions?: Readonly<Record<string, number>>;
    readonly metadata?: Readonly<Record<string, unknown>>;
  };
  readonly modules: readonly RegoModule[];
  /** The base document as JSON text, in which numbers are spelled as in the bundle. */
  readonly dataText: string;
  readonly wasm: readonly { readonly path: string; readonly wasm: Uint8Array<ArrayBuffer> }[];
  /** Of a delta bundle: the changes to data. */
  readonly patch: readonly { readonly op: string; readonly path: string; readonly value?: unknown }[];
  /** The JWS texts of `.signatures.json`. */
  readonly signatures: readonly string[];
}

/** A bundle, or OPA's reason for not accepting it. */
export type BundleReadResult =
  | { readonly ok: true; readonly bundle: BundleContent }
  | { readonly ok: false; readonly refusal: string };

/** A bundle to write. */
export interface BundleWriteRequest extends RegoPolicy {
  readonly revision?: string;
  readonly roots?: readonly string[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** A compiled policy, with the entrypoints it has. */
  readonly wasm?: { readonly module: Uint8Array; readonly entrypoints: readonly string[] };
  /** The private key as PEM text (or the secret for HS*); `scope` is for verifiers that ask for one. */
  readonly signing?: {
    readonly key: string;
    readonly algorithm: string;
    readonly keyId?: string;
    readonly scope?: string;
  };
}

/** A `bundle.tar.gz`, or what is wrong with its modules. */
export type BundleWriteResult =
  | { readonly ok: true; readonly bundle: Uint8Array<ArrayBuffer> }
  | { readonly ok: false; readonly diagnostics: readonly RegoDiagnostic[] };

interface ReadAnswer {
  readonly bundle?: Omit<BundleContent, 'wasm' | 'patch'> & {
    readonly wasm: readonly { readonly path: string; readonly wasm: string }[];
    readonly patch?: BundleContent['patch'];
  };
  readonly refusal?: string;
}

const decode = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(base64, 'base64'));
const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** Reads a `bundle.tar.gz` with OPA's own reader; with `verification`, its signature is necessary and checked. */
export async function readBundle(
  bundle: Uint8Array,
  verification?: BundleVerification,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<BundleReadResult> {
  const call = { bundle: encode(bundle), verification };
  const { bundle: content, refusal } = await engine.call<ReadAnswer>('bundle_read', call, options);
  if (content === undefined) return { ok: false, refusal: refusal ?? 'OPA gave no reason' };
  const wasm = content.wasm.map((file) => ({ path: file.path, wasm: decode(file.wasm) }));
  return { ok: true, bundle: { ...content, wasm, patch: content.patch ?? [] } };
}

/** Writes a `bundle.tar.gz` with OPA's own writer, signed where a key is given. Modules keep their text. */
export async function writeBundle(
  request: BundleWriteRequest,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<BundleWriteResult> {
  const { revision, roots, metadata, wasm, signing } = request;
  const compiled = wasm === undefined ? {} : { wasm: encode(wasm.module), entrypoints: wasm.entrypoints };
  const call = { ...policyRequest(request, engine), revision, roots, metadata, signing, ...compiled };
  type Answer = { readonly bundle?: string; readonly diagnostics?: readonly RegoDiagnostic[] };
  const answer = await engine.call<Answer>('bundle_write', call, options);
  if (answer.bundle === undefined) return { ok: false, diagnostics: answer.diagnostics ?? [] };
  return { ok: true, bundle: decode(answer.bundle) };
}
