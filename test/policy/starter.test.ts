import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Evidence } from '../../src/kernel/context.ts';
import { makeArtifact } from '../../src/policy/artifact.ts';
import { createDecider } from '../../src/policy/decide.ts';
import { type PolicySource, readPolicyFolder } from '../../src/policy/folder.ts';
import { activatePolicy, type LoadedPolicy } from '../../src/policy/load.ts';
import { buildPolicy } from '../../src/rego/build.ts';
import { checkPolicy } from '../../src/rego/check.ts';
import { evalPolicy } from '../../src/rego/eval.ts';
import { formatModules } from '../../src/rego/format.ts';
import { testPolicy } from '../../src/rego/test.ts';
import { makeEvidence } from '../support/authorized.ts';
import { regoEngine } from '../support/rego.ts';
import { mutations } from './mutations.ts';
import { requestOf, STARTER_CASES, type StarterCall } from './starter_cases.ts';

const FOLDER = resolve(import.meta.dirname, '../../policies');

const WIRE: Readonly<Record<string, string>> = {
  insufficient_scope: 'policy.insufficient_scope',
  not_covered_by_authorization_details: 'policy.insufficient_authorization_details',
};

let source: PolicySource;
let policy: LoadedPolicy;

beforeAll(async () => {
  source = await readPolicyFolder(FOLDER);
  policy = await activate(source.data);
});

afterAll(() => regoEngine.close());

let wasm: Uint8Array<ArrayBuffer> | undefined;

/** The starter policy with other data. */
async function activate(data: PolicySource['data'], samples?: []): Promise<LoadedPolicy> {
  const entrypoint = 'sallyport/decision';
  if (wasm === undefined) {
    const built = await buildPolicy(
      { modules: source.modules, data: source.data, entrypoints: [entrypoint] },
      regoEngine,
    );
    if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
    expect(built.builtins, 'the starter policy needs nothing of the host').toEqual([]);
    wasm = built.wasm;
  }
  return activatePolicy(makeArtifact({ wasm, data, entrypoint }), samples && { samples });
}

/** All modules, tests too. */
function allModules() {
  return readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.rego'))
    .map((path) => ({ path, text: readFileSync(join(FOLDER, path), 'utf8') }));
}

/** Stage 4 with the starter policy; the input and the answer as the record gets them. */
function decide(call: StarterCall) {
  const request = requestOf(call);
  const evidence: Evidence = makeEvidence(request);
  const result = createDecider({ policy: () => policy })(request.context, request.token, request.proof, evidence);
  return { result, input: JSON.parse(evidence.policyInput ?? '') as unknown, answer: evidence.policyResult };
}

const judge = (input: unknown, by = policy) => by.evaluate(JSON.stringify(input), 0)[0] as { allow: boolean };

describe('the sources of the policies', () => {
  it('pass their own tests', async () => {
    const modules = allModules();
    const run = await testPolicy({ modules, data: source.data, coverage: true }, regoEngine);
    expect(run.diagnostics).toBeUndefined();
    expect(run.results.filter(({ outcome }) => outcome !== 'pass')).toEqual([]);
    expect(run.results.length).toBeGreaterThan(50);
    const texts = new Map(modules.map(({ path, text }) => [path, text.split('\n')]));
    const files = Object.entries(run.coverage?.files ?? {}).filter(([path]) => !path.endsWith('_test.rego'));
    const uncovered = files.flatMap(([path, { not_covered = [] }]) =>
      not_covered.map(({ start }) => `${path}: ${texts.get(path)?.[start.row - 1]}`),
    );
    // What stands behind everything else is never reached.
    expect([...new Set(uncovered)].sort()).toEqual([
      'issuance/decision.rego: default decision := {',
      'starter/decision.rego: default decision := {',
    ]);
  }, 120_000);

  it('have a test beside each', () => {
    const paths = allModules().map(({ path }) => path);
    const untested = paths.filter(
      (path) => !path.endsWith('_test.rego') && !paths.includes(path.replace('.rego', '_test.rego')),
    );
    expect(untested).toEqual([]);
  });

  it('are strict, fit the schema of the input, and are laid out as opa fmt does', async () => {
    const modules = allModules();
    const inputSchema = JSON.parse(readFileSync(join(FOLDER, 'schema/input.schema.json'), 'utf8')) as object;
    expect(await checkPolicy({ modules: source.modules, inputSchema }, regoEngine)).toEqual([]);
    expect(await checkPolicy({ modules }, regoEngine)).toEqual([]);
    const formatted = await formatModules(modules, regoEngine);
    expect(formatted.filter(({ changed }) => changed).map(({ path }) => path)).toEqual([]);
  });

  it.each(['request.metod', 'operation.nme', 'token.scope', 'job.repo', 'client.client_id'])(
    'would not misspell input.%s unnoticed',
    async (field) => {
      const inputSchema = JSON.parse(readFileSync(join(FOLDER, 'schema/input.schema.json'), 'utf8')) as object;
      const modules = [{ path: 'x.rego', text: `package x\n\na if input.${field} == "a"\n` }];
      expect(await checkPolicy({ modules, inputSchema }, regoEngine)).toMatchObject([
        { code: 'rego_type_error', row: 3 },
      ]);
    },
  );
});

describe('golden decisions of the starter policy, in WASM', () => {
  it.each(STARTER_CASES.map((row) => [row.codes.join(', ') || 'allowed', row.name, row] as const))(
    '%s: %s',
    (_, __, { call, codes }) => {
      const { result, answer } = decide(call);
      const found = (answer as { reasons?: { code: string }[] }).reasons ?? [];
      expect(found.map(({ code }) => code).sort()).toEqual([...codes].sort());
      const reason = codes.map((code) => WIRE[code]).find((wire) => wire !== undefined) ?? 'policy.denied';
      expect(result.ok ? 'allowed' : result.denial.reason).toBe(codes.length === 0 ? 'allowed' : reason);
    },
  );

  it('are those of OPA itself', async () => {
    const calls = STARTER_CASES.map(({ call }) => decide(call));
    const { modules, data } = source;
    const inputs = calls.map(({ input }) => input);
    const evaluated = await evalPolicy({ modules, data, query: 'data.sallyport.decision', inputs }, regoEngine);
    expect(evaluated.diagnostics).toBeUndefined();
    expect(calls.map(({ answer }) => answer)).toEqual(
      evaluated.results.map(({ result }) => result[0]?.expressions[0]?.value),
    );
  });

  it('requires is the least that would do', () => {
    const { result } = decide({ token: { scopes: [], authorizationDetails: [] } });
    const requires = result.ok ? {} : (result.denial.requires ?? {});
    expect(requires).toEqual({
      scopes: ['builds:write'],
      authorization_details: [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1/builds' }],
    });
    const { scopes = [], authorization_details: authorizationDetails = [] } = requires;
    expect(decide({ token: { scopes, authorizationDetails } }).result.ok).toBe(true);
  });
});

describe('whatever a token says', () => {
  const json = fc.jsonValue({ maxDepth: 3 });
  const near = (...values: unknown[]) => fc.oneof(json, fc.constantFrom(...values));
  const item = fc.record(
    {
      type: near('cloud_api'),
      actions: near(['builds.create'], ['builds.get'], 'builds.create'),
      identifier: near('projects/p1', 'projects/p10', 'projects', ''),
      locations: near(['https://cloud.example.com/v1'], ['https://other.example.com'], ['https:']),
      other: json,
    },
    { requiredKeys: [] },
  );

  it('the starter policy comes to an answer, and allows only by an item that is right in every member', () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 3 }), json, (authorizationDetails, value) => {
        const { result } = decide({ token: { authorizationDetails, claims: { value } } });
        if (!result.ok) {
          expect(result.denial.reason).toBe('policy.insufficient_authorization_details');
          return;
        }
        const right = authorizationDetails.filter(
          ({ type, actions, identifier, locations = ['https://cloud.example.com/v1'] }) =>
            type === 'cloud_api' &&
            Array.isArray(actions) &&
            actions.includes('builds.create') &&
            (identifier === 'projects/p1' || identifier === 'projects') &&
            Array.isArray(locations) &&
            locations.includes('https://cloud.example.com/v1'),
        );
        expect(right.some((found) => !('other' in found))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('what is taken away never adds rights', () => {
  /** What an input says on purpose by null, or by leaving something out. */
  const MEANT = [
    // The catalogue: null where the operation needs no details, and one scope less to ask for.
    /^null \/operation\/authorization_details_type$/,
    /^removed \/operation\/scopes\/\d$/,
    // The token: null where it names no job, which the table allows; and RFC 9396 §2.2, locations may be left out.
    /^null \/job$/,
    /^removed \/token\/authorization_details\/\d\/locations$/,
    // An item without the member that nobody knows is an ordinary one.
    /^removed \/token\/authorization_details\/0\/(privileges|max_count)$/,
  ];

  it('each path of each refused input, made null or left out', () => {
    const refused = STARTER_CASES.filter(({ codes }) => codes.length > 0).map(({ name, call }) => ({
      name,
      ...decide(call),
    }));
    const holes = refused.flatMap(({ name, input, result }) => {
      expect(result.ok).toBe(false);
      return mutations(input)
        .filter(({ label, value }) => !MEANT.some((pattern) => pattern.test(label)) && judge(value).allow)
        .map(({ label }) => `${name}: ${label}`);
    });
    expect(holes).toEqual([]);
  }, 120_000);

  it('each path of the data, made null or left out', async () => {
    const inputs = STARTER_CASES.filter(({ codes }) => codes.length > 0).map(({ name, call }) => ({
      name,
      input: decide(call).input,
    }));
    const holes: string[] = [];
    for (const { label, value } of mutations(source.data)) {
      const mutated = await activate(value as PolicySource['data'], []);
      for (const { name, input } of inputs) if (judge(input, mutated).allow) holes.push(`${name}: ${label}`);
    }
    expect(holes).toEqual([]);
  });

  it('finds a hole where there is one', () => {
    const open = mutations({ a: { b: [1, 2] } });
    expect(open.map(({ label }) => label)).toEqual([
      'null /a',
      'removed /a',
      'null /a/b',
      'removed /a/b',
      'null /a/b/0',
      'removed /a/b/0',
      'null /a/b/1',
      'removed /a/b/1',
    ]);
    expect(open.map(({ value }) => value)).toEqual([
      { a: null },
      {},
      { a: { b: null } },
      { a: {} },
      { a: { b: [null, 2] } },
      { a: { b: [2] } },
      { a: { b: [1, null] } },
      { a: { b: [1] } },
    ]);
  });
});

describe('the cost of a decision', () => {
  it('does not follow the number of jobs', async () => {
    const { starter, ...rest } = source.data as { starter: { jobs: { github: Record<string, unknown> } } };
    const many = Object.fromEntries(
      Array.from({ length: 100_000 }, (_, index) => [`acme/r${index}`, { repository_id: `${index}`, rules: ['look'] }]),
    );
    const github = { ...many, ...starter.jobs.github };
    const large = await activate({ ...rest, starter: { ...starter, jobs: { github } } });
    expect(judge(decide({}).input, large)).toEqual({ allow: true });
    expect(judge(decide({ job: { repository: 'acme/r99999', repository_id: '99999' } }).input, large).allow).toBe(
      false,
    );
  });
});
