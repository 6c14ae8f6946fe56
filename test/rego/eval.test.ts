import { afterAll, describe, expect, it } from 'vitest';
import { policyDependencies } from '../../src/rego/dependencies.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { evalPolicy } from '../../src/rego/eval.ts';
import { inspectPolicy } from '../../src/rego/inspect.ts';
import { regoEngineVersion } from '../../src/rego/version.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());

const POLICY = `# METADATA
# title: rules
package p

import data.lib

# METADATA
# entrypoint: true
decision := {"allow": allow}

default allow := false

allow if {
	input.method == "GET"
	lib.covers(input.token, "read")
	not blocked
}

blocked if input.path in data.blocked
`;

const LIBRARY = `package lib

covers(token, scope) if {
	print("looking for", scope)
	scope in token.scopes
}
`;

const policy = {
  modules: [
    { path: 'p.rego', text: POLICY },
    { path: 'lib.rego', text: LIBRARY },
  ],
  data: { blocked: ['/secret'] },
};

const get = { method: 'GET', path: '/', token: { scopes: ['read'] } };

describe('evaluating a query', () => {
  it('answers for each input', async () => {
    const inputs = [get, { ...get, path: '/secret' }, null];
    const { results, diagnostics } = await evalPolicy({ ...policy, query: 'data.p.decision', inputs }, engine);
    expect(diagnostics).toBeUndefined();
    expect(results.map(({ result }) => result[0]?.expressions[0]?.value)).toEqual([
      { allow: true },
      { allow: false },
      { allow: false },
    ]);
    expect(results[0]?.output).toBe('looking for read\n');
    expect(results[0]?.rules).toBeUndefined();
  });

  it('gives variables, and nothing where the query is undefined', async () => {
    const modules = policy.modules;
    const { results } = await evalPolicy({ modules, query: 'x := 1; y := {2, 2}' }, engine);
    expect(results[0]?.result[0]?.bindings).toEqual({ x: 1, y: [2] });
    expect(await evalPolicy({ modules, query: 'input.x == 1' }, engine)).toEqual({ results: [{ result: [] }] });
  });

  it('explains which rules held, and where the others failed', async () => {
    const inputs = [
      { ...get, method: 'PUT' },
      { ...get, path: '/secret' },
    ];
    const answer = await evalPolicy({ ...policy, query: 'data.p.decision', inputs, explain: 'fails' }, engine);
    const seen = answer.results.map(({ rules }) =>
      rules?.map(({ path, row, fired, failedAt }) => [path, row, fired, failedAt?.text]),
    );
    expect(seen[0]).toEqual([
      ['data.p.decision', 9, 1, undefined],
      ['data.p.allow', 13, 0, 'input.method == "GET"'],
      ['data.p.allow', 11, 1, undefined],
    ]);
    expect(seen[1]).toContainEqual(['data.p.blocked', 19, 1, undefined]);
    expect(seen[1]).toContainEqual(['data.p.allow', 13, 0, 'not blocked']);
    expect(answer.results[0]?.trace?.join('\n')).toContain('Fail input.method = "GET"');
  });

  it('sees the time that is given', async () => {
    const { results } = await evalPolicy(
      { modules: [], query: 'x := time.now_ns()', nowMs: 1_795_376_000_000 },
      engine,
    );
    expect(results[0]?.result[0]?.bindings).toEqual({ x: 1_795_376_000_000_000_000 });
  });

  it('reports a query that is wrong, and an evaluation that fails', async () => {
    const wrong = await evalPolicy({ ...policy, query: 'data.p.allow ==' }, engine);
    expect(wrong.diagnostics).toMatchObject([{ file: '', row: 1, text: 'data.p.allow ==' }]);
    const modules = [{ path: 'c.rego', text: 'package c\n\nx := 1 if true\n\nx := 2 if true\n' }];
    const conflict = await evalPolicy({ modules, query: 'data.c.x' }, engine);
    expect(conflict.results[0]?.diagnostics).toMatchObject([{ code: 'eval_conflict_error', file: 'c.rego', row: 5 }]);
  });

  it('makes errors of built-ins errors of the query only when strict', async () => {
    const query = 'x := to_number("x")';
    expect((await evalPolicy({ modules: [], query }, engine)).results).toEqual([{ result: [] }]);
    const strict = await evalPolicy({ modules: [], query, strict: true }, engine);
    expect(strict.results[0]?.diagnostics?.[0]?.message).toContain('to_number');
  });
});

describe('an evaluation with bounds', () => {
  const loop = '[[x, y, z] | some x in numbers.range(1, 900); some y in numbers.range(1, 900); some z in [y]]';
  const evaluated = async (query: string, bounds: { milliseconds: number; bytes: number }) => {
    const { results } = await evalPolicy({ modules: [], query, bounds }, engine);
    return results[0];
  };

  it('ends when its time is over, and says so; the engine goes on', async () => {
    const ended = await evaluated(loop, { milliseconds: 20, bytes: 1_073_741_824 });
    expect(ended).toMatchObject({
      result: [],
      diagnostics: [{ code: 'eval_cancel_error', message: 'the evaluation took longer than 20 ms' }],
    });
    expect((await evaluated('x := 1', { milliseconds: 5000, bytes: 1 }))?.result).toHaveLength(1);
  });

  it('ends when it takes too much memory, and says so', async () => {
    const ended = await evaluated(loop, { milliseconds: 60_000, bytes: 1_048_576 });
    expect(ended).toMatchObject({
      result: [],
      diagnostics: [{ message: 'the evaluation took more than 1048576 bytes of memory' }],
    });
  });
});

describe('opa.runtime', () => {
  it('is not to be had for policies of the gateway, and says what it is given where it is', async () => {
    const modules = [{ path: 'p.rego', text: 'package p\n\nx := opa.runtime()\n' }];
    const request = { modules, query: 'data.p.x', runtime: { config: { labels: { region: 'eu' } } } };
    const { diagnostics } = await evalPolicy(request, engine);
    expect(diagnostics).toMatchObject([{ message: expect.stringContaining('opa.runtime') }]);
    const { results } = await evalPolicy({ ...request, capabilities: 'discovery' }, engine);
    expect(results[0]?.result[0]?.expressions[0]?.value).toEqual({ config: { labels: { region: 'eu' } } });
  });
});

describe('what is in a policy', () => {
  it('packages, rules, annotations and built-in functions', async () => {
    const found = await inspectPolicy(policy, engine);
    expect(found.diagnostics).toBeUndefined();
    expect(found.modules.map(({ path, imports }) => [path, imports])).toEqual([
      ['lib.rego', []],
      ['p.rego', ['data.lib']],
    ]);
    expect(found.modules[0]?.rules).toMatchObject([{ path: 'data.lib.covers', row: 3, function: true }]);
    expect(found.annotations.map(({ path, annotations }) => [path, annotations.entrypoint ?? false])).toEqual([
      ['data.p', false],
      ['data.p.decision', true],
    ]);
    expect(found.builtins).toContain('internal.member_2');
  });

  it('what a query can read', async () => {
    expect(await policyDependencies(policy, 'data.p.decision', engine)).toEqual({
      input: [['method'], ['path'], ['token']],
      data: [['blocked']],
      rules: ['data.lib.covers', 'data.p.allow', 'data.p.blocked', 'data.p.decision'],
    });
  });

  it('the versions of the engine are those in engine/opa.json', async () => {
    const manifest = await import('../../engine/opa.json', { with: { type: 'json' } });
    const { opa, go } = await regoEngineVersion(engine);
    expect({ opa: `v${opa}`, go }).toEqual({ opa: manifest.default.opa, go: manifest.default.go });
  });
});
