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
}

/** What an artifact is made of. */
export interface ArtifactParts {
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** The base document; must be what JSON can say. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly entrypoint: string;
}

/** Puts a compiled policy and its data together under a revision. The same parts, members in the same order, have the same revision. */
export function makeArtifact({ wasm, data, entrypoint }: ArtifactParts): PolicyArtifact {
  const text = JSON.stringify(data);
  const hash = createHash('sha256');
  // Each part with its length before it, so that no two splits of the same bytes are one revision.
  for (const part of [wasm, Buffer.from(text), Buffer.from(entrypoint)]) hash.update(`${part.length}:`).update(part);
  return { revision: `sha256:${hash.digest('hex')}`, wasm, data: text, entrypoint };
}
