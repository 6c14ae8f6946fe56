import { afterAll, describe, expect, it } from 'vitest';
import { buildPolicy, type RegoBuildRequest, type RegoBuildResult } from '../../src/rego/build.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { requiredBuiltins } from '../../src/rego/required_builtins.ts';
import { loadWasmPolicy } from '../policy/wasm_policy.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());

const build = (text: string, rest: Partial<RegoBuildRequest> = {}): Promise<RegoBuildResult> =>
  buildPolicy({ modules: [{ path: 'p.rego', text: `package p\n\n${text}\n` }], ...rest }, engine);

describe('building a policy', () => {
  it('gives a module that opa-wasm evaluates', async () => {
    const built = await build('allow if input.method == "GET"', { entrypoints: ['p/allow'] });
    if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
    expect(built.entrypoints).toEqual(['p/allow']);
    const policy = await loadWasmPolicy(built.wasm, { nowMs: 0 });
    expect(policy('p/allow', { method: 'GET' })).toBe(true);
    expect(policy('p/allow', { method: 'PUT' })).toBeUndefined();
  });

  it('is the same, byte for byte, each time', async () => {
    const [first, second] = [
      await build('x := 1', { entrypoints: ['p'] }),
      await build('x := 1', { entrypoints: ['p'] }),
    ];
    expect(first).toEqual(second);
  });

  it('adds entrypoints that are annotated', async () => {
    const built = await build('# METADATA\n# entrypoint: true\ndecision := {}\n\nother := 1', {
      entrypoints: ['p/other'],
    });
    expect(built).toMatchObject({ ok: true, entrypoints: ['p/other', 'p/decision'] });
  });

  it('names the built-in functions that the module needs from its host', async () => {
    const text = 'x := time.now_ns()\n\ny := sprintf("%d", [count(input.list)])';
    const built = await build(text, { entrypoints: ['p/x', 'p/y'] });
    if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
    expect(built.builtins).toEqual(['sprintf', 'time.now_ns']);
    await expect(requiredBuiltins(new Uint8Array([1, 2, 3]))).rejects.toThrow();
  });

  it('reports the mistakes of all modules, with the line', async () => {
    const modules = [
      { path: 'a.rego', text: 'package a\n\nx := foo(1)\n' },
      { path: 'b.rego', text: 'package b\n\ny if {\n\tbar(1, "a")\n}\n' },
    ];
    const built = await build('', { modules, entrypoints: ['a/x'] });
    if (built.ok) throw new Error('built');
    const code = 'rego_type_error';
    expect(built.diagnostics).toMatchObject([
      { file: 'a.rego', row: 3, column: 6, length: 6, code, message: 'undefined function foo', text: 'x := foo(1)' },
      { file: 'b.rego', row: 4, column: 2, code, message: 'undefined function bar' },
    ]);
  });

  it('reports syntax errors of every module', async () => {
    const modules = [1, 2].map((n) => ({ path: `m${n}.rego`, text: `package m${n}\n\nx { true }\n` }));
    const built = await build('', { modules, entrypoints: ['m1/x'] });
    if (built.ok) throw new Error('built');
    expect(built.diagnostics.map(({ file, row, code, text }) => [file, row, code, text])).toEqual([
      ['m1.rego', 3, 'rego_parse_error', 'x { true }'],
      ['m2.rego', 3, 'rego_parse_error', 'x { true }'],
    ]);
  });

  it('refuses built-ins that the gateway cannot evaluate, by name', async () => {
    for (const call of [
      'http.send({"method": "GET", "url": "x"})',
      'io.jwt.decode("x")',
      'opa.runtime()',
      'yaml.marshal(1)',
    ]) {
      const built = await build(`x := ${call}`, { entrypoints: ['p/x'] });
      if (built.ok) throw new Error(`${call} was built`);
      expect(built.diagnostics[0]?.message).toBe(`undefined function ${call.split('(')[0]}`);
    }
    expect(await build('x := opa.runtime()', { entrypoints: ['p/x'], capabilities: 'opa' })).toMatchObject({
      ok: true,
      builtins: ['opa.runtime'],
    });
  });

  it('refuses a rule that hides data', async () => {
    const built = await build('limit := 1', { entrypoints: ['p/limit'], data: { p: { limit: 2 } } });
    if (built.ok) throw new Error('built');
    expect(built.diagnostics[0]).toMatchObject({ row: 3, message: 'conflicting rule for data path p/limit found' });
  });

  it('refuses a missing entrypoint, and none at all', async () => {
    const missing = await build('x := 1', { entrypoints: ['p/y'] });
    const none = await build('x := 1');
    expect([missing, none].map((built) => !built.ok && built.diagnostics[0])).toMatchObject([
      { file: '', row: 0, message: expect.stringContaining('"p/y"') },
      { file: '', row: 0, message: expect.stringContaining('at least one entrypoint') },
    ]);
  });

  it('warns of what strict mode refuses, when asked', async () => {
    const text = 'import data.unused\n\nx := 1';
    expect(await build(text, { entrypoints: ['p/x'] })).toMatchObject({ ok: true, warnings: [] });
    const built = await build(text, { entrypoints: ['p/x'], warnings: true });
    expect(built).toMatchObject({ ok: true, warnings: [{ row: 3, message: 'import data.unused unused' }] });
  });

  it('builds the old syntax when told', async () => {
    const text = 'allow { any([input.a, input.b]) }';
    expect(await build(text, { entrypoints: ['p/allow'] })).toMatchObject({ ok: false });
    expect(await build(text, { entrypoints: ['p/allow'], regoVersion: -1 })).toMatchObject({ ok: true });
  });

  it('refuses two modules of one path, and data that is no object', async () => {
    const twice = [1, 2].map(() => ({ path: 'p.rego', text: 'package p\n' }));
    await expect(build('', { modules: twice })).rejects.toMatchObject({ code: 'bad_request' });
    await expect(build('x := 1', { data: [] })).rejects.toMatchObject({ code: 'bad_request' });
  });
});
