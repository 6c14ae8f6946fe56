import type { BundleContent, BundleVerification } from './bundle.ts';
import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';

/** What a bundle may be at most, and what its signature must satisfy. */
export interface BundleOpenRules {
  /** Present: the bundle must be signed, and cannot be a delta bundle. */
  readonly verification?: BundleVerification | undefined;
  /** Bytes of the whole archive once unpacked. */
  readonly unpackedLimit: number;
}

/** A bundle with its data and its changes as JSON text, in which numbers are spelled as in the bundle. */
export type OpenedBundle = Omit<BundleContent, 'patch'> & { readonly patchText?: string };

/** A bundle, or why it is not accepted: for what the archive is, for its signature, or for what it holds. */
export type BundleOpenResult =
  | { readonly ok: true; readonly bundle: OpenedBundle }
  | { readonly ok: false; readonly code: 'archive' | 'signature' | 'content'; readonly refusal: string };

/** Entries of one bundle. */
const ENTRY_LIMIT = 10_000;

interface OpenAnswer {
  readonly bundle?: Omit<OpenedBundle, 'wasm'> & {
    readonly wasm: readonly { readonly path: string; readonly wasm: string }[];
  };
  readonly refusal?: string;
  readonly code?: 'archive' | 'signature' | 'content';
}

/**
 * Reads a `bundle.tar.gz` that comes from elsewhere: the archive so that there is one way to read it only, then with OPA's own reader and
 * verifier, then what these let pass (engine/bundle_open.go).
 */
export async function openBundle(
  bundle: Uint8Array,
  { verification, unpackedLimit }: BundleOpenRules,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<BundleOpenResult> {
  const call = { bundle: Buffer.from(bundle).toString('base64'), verification, unpackedLimit, entryLimit: ENTRY_LIMIT };
  const { bundle: content, refusal, code } = await engine.call<OpenAnswer>('bundle_open', call, options);
  if (content === undefined) return { ok: false, code: code ?? 'content', refusal: refusal ?? 'OPA gave no reason' };
  const wasm = content.wasm.map((file) => ({
    path: file.path,
    wasm: Uint8Array.from(Buffer.from(file.wasm, 'base64')),
  }));
  return { ok: true, bundle: { ...content, wasm } };
}
