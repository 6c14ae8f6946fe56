import { describe, expect, it } from 'vitest';
import { makeArtifact } from '../../src/policy/artifact.ts';

const wasm = new Uint8Array([0, 1, 2, 3]);
const base = { wasm, data: { a: 1 }, entrypoint: 'sallyport/decision' };

describe('a policy artifact', () => {
  it('is named by what is in it', () => {
    expect(makeArtifact(base)).toEqual(makeArtifact({ ...base, wasm: wasm.slice() }));
    expect(makeArtifact(base).revision).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it('has another revision when anything in it differs', () => {
    const revisions = [
      base,
      { ...base, wasm: new Uint8Array([0, 1, 2, 4]) },
      { ...base, data: { a: 2 } },
      { ...base, entrypoint: 'sallyport/other' },
      // The same bytes, split elsewhere.
      { ...base, wasm: wasm.slice(0, 3), data: { a: 1 } },
    ].map((parts) => makeArtifact(parts).revision);
    expect(new Set(revisions).size).toBe(revisions.length);
  });

  it('survives being sent to another process', () => {
    const artifact = makeArtifact(base);
    expect(structuredClone(artifact)).toEqual(artifact);
  });
});
