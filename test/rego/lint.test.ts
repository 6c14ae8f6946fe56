import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { lintPolicy } from '../../src/rego/lint.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());

/** What is found, as `rule:row`. */
async function found(body: string, path = 'a.rego'): Promise<string[]> {
  const { findings, diagnostics } = await lintPolicy([{ path, text: `package a\n\n${body}\n` }], engine);
  expect(diagnostics).toBeUndefined();
  return findings.map(({ code, row }) => `${code}:${row}`);
}

/** For each rule: what it finds, each in the third line, and what comes close and is right. */
const RULES: Readonly<Record<string, { readonly wrong: readonly string[]; readonly right: readonly string[] }>> = {
  'negated-call': {
    wrong: [
      'bad if not input.job.environment in {"production"}',
      'bad if not input.job.environment == "production"',
      'bad if not lower(input.job.ref) == "main"',
      'bad(x) if not x.environment in data.listed',
      'bad := [x | some x in data.all; not x.name in data.listed]',
    ],
    right: ['good if not input.job.protected', 'good if not listed', 'good(x, y) if not x in y'],
  },
  'denial-from-field': {
    wrong: [
      'denials contains {"code": "c", "repository": input.job.repository} if not ok',
      'denials contains sprintf("not for %s", [input.job.actor]) if not ok',
      'denials contains message if { not ok; message := concat(" ", ["no", input.job.actor]) }',
    ],
    right: [
      'denials contains {"code": "c"} if not ok',
      'denials contains {"actor": object.get(input, ["job", "actor"], "nobody")} if not ok',
      'denials contains code if { not ok; code := "c"; input.job.actor }',
      'requires["scopes"] := input.operation.scopes if not ok',
    ],
  },
  'compare-unchecked': {
    wrong: [
      'small if input.request.body.count <= 3',
      'small if object.get(input, ["count"], 0) <= 3',
      'small if { n := object.get(input, ["count"], 0); n < 3 }',
      'small if 3 > data.limit',
    ],
    right: [
      'small if { is_number(input.request.body.count); input.request.body.count <= 3 }',
      'small if count(input.token.scopes) > 0',
      'small(n) if n < 3',
    ],
  },
  'text-prefix': {
    wrong: ['in_p1 if startswith(input.request.path, "/v1/projects/p1")', 'below(a, b) if startswith(a, b)'],
    right: ['in_p1 if startswith(input.request.path, "/v1/projects/p1/")'],
  },
  'glob-delimiters': {
    wrong: ['m if glob.match("/v1/*", [], input.request.path)', 'm if glob.match("/v1/*", null, input.request.path)'],
    right: ['m if glob.match("/v1/*", ["/"], input.request.path)'],
  },
  'pattern-unanchored': {
    wrong: ['m if regex.match(`CHG-[0-9]+`, input.ticket)', 'm if regex.match(`^CHG-`, input.ticket)'],
    right: ['m if regex.match(`^CHG-[0-9]+$`, input.ticket)', 'm if regex.match(data.pattern, input.ticket)'],
  },
  'every-of-none': {
    wrong: ['ok if every s in input.operation.scopes { s in input.token.scopes }'],
    right: [
      'ok if { count(input.operation.scopes) > 0; every s in input.operation.scopes { s in input.token.scopes } }',
    ],
  },
  'unconditional-allow': {
    wrong: ['allow := true', 'default allow := true', 'decision := {"allow": true}'],
    right: ['default allow := false', 'decision := {"allow": true} if ok', 'known := true'],
  },
  'constant-condition': {
    wrong: ['m if true', 'm if 1 < 2', 'm if "a" == "b"'],
    right: ['m if input.ok', 'm := true', 'default m := false'],
  },
  'print-left': { wrong: ['m if print(input)'], right: ['m if input.print'] },
  'shadows-builtin': { wrong: ['count := 1', 'object := {}'], right: ['counted := 1', 'to_number_of := 2'] },
  'array-equality': {
    wrong: ['m if input.token.scopes == ["a", "b"]', 'm if ["a"] != input.token.scopes'],
    right: ['m if input.token.scopes == []', 'm if "a" in input.token.scopes'],
  },
  'format-arguments': {
    wrong: ['m := sprintf("%s and %d", [input.a])', 'm := sprintf("100%%", [1])'],
    right: [
      'm := sprintf("%s of 100%%", [input.a])',
      'm := sprintf("%5.2f %v", [1, 2])',
      'm := sprintf("%d", input.list)',
    ],
  },
};

describe.each(Object.entries(RULES))('%s', (rule, { wrong, right }) => {
  it.each(wrong)('is found in %s', async (text) => expect(await found(text)).toContain(`${rule}:3`));
  it.each(right)('is not found in %s', async (text) => expect((await found(text)).join()).not.toContain(rule));
});

describe('default-missing', () => {
  const entrypoint = '# METADATA\n# entrypoint: true\ndecision := {"allow": true} if input.ok';
  it('is found at an entrypoint', async () => expect(await found(entrypoint)).toEqual(['default-missing:5']));
  it('is not found where there is a default, nor at other rules', async () => {
    expect(await found(`${entrypoint}\n\ndefault decision := {"allow": false}`)).toEqual([]);
    expect(await found('decision := 1 if input.ok')).toEqual([]);
  });
});

describe('a finding', () => {
  it('says how bad it is, where, and what to do', async () => {
    const text = 'package a\n\nm if {\n\tnot input.x == 1\n}\n';
    const { findings } = await lintPolicy([{ path: 'a.rego', text }], engine);
    expect(findings).toEqual([
      {
        file: 'a.rego',
        row: 4,
        column: 2,
        length: 16,
        code: 'negated-call',
        message: 'a call with input.x is negated',
        text: '\tnot input.x == 1',
        severity: 'error',
        hint: expect.stringContaining('negate that rule'),
      },
    ]);
  });

  it('is ignored with a reason, on its line or the one above', async () => {
    expect(await found('m if not input.x == 1 # lint:ignore negated-call: x is always there')).toEqual([]);
    expect(await found('# lint:ignore negated-call: x is always there\nm if not input.x == 1')).toEqual([]);
  });

  it('is not ignored without a reason, by another name, or from further away', async () => {
    expect(await found('# lint:ignore negated-call\nm if not input.x == 1')).toEqual(['ignore:3', 'negated-call:4']);
    expect(await found('# lint:ignore print-left: so\nm if not input.x == 1')).toEqual(['ignore:3', 'negated-call:4']);
    expect(await found('# lint:ignore negated-call: so\n\nm if not input.x == 1')).toEqual([
      'ignore:3',
      'negated-call:5',
    ]);
  });

  it('of a trap is not looked for in tests, of a mistake it is', async () => {
    expect(await found('test_a if { not input.x == 1; 1 < 2 }', 'a_test.rego')).toEqual(['constant-condition:3']);
  });

  it('stands back where a module cannot be read', async () => {
    const { findings, diagnostics } = await lintPolicy([{ path: 'a.rego', text: 'package' }], engine);
    expect(findings).toEqual([]);
    expect(diagnostics).toMatchObject([{ file: 'a.rego', code: 'rego_parse_error' }]);
  });
});

it('finds nothing in the policies of this project', async () => {
  const folder = fileURLToPath(new URL('../../policies/', import.meta.url));
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.rego'));
  expect(files.length).toBeGreaterThan(10);
  const modules = files.map((path) => ({ path, text: readFileSync(`${folder}/${path}`, 'utf8') }));
  const { findings, diagnostics } = await lintPolicy(modules, engine);
  expect(diagnostics).toBeUndefined();
  expect(findings.map(({ file, row, code }) => `${file}:${row} ${code}`)).toEqual([]);
});
