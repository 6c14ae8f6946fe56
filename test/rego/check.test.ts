import { afterAll, describe, expect, it } from 'vitest';
import { checkPolicy, type RegoCheckRequest } from '../../src/rego/check.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { formatModules } from '../../src/rego/format.ts';
import type { RegoDiagnostic } from '../../src/rego/policy_source.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());

const inputSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    job: {
      anyOf: [
        { type: 'null' },
        { type: 'object', additionalProperties: false, properties: { ref: { type: 'string' } } },
      ],
    },
    scopes: { type: 'array', items: { type: 'string' } },
  },
};

const check = (text: string, rest: Partial<RegoCheckRequest> = {}): Promise<readonly RegoDiagnostic[]> =>
  checkPolicy({ modules: [{ path: 'p.rego', text: `package p\n\n${text}\n` }], ...rest }, engine);

describe('checking a policy', () => {
  it('finds nothing wrong with a policy and its tests', async () => {
    const modules = [
      { path: 'p.rego', text: 'package p\n\nallow if {\n\t"read" in input.scopes\n\tprint("read")\n}\n' },
      {
        path: 'p_test.rego',
        text: 'package p_test\n\nimport data.p\n\ntest_x[name] if {\n\tsome name in ["a"]\n\tp.allow\n}\n',
      },
    ];
    expect(await check('', { modules, inputSchema })).toEqual([]);
  });

  it('finds misspelt input fields, and says which there are', async () => {
    const text = 'allow if input.jobb.ref == "x"\n\nother if input.job.reff == "x"';
    expect(await check(text)).toEqual([]);
    const found = await check(text, { inputSchema });
    expect(found.map(({ row, message }) => [row, message])).toEqual([
      [3, 'undefined ref: input.jobb.ref'],
      [5, 'undefined ref: input.job.reff'],
    ]);
    expect(found[0]?.details?.join('\n')).toContain('want (one of): ["job" "scopes"]');
  });

  it('finds values compared with another type, and allows null where the schema does', async () => {
    const text = 'a if input.scopes == "read"\n\nb if input.job.ref == 1\n\nc if input.job == null';
    const found = await check(text, { inputSchema });
    expect(found.map(({ code, row, message }) => [code, row, message])).toEqual([
      ['rego_type_error', 3, 'match error'],
      ['rego_type_error', 5, 'match error'],
    ]);
    const scopes = await check('a if input.scopes == null', { inputSchema });
    expect(scopes).toMatchObject([{ message: 'match error' }]);
  });

  it('finds what strict mode refuses, unless lenient', async () => {
    const text = 'import data.unused\n\nallow if {\n\tx := 1\n}';
    const found = await check(text);
    expect(found.map(({ row, message }) => [row, message])).toEqual([
      [3, 'import data.unused unused'],
      [6, 'assigned var x unused'],
    ]);
    expect(await check(text, { lenient: true })).toEqual([]);
  });

  it('points at the place of a syntax error', async () => {
    expect(await check('allow if { startswith("a" }')).toEqual([
      {
        file: 'p.rego',
        row: 3,
        column: 27,
        length: 1,
        code: 'rego_parse_error',
        message: 'unexpected } token: expected "," or ")"',
        text: 'allow if { startswith("a" }',
      },
    ]);
  });

  it('says of a schema that is none, that it is', async () => {
    await expect(check('x := 1', { inputSchema: [] as object })).rejects.toMatchObject({ code: 'bad_request' });
  });
});

describe('formatting modules', () => {
  it('lays them out as OPA does, and leaves alone what cannot be parsed', async () => {
    const modules = [
      { path: 'a.rego', text: 'package a\nx:=1\n' },
      { path: 'b.rego', text: 'package b\n\nx := 1\n' },
      { path: 'c.rego', text: 'package' },
    ];
    expect(await formatModules(modules, engine)).toMatchObject([
      { path: 'a.rego', text: 'package a\n\nx := 1\n', changed: true },
      { path: 'b.rego', text: 'package b\n\nx := 1\n', changed: false },
      { path: 'c.rego', text: 'package', changed: false, diagnostics: [{ file: 'c.rego', row: 1 }] },
    ]);
  });
});
