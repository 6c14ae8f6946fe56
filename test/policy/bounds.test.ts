import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PolicyEngine } from '../../src/policy/engine.ts';
import { INPUT_LIMIT_BYTES } from '../../src/policy/input.ts';
import { compileRego, regoEngine } from '../support/rego.ts';

/** What hostile documents do to a policy that walks, compares and collects: one evaluation fails, the next one is as ever. */

const REGO = `package sallyport

decision := {"allow": count(paths) > 0} if input.ask == "walk"

decision := {"allow": count(pairs) > 0} if input.ask == "pairs"

decision := {"allow": input.list[count(input.list) - 1] == 0} if input.ask == "last"

decision := {"allow": true} if input.ask == "plain"

paths contains path if [path, _] := walk(input)

pairs contains [x, y] if {
	some x in input.list
	some y in input.list
}
`;

let engine: PolicyEngine;
beforeAll(async () => {
  engine = await PolicyEngine.load(await compileRego(REGO));
});
afterAll(() => regoEngine.close());

const ask = (question: string, rest: Record<string, unknown> = {}) =>
  engine.evaluate(JSON.stringify({ ask: question, ...rest }), 0);
const nested = (levels: number) => `{"ask":"walk","deep":${'['.repeat(levels)}${']'.repeat(levels)}}`;
const isPlain = () => expect(ask('plain')).toEqual([{ allow: true }]);

describe('an evaluation is bounded', { timeout: 60_000 }, () => {
  it('by nesting: what the gateway lets through is walked, and what would overflow the stack fails alone', () => {
    expect(engine.evaluate(nested(64), 0)).toEqual([{ allow: true }]);
    // Deeper than any request may be: the gateway refuses it before a policy is asked.
    for (const levels of [20_000, 60_000]) {
      let failed = false;
      try {
        engine.evaluate(nested(levels), 0);
      } catch (error) {
        failed = true;
        expect(error).toBeInstanceOf(Error);
      }
      if (levels === 60_000) expect(failed).toBe(true);
      isPlain();
    }
  });

  it('by memory: a product of lists that does not fit fails alone, and its instance is given up', () => {
    expect(() => ask('pairs', { list: Array.from({ length: 5000 }, (_, index) => index) })).toThrow();
    expect(engine.memoryBytes).toBe(0);
    isPlain();
  });

  it('by the size of its input: the largest is judged, a larger one is not', () => {
    const list = Array.from({ length: Math.floor((INPUT_LIMIT_BYTES - 100) / 2) }, () => 0);
    expect(ask('last', { list })).toEqual([{ allow: true }]);
    isPlain();
    expect(() => ask('last', { list: [...list, ...list] })).toThrow(/more than 262144 bytes/);
    isPlain();
  });

  it('and leaves memory as it was, over hundreds of evaluations that fail, succeed and grow', () => {
    isPlain();
    const before = engine.memoryBytes;
    const some = { list: Array.from({ length: 40 }, (_, index) => index) };
    for (let round = 0; round < 900; round++) {
      ask('pairs', some);
      if (round % 300 === 0) expect(() => ask('pairs', { list: Array.from({ length: 3000 }, (_, i) => i) })).toThrow();
      ask('plain');
    }
    expect(engine.memoryBytes).toBe(before);
  });
});
