import { createHash } from 'node:crypto';
import { isDocument, parseExactJson } from '../policy/exact_json.ts';
import { isNestedDeeper } from '../policy/nesting.ts';
import type { BundleVerification } from '../rego/bundle.ts';
import { type OpenedBundle, openBundle } from '../rego/open_bundle.ts';
import {
  type Bundle,
  type BundleDelta,
  BundleRefused,
  type CompiledEntrypoint,
  type PatchOperation,
} from './bundle.ts';

/** What a bundle of one source must be. */
export interface BundleRules {
  /** Bytes of the whole bundle once unpacked. */
  readonly unpackedBytes: number;
  /** Present: signed in this way; a delta bundle, which cannot be, is refused. */
  readonly verification?: BundleVerification | undefined;
}

/** Milliseconds that reading one bundle may take. */
const READ_TIMEOUT_MS = 60_000;

/** Reads a `bundle.tar.gz`. @throws BundleRefused; RegoEngineError when OPA could not be asked */
export async function readBundleFile(bytes: Uint8Array, rules: BundleRules): Promise<Bundle | BundleDelta> {
  const { verification, unpackedBytes: unpackedLimit } = rules;
  const opened = await openBundle(bytes, { verification, unpackedLimit }, undefined, { timeoutMs: READ_TIMEOUT_MS });
  if (!opened.ok) throw new BundleRefused(opened.code, opened.refusal);
  const digest = createHash('sha256').update(bytes).digest('hex');
  const { bundle } = opened;
  const { revision, roots = [''] } = bundle.manifest;
  if (bundle.type === 'delta') return { type: 'delta', revision, roots, patch: patchOf(bundle), digest };
  return {
    type: 'snapshot',
    revision,
    roots,
    modules: bundle.modules.filter(({ path }) => !path.endsWith('_test.rego')),
    regoVersion: regoVersionOf(bundle),
    data: documentOf(bundle.dataText),
    compiled: compiledOf(bundle),
    digest,
  };
}

function documentOf(text: string): Bundle['data'] {
  const data = parseExactJson(text);
  if (!isDocument(data)) throw new BundleRefused('content', 'its data is not an object');
  if (isNestedDeeper(data)) throw new BundleRefused('content', 'its data is nested too deeply');
  return data;
}

function patchOf({ patchText = '[]' }: OpenedBundle): readonly PatchOperation[] {
  return parseExactJson(patchText) as PatchOperation[];
}

function regoVersionOf({ manifest }: OpenedBundle): 1 | -1 {
  if (manifest.file_rego_versions !== undefined) {
    throw new BundleRefused('content', 'its manifest has file_rego_versions; one rego_version for all is supported');
  }
  return manifest.rego_version === 0 ? -1 : 1;
}

/** OPA's reader has made sure that each module is there. */
function compiledOf({ manifest, wasm }: OpenedBundle): readonly CompiledEntrypoint[] {
  return (manifest.wasm ?? []).flatMap(({ entrypoint, module }) => {
    const found = wasm.find(({ path }) => path === module);
    return found === undefined ? [] : [{ entrypoint, wasm: found.wasm }];
  });
}
