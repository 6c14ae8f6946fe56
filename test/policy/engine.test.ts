import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeArtifact, type PolicyArtifact } from '../../src/policy/artifact.ts';
import { PolicyEngine } from '../../src/policy/engine.ts';
import { INPUT_LIMIT_BYTES } from '../../src/policy/input.ts';
import { PolicyModuleError } from '../../src/policy/policy_module.ts';
import { compileRego, regoEngine } from '../support/rego.ts';

const NOW_MS = 1_795_376_000_123;

/** What an evaluation does is chosen by input.do. */
const REGO = `package t

decision := input.value if input.do == "echo"

decision := data.answer if input.do == "data"

decision := data.jobs[input.name].id if input.do == "look up"

decision := json.marshal(time.now_ns()) if input.do == "time"

decision := sprintf(input.format, [1]) if input.do == "built-in"

decision := count(numbers.range(1, input.count)) if input.do == "grow"

decision := 1 / input.zero if input.do == "divide"

decision := 1 if input.do == "conflict"

decision := 2 if input.do == "conflict"

decision := true if {
	input.do == "print"
	print("a line of the policy")
}
`;

let artifact: PolicyArtifact;
let engine: PolicyEngine;

const ask = (input: unknown, nowMs = NOW_MS) => engine.evaluate(JSON.stringify(input), nowMs);

beforeAll(async () => {
  artifact = await compileRego(REGO, { entrypoint: 't/decision', data: { answer: ['from', 'data'] } });
  engine = await PolicyEngine.load(artifact);
});

afterAll(() => regoEngine.close());

describe('an evaluation', () => {
  it('yields the value of the rule', () => {
    for (const value of [null, true, false, 0, -1.5, '', 'text', 'ü😀', [], {}, { a: [1, { b: null }] }]) {
      expect(ask({ do: 'echo', value })).toEqual([value]);
    }
  });

  it('yields nothing where the rule is undefined', () => {
    expect(ask({ do: 'nothing' })).toEqual([]);
    expect(ask({ do: 'divide', zero: 0 })).toEqual([]);
  });

  it('keeps control characters, also the one that ends a text in C', () => {
    const value = 'a\u0000b\u001b\u007f\u2028\ud83d\ude00"\\';
    expect(ask({ do: 'echo', value })).toEqual([value]);
  });

  it('sees the data of the artifact', () => {
    expect(ask({ do: 'data' })).toEqual([['from', 'data']]);
  });

  it('sees the time of the request', () => {
    expect(ask({ do: 'time' })).toEqual(['1795376000123000000']);
    expect(ask({ do: 'time' }, 5)).toEqual(['5000000']);
  });

  it('does not depend on the evaluation before it', () => {
    for (let i = 0; i < 50; i++) {
      const value = { [`member-${i}`]: 'x'.repeat(i * 500) };
      expect(ask({ do: 'echo', value })).toEqual([value]);
      expect(ask({ do: 'echo' })).toEqual([]);
    }
  });

  it('prints nothing to the console', () => {
    const spies = (['log', 'error', 'warn', 'info', 'debug'] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation(() => undefined),
    );
    try {
      expect(ask({ do: 'print' })).toEqual([true]);
      for (const spy of spies) expect(spy).not.toHaveBeenCalled();
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
  });
});

describe('an evaluation that fails', () => {
  const works = () => expect(ask({ do: 'echo', value: 'works' })).toEqual(['works']);

  it('throws an Error for two values of one rule, and the next one works', () => {
    for (let i = 0; i < 200; i++) {
      expect(() => ask({ do: 'conflict' })).toThrow(/assignment conflict/);
      works();
    }
  });

  it('throws the Error of a built-in that cannot answer, and the next one works', () => {
    expect(() => ask({ do: 'built-in', format: '%c' })).toThrow(/not available in the gateway/);
    works();
  });

  it('throws an Error for 50,000 levels of nesting, and the next one works', () => {
    const text = `{"do":"echo","value":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    expect(() => engine.evaluate(text, NOW_MS)).toThrow(RangeError);
    works();
  });

  it('throws an Error where it needs too much memory, gives the memory back, and the next one works', () => {
    expect(() => ask({ do: 'grow', count: 5_000_000 })).toThrow(/malloc/);
    expect(engine.memoryBytes).toBe(0);
    works();
    expect(engine.memoryBytes).toBeLessThan(8_000_000);
  });

  it('throws an Error for an input that is too large to be written', () => {
    expect(() => ask({ do: 'echo', value: 'a'.repeat(INPUT_LIMIT_BYTES) })).toThrow(/more than 262144 bytes/);
    expect(() => ask({ do: 'echo', value: 'ü'.repeat(INPUT_LIMIT_BYTES / 2) })).toThrow(/more than 262144 bytes/);
    works();
  });
});

describe('the memory of the policy', () => {
  it('stays the same over 200,000 evaluations of many sizes', () => {
    const value = Array.from({ length: 20 }, (_, index) => ({
      name: `item-${index}`,
      list: [index, 'x'.repeat(index)],
    }));
    const inputs = [1, 5, 20].map((length) => JSON.stringify({ do: 'echo', value: value.slice(0, length) }));
    const large = JSON.stringify({ do: 'echo', value: 'a'.repeat(200_000) });
    engine.evaluate(large, NOW_MS);
    for (const input of inputs) engine.evaluate(input, NOW_MS);
    const before = engine.memoryBytes;
    for (let i = 0; i < 200_000; i++) {
      engine.evaluate(i % 1000 === 0 ? large : (inputs[i % inputs.length] as string), NOW_MS);
    }
    expect(engine.memoryBytes).toBe(before);
  }, 120_000);

  it('is given up after an evaluation that made it grow', () => {
    expect(ask({ do: 'grow', count: 200_000 })).toEqual([200_000]);
    expect(engine.memoryBytes).toBe(0);
    expect(ask({ do: 'echo', value: 1 })).toEqual([1]);
  });

  it('takes the data of 100,000 jobs', async () => {
    const jobs = Object.fromEntries(
      Array.from({ length: 100_000 }, (_, i) => [`job-${i}`, { id: `${i}`, rules: ['a'] }]),
    );
    const large = await PolicyEngine.load(
      makeArtifact({ wasm: artifact.wasm, data: { jobs }, entrypoint: 't/decision' }),
    );
    const look = (name: string) => large.evaluate(JSON.stringify({ do: 'look up', name }), NOW_MS);
    expect(look('job-99999')).toEqual(['99999']);
    expect(look('job-100000')).toEqual([]);
  });
});

describe('a policy that cannot be used is refused at load', () => {
  const load = (changes: Partial<PolicyArtifact>) => PolicyEngine.load({ ...artifact, ...changes });

  it('without the entrypoint, naming those that it has', async () => {
    for (const entrypoint of ['t/other', 'decision', 't', '', 'toString', '__proto__']) {
      await expect(load({ entrypoint })).rejects.toThrow(
        `the policy has no entrypoint ${entrypoint}; it has: t/decision`,
      );
    }
  });

  it('that needs a built-in nobody has, by its name', async () => {
    const rego = 'package t\n\ndecision := http.send({"url": input.url, "method": "get"})\n';
    const needy = await compileRego(rego, { entrypoint: 't/decision', capabilities: 'opa' });
    const refusal = await PolicyEngine.load(needy).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(PolicyModuleError);
    expect(refusal).toMatchObject({ missing: ['http.send'], message: expect.stringContaining('http.send') });
  });

  it.each([
    ['nothing', new Uint8Array()],
    ['text', new TextEncoder().encode('package t')],
    ['an empty module', new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])],
  ])('that is %s', async (_, wasm) => {
    await expect(load({ wasm })).rejects.toThrow(PolicyModuleError);
  });

  it('cut short', async () => {
    await expect(load({ wasm: artifact.wasm.slice(0, -100) })).rejects.toThrow(PolicyModuleError);
  });

  it('with data that is no JSON', async () => {
    for (const data of ['', '{', 'nothing']) await expect(load({ data })).rejects.toThrow(PolicyModuleError);
  });
});
