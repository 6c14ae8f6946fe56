import { afterAll, describe, expect, it } from 'vitest';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { type RegoTestRequest, type RegoTestRun, testPolicy } from '../../src/rego/test.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());

const POLICY = `package p

allow if {
	input.method == "GET"
	input.limit <= data.limit
}

never if input.never
`;

const TESTS = `package p_test

import data.p

test_get if p.allow with input as {"method": "GET", "limit": 1}

test_put if {
	print("method", "PUT")
	p.allow with input as {"method": "PUT", "limit": 1}
}

todo_test_later if false

test_limits[name] if {
	some name, limit in {"below": 4, "above": 6}
	p.allow with input as {"method": "GET", "limit": limit}
}

test_conflict if conflict == 1

conflict := 1 if true

conflict := 2 if true
`;

const modules = [
  { path: 'p.rego', text: POLICY },
  { path: 'p_test.rego', text: TESTS },
];

const run = (rest: Partial<RegoTestRequest> = {}): Promise<RegoTestRun> =>
  testPolicy({ modules, data: { limit: 5 }, ...rest }, engine);

describe('testing a policy', () => {
  it('runs all tests, in the order of the source', async () => {
    const { results } = await run();
    expect(results.map(({ path, row, outcome }) => [path, row, outcome])).toEqual([
      ['data.p_test.test_get', 5, 'pass'],
      ['data.p_test.test_put', 7, 'fail'],
      ['data.p_test.todo_test_later', 12, 'skip'],
      ['data.p_test.test_limits', 14, 'fail'],
      ['data.p_test.test_conflict', 19, 'error'],
    ]);
    expect(results.every(({ durationMs }) => durationMs >= 0)).toBe(true);
  });

  it('shows where a failing test failed, what it printed, and its trace', async () => {
    const { results } = await run();
    expect(results[1]).toMatchObject({
      output: 'method PUT\n',
      failedAt: { file: 'p_test.rego', row: 9, column: 2 },
      trace: expect.arrayContaining([expect.stringContaining('Fail data.p.allow with input as {')]),
    });
    expect(results[0]?.trace).toBeUndefined();
    expect(results[4]?.error).toContain('conflict');
  });

  it('names the cases of a table', async () => {
    const { results } = await run({ filter: 'test_limits' });
    expect(results).toHaveLength(1);
    expect(results[0]?.cases).toEqual([{ name: 'above', failed: true }, { name: 'below' }]);
  });

  it('filters by a regular expression, and refuses one that is none', async () => {
    const { results } = await run({ filter: '_test[.]test_(get|put)$' });
    expect(results.map(({ name }) => name)).toEqual(['test_get', 'test_put']);
    await expect(run({ filter: '(' })).rejects.toMatchObject({ code: 'bad_request' });
  });

  it('measures which lines were evaluated', async () => {
    const { coverage } = await run({ coverage: true });
    const file = coverage?.files['p.rego'];
    expect(file?.not_covered?.map(({ start }) => start.row)).toEqual([8, 8]);
    expect(file?.coverage).toBeCloseTo(75);
    expect((await run()).coverage).toBeUndefined();
  });

  it('reports why no test ran', async () => {
    const broken = [...modules, { path: 'b.rego', text: 'package b\n\nx := foo(1)\n' }];
    expect(await run({ modules: broken })).toMatchObject({ results: [], diagnostics: [{ file: 'b.rego', row: 3 }] });
  });

  it('shows where a test ends that OPA would not even enter, for its rule index', async () => {
    const tests = `package q_test

import data.p

test_negated if not p.allow with input as {"method": input.missing}

test_called if {
	p.deep(input.missing, 2)
}

test_twice if p.never

test_twice if p.never
`;
    const policy = `${POLICY}\ndeep(a, b) if a < b\n`;
    const { results } = await testPolicy(
      {
        modules: [
          { path: 'p.rego', text: policy },
          { path: 'q_test.rego', text: tests },
        ],
        data: { limit: 5 },
      },
      engine,
    );
    expect(results.map(({ outcome, failedAt }) => [outcome, failedAt?.row, failedAt?.text])).toEqual([
      ['fail', 5, 'input.missing'],
      ['fail', 8, 'input.missing'],
      ['fail', 11, 'p.never'],
      ['fail', 13, 'p.never'],
    ]);
    expect(results[1]?.trace?.some((line) => line.includes('Fail') && line.includes('input.missing'))).toBe(true);
  });
});
