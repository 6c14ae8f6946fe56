import { createHash } from 'node:crypto';

/** A compiled policy with its data: plain, so that it can be sent to other processes. */
export interface PolicyArtifact {
  /** Names exactly this policy, data and entrypoint: `sha256:` and 64 hexadecimal digits. */
  readonly revision: string;
  /** The WASM module. */
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** The base document, `data` in Rego, as JSON text of an object. */
  readonly data: string;
  /** The rule that is asked, as a path below data: `sallyport/decision`. */
  readonly entrypoint: string;
  /** The bundles that it was made of; absent where it was made of none. */
  readonly bundles?: readonly NamedRevision[];
}

/** A bundle by its name, and which one of that name it is. */
export interface NamedRevision {
  readonly name: string;
  readonly revision: string;
}

/** What an artifact is made of. */
export interface ArtifactParts {
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** The base document; must be what JSON can say. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly entrypoint: string;
  readonly bundles?: readonly NamedRevision[];
}

/** Puts a compiled policy and its data together under a revision. The same parts, members in the same order, have the same revision. */
export function makeArtifact({ wasm, data, entrypoint, bundles }: ArtifactParts): PolicyArtifact {
  const text = JSON.stringify(data);
  const hash = createHash('sha256');
  const parts = [wasm, Buffer.from(text), Buffer.from(entrypoint)];
  if (bundles !== undefined) parts.push(Buffer.from(JSON.stringify(bundles)));
  // Each part with its length before it, so that no two splits of the same bytes are one revision.
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  const revision = `sha256:${hash.digest('hex')}`;
  return { revision, wasm, data: text, entrypoint, ...(bundles === undefined ? {} : { bundles }) };
}
