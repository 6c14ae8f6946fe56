import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { BUILTINS } from '../../src/policy/builtins.ts';
import { buildPolicy } from '../../src/rego/build.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { evalPolicy } from '../../src/rego/eval.ts';
import { loadWasmPolicy } from './wasm_policy.ts';

/** Thousands of evaluations each; a busy machine takes its time. */
vi.setConfig({ testTimeout: 120_000 });

const NOW_MS = 1_795_376_000_123;

/** Each rule is one call. JSON has no sets, so they are made here; json.marshal keeps all digits of a number. */
const RULES = {
  sha256: 'crypto.sha256(input.a)',
  subset: 'object.subset(input.a, input.b)',
  subset_of_sets: 'object.subset({x | some x in input.a}, {x | some x in input.b})',
  subset_with_sets: 'object.subset({"k": {x | some x in input.a}, 1: input.b}, {"k": {x | some x in input.b}})',
  subset_with_mixture: 'object.subset({"k": {x | some x in input.a}}, {"k": input.b})',
  version_order: 'semver.compare(input.a, input.b)',
  version_valid: 'semver.is_valid(input.a)',
  prefix: 'strings.any_prefix_match(input.a, input.b)',
  prefix_of_sets: 'strings.any_prefix_match({x | some x in input.a}, {x | some x in input.b})',
  suffix: 'strings.any_suffix_match(input.a, input.b)',
  counted: 'strings.count(input.a, input.b)',
  parsed: 'json.marshal(time.parse_rfc3339_ns(input.a))',
  now: 'json.marshal(time.now_ns())',
  clock: 'time.clock(input.a)',
  date: 'time.date(input.a)',
  weekday: 'time.weekday(input.a)',
  decoded: 'urlquery.decode(input.a)',
  encoded: 'urlquery.encode(input.a)',
  template: '$"{input.a}-{input.b}{input.missing}"',
  printed: 'sprintf(input.a, input.b)',
  printed_sets: 'sprintf("%v %s", [{x | some x in input.a}, {"k": {x | some x in input.b}, input.a: 1, 2: set()}])',
} as const;

type Rule = keyof typeof RULES;
type Inputs = Record<'a' | 'b', fc.Arbitrary<unknown>>;

const rules = Object.entries(RULES).map(([name, call]) => `${name} := ${call}`);
const modules = [{ path: 't.rego', text: `package t\n\n${rules.join('\n')}\n` }];
const engine = new RegoEngine();
let evaluate: (rule: Rule, input: unknown) => unknown;

beforeAll(async () => {
  const entrypoints = Object.keys(RULES).map((rule) => `t/${rule}`);
  const built = await buildPolicy({ modules, entrypoints }, engine);
  if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
  expect(built.builtins, 'every supplied function is tried here').toEqual([...BUILTINS.keys()].sort());
  const policy = await loadWasmPolicy(built.wasm, { nowMs: NOW_MS });
  evaluate = (rule, input) => policy(`t/${rule}`, input);
});

afterAll(() => engine.close());

/** Evaluates inputs in OPA's interpreter and in WASM with our built-ins, compares, and returns what they answer. */
async function compare(names: readonly Rule[], inputs: readonly unknown[]): Promise<unknown[]> {
  // A list of what each rule gives: of nothing where it is undefined.
  const query = `x := [${names.map((rule) => `[v | v := data.t.${rule}]`).join()}]`;
  const expected = await evalPolicy({ modules, query, inputs, nowMs: NOW_MS }, engine);
  expect(expected.diagnostics).toBeUndefined();
  return inputs.flatMap((input, index) => {
    const values = names.map((rule) => evaluate(rule, input));
    const lists = expected.results[index]?.result[0]?.bindings?.['x'] as unknown[][];
    expect({ names, input, values }).toEqual({ names, input, values: lists.map(([value]) => value) });
    return values;
  });
}

function generate(inputs: Inputs, numRuns = 250): unknown[] {
  return fc.sample(fc.record(inputs), { numRuns, seed: 4711 });
}

const nothing = fc.constant(null);
const word = fc.stringMatching(/^[ab]{0,3}$/);
const anyText = fc.string({
  unit: fc.constantFrom('a', 'b', '%', '+', ' ', '/', '2', 'F', 'é', '😀', '\u0000', '\u00a0', '"', '\\', '\n'),
});
const scalar = fc.oneof(fc.integer({ min: 0, max: 3 }), word, fc.constant(null), fc.boolean(), fc.constant(1.5));
const nested: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(word, tie('value'), { maxKeys: 3 }),
  ),
})).value;

describe('built-in functions supplied to WASM give the answers of OPA', () => {
  it('operands of a wrong type are undefined', async () => {
    const timeless = (Object.keys(RULES) as Rule[]).filter((rule) => !['clock', 'date', 'weekday'].includes(rule));
    const operands = [null, true, 1, 'text', ['a', 1], { k: 1 }, [], {}];
    await compare(
      timeless,
      operands.flatMap((a) => operands.map((b) => ({ a, b }))),
    );
  });

  it('crypto.sha256, urlquery.encode, strings.count: texts of any characters', async () => {
    await compare(['sha256', 'encoded', 'counted'], generate({ a: anyText, b: anyText }));
  });

  it('internal.template_string, which is native: texts of values of every kind, and of what is missing', async () => {
    const printable = fc.oneof(anyText, fc.integer(), fc.boolean(), nothing);
    await compare(['template'], [...generate({ a: printable, b: printable }), {}, { a: 'x' }]);
  });

  it('object.subset: objects, arrays, sets, nested', async () => {
    const all: Rule[] = ['subset', 'subset_of_sets', 'subset_with_sets', 'subset_with_mixture'];
    const answers = await compare(all, generate({ a: nested, b: nested }));
    expect(answers).toContain(true);
    await compare(all, generate({ a: fc.array(scalar), b: fc.array(scalar) }));
    await compare(all, generate({ a: fc.dictionary(word, nested), b: fc.dictionary(word, nested) }));
  });

  it('strings.any_prefix_match, strings.any_suffix_match: strings, arrays and sets of them', async () => {
    const operand = fc.oneof(word, fc.array(word), fc.array(fc.oneof(word, fc.integer())));
    await compare(['prefix', 'prefix_of_sets', 'suffix'], generate({ a: operand, b: operand }));
  });

  it('semver.compare, semver.is_valid', async () => {
    const large = ['9223372036854775807', '9223372036854775808'];
    const identifier = fc.constantFrom(
      '0',
      '1',
      '10',
      '01',
      'alpha',
      'beta',
      'a-b',
      '',
      'ä',
      '1a',
      ...large.slice(0, 1),
    );
    const part = fc.constantFrom('0', '1', '2', '10', '01', '', 'x', ...large);
    const dotted = fc.array(identifier, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('.'));
    const version = fc
      .tuple(
        fc.constantFrom('', '', '', 'v', 'V', ' '),
        fc.tuple(part, part, part).map((parts) => parts.join('.')),
        fc.oneof(
          nothing,
          dotted.map((pre) => `-${pre}`),
        ),
        fc.oneof(
          nothing,
          dotted.map((build) => `+${build}`),
        ),
      )
      .map((parts) => parts.join(''));
    const answers = await compare(['version_order', 'version_valid'], generate({ a: version, b: version }, 800));
    expect(new Set(answers)).toEqual(new Set([-1, 1, undefined, true, false]));
    const ordered = ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0'];
    const pairs = ordered.flatMap((a, i) => ordered.map((b, j) => ({ a, b, order: Math.sign(i - j) + 0 })));
    expect(await compare(['version_order'], pairs)).toEqual(pairs.map((pair) => pair.order));
  });

  it('time.parse_rfc3339_ns: also what Go takes beyond the specification', async () => {
    const two = fc.integer({ min: 0, max: 65 }).map((value) => String(value).padStart(2, '0'));
    const zones = ['Z', 'z', '', '+00:00', '-00:00', '+02:00', '-11:59', '+24:60', '+25:00', '+01:61', '+0100'];
    const time = fc
      .tuple(
        fc.constantFrom('0000', '1677', '1969', '2000', '2100', '2262', '9999', '2026', '2026'),
        fc.constantFrom('01', '02', '04', '09', '12', '13', '00'),
        fc.constantFrom('01', '11', '21', '28', '29', '30', '31', '32', '00'),
        fc.oneof(two, fc.constantFrom('3', '7', '23', '24')),
        two,
        two,
        fc.constantFrom('', '', '.1', ',5', '.123456789', '.1234567891', '.', '.000000001'),
        fc.constantFrom('Z', 'Z', 'Z', ...zones),
      )
      .map(([year, month, day, hour, minute, second, fraction, zone]) => {
        return `${year}-${month}-${day}T${hour}:${minute}:${second}${fraction}${zone}`;
      });
    const answers = await compare(['parsed'], generate({ a: time, b: nothing }, 2000));
    expect(answers.filter((answer) => answer !== undefined).length).toBeGreaterThan(100);
    const smallest = ['1677-09-21T00:12:43.145224192Z', '1677-09-21T00:12:43.145224191Z'];
    const largest = ['2262-04-11T23:47:16.854775807Z', '2262-04-11T23:47:16.854775808Z'];
    const malformed = [' 2026-01-01T00:00:00Z', '2026-01-01t00:00:00Z', '2026-01-01T00:00:00Z\n', '2026-01-01'];
    await compare(
      ['parsed'],
      [...smallest, ...largest, ...malformed].map((a) => ({ a })),
    );
  });

  it('time.clock, time.date, time.weekday: nanoseconds, before 1970 too', async () => {
    const any = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => Number(value / 1024n) * 1024);
    const near = fc.integer({ min: -200_000, max: 200_000 }).map((second) => second * 1e9 + 5);
    const a = fc.oneof(any, near, fc.constantFrom(1.5, 1e19, -1e19, 0, -1));
    await compare(['clock', 'date', 'weekday'], generate({ a, b: nothing }));
    const others = [[0], [1e18, 'UTC'], [1e18, ''], [1e18, 5], [], ['x'], 'x', null];
    await compare(
      ['clock', 'date', 'weekday'],
      others.map((value) => ({ a: value })),
    );
  });

  it('time.clock, time.date, time.weekday: in time zones, from 1970 to 2100', async () => {
    const names = [
      'Europe/Berlin',
      'America/New_York',
      'Asia/Kathmandu',
      'Australia/Lord_Howe',
      'US/Pacific',
      'Etc/GMT+5',
    ];
    const unknown = ['europe/berlin', 'Europe/berlin', 'EUROPE/BERLIN', 'Nowhere/City', '+02:00', '../etc', 'EST5EDT'];
    const second = fc.integer({ min: 0, max: 4_102_444_799 }).map((value) => value * 1e9);
    const zone = fc.constantFrom(...names, ...names, ...unknown);
    await compare(['clock', 'date', 'weekday'], generate({ a: fc.tuple(second, zone), b: nothing }, 500));
  });

  it('time.now_ns is the time given for the evaluation', async () => {
    expect(await compare(['now'], [{}])).toEqual(['1795376000123000000']);
  });

  it('urlquery.decode: escapes, plus signs, malformed escapes', async () => {
    const piece = fc.constantFrom('%41', '%c3%A9', '+', 'z', '%', '%4', '%zz', '%2B', 'é', '%F0%9F%98%80', '%00');
    await compare(['decoded'], generate({ a: fc.array(piece).map((pieces) => pieces.join('')), b: nothing }));
  });

  it('sprintf: verbs, flags, widths and precisions over every kind of value', async () => {
    const flags = fc.constantFrom('', '', '', '-', '0', '+', ' ', '-0', '+0');
    const width = fc.constantFrom('', '', '5', '12');
    const precision = fc.constantFrom('', '', '.3', '.0');
    const directive = fc.oneof(
      fc.tuple(flags, width, precision, fc.constantFrom('s', 'v', 'd', 'f')).map((parts) => `%${parts.join('')}`),
      fc.constantFrom(...'svdtxXobfqg%z!'.split('')).map((verb) => `%${verb}`),
    );
    const piece = fc.oneof(directive, fc.constantFrom('a', ' ', 'é', '%'));
    const format = fc.array(piece, { maxLength: 4 }).map((pieces) => pieces.join(''));
    const numbers = [0, -1, 255, 1.5, -2.5, 0.5, 0.1, 1234567.891, 1e20, 1e21, 123456789012345680000, 0.00001234, 1e-4];
    const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
    const operand = fc.oneof(fc.integer(), fc.constantFrom(...numbers), finite, anyText, nested);
    const inputs = generate({ a: format, b: fc.array(operand, { maxLength: 4 }) }, 2000);
    const supported = inputs.filter((input) => {
      try {
        evaluate('printed', input);
        return true;
      } catch {
        return false;
      }
    });
    expect(supported.length).toBeGreaterThan(1000);
    await compare(['printed'], supported);
    await compare(['printed_sets'], generate({ a: fc.array(nested), b: fc.array(nested) }));
  });
});

describe('what the gateway cannot answer as OPA does fails the evaluation', () => {
  it('sprintf with what only Go can write', () => {
    for (const a of ['%e', '%#v', '%*d', '%[1]d', '%c', '%U', '%T', '%99999d']) {
      expect(() => evaluate('printed', { a, b: [1] }), a).toThrow('is not available in the gateway');
    }
  });

  it("the machine's own time zone, and zones outside of the years in which all data agree", () => {
    expect(() => evaluate('clock', { a: [0, 'Local'] })).toThrow('do not depend on the machine');
    expect(() => evaluate('clock', { a: [-1, 'Europe/Berlin'] })).toThrow('from 1970 to 2100 only');
  });

  it('object.subset of an array that repeats an item and a set, urlquery.decode of bytes that are no text', async () => {
    const text = 'package t\n\nx := object.subset(input.a, {"a", "b"})\n';
    const built = await buildPolicy({ modules: [{ path: 't.rego', text }], entrypoints: ['t/x'] }, engine);
    if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
    const policy = await loadWasmPolicy(built.wasm, { nowMs: NOW_MS });
    expect(() => policy('t/x', { a: ['a', 'a'] })).toThrow('the array repeats an item');
    expect(policy('t/x', { a: ['a', 'b', 'c'] })).toBe(true);
    expect(policy('t/x', { a: ['a', 'c'] })).toBe(false);
    expect(() => evaluate('decoded', { a: '%ff' })).toThrow('not UTF-8');
  });
});
