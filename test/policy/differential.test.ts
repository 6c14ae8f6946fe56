import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProject, interpretAll, type RuleOutcome } from '../../src/insight/compare_decisions.ts';
import { readGolden } from '../../src/insight/golden.ts';
import { readProject } from '../../src/insight/project.ts';
import { copyStarter } from '../../src/insight/starter.ts';
import { issuanceSample } from '../../src/issuance/sample.ts';
import { canonical } from '../../src/policy/same_value.ts';
import { SAMPLE_INPUT } from '../../src/policy/sample.ts';
import { regoEngine } from '../support/rego.ts';

/** Few rights, so that a change of one is found. */
const ALLOWED = {
  scopes: ['builds:read', 'builds:write', 'secrets:read'],
  authorization_details: [
    { type: 'cloud_api', actions: ['builds.get'], identifier: 'projects/p1' },
    { type: 'cloud_api', actions: ['builds.get', 'builds.create'], identifier: 'projects/p1' },
  ],
};

/** Every policy that comes with Sallyport, asked about the same generated documents in OPA's interpreter and in WASM. */

const POLICIES = resolve(import.meta.dirname, '../../policies');
const QUESTIONS = 250;
const SAMPLE_OF_ISSUANCE: unknown = { ...issuanceSample().document, allowed: ALLOWED };

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'sallyport-differential-'));
});
afterAll(async () => {
  rmSync(root, { recursive: true, force: true });
  await regoEngine.close();
});

type Path = readonly (string | number)[];

/** All paths of a document, those of its branches too. */
function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const members = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return [path, ...members.flatMap(([name, member]) => pathsOf(member, [...path, name]))];
}

function changed(document: unknown, path: Path, value: unknown): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  if (Array.isArray(document)) {
    const items = document.map((item, index) => (index === name ? changed(item, rest, value) : (item as unknown)));
    return items.filter((item) => item !== undefined);
  }
  const copy = { ...(document as Record<string, unknown>) };
  const next = changed(copy[name], rest, value);
  if (next === undefined) delete copy[name];
  else copy[name] = next;
  return copy;
}

/** Text is well-formed, as the gateway makes it: half a surrogate pair never comes to a policy. */
const values = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    '',
    true,
    false,
    0,
    -1,
    0.5,
    2 ** 53,
    [],
    {},
    'any',
    'none',
    '.',
    '/',
    '%2F',
  ),
  fc.constantFrom<unknown>('projects/p1', 'projects/p10', 'namespaces/web', 'buckets/releases', 'allow', 'production'),
  fc.string({ unit: 'grapheme-ascii', maxLength: 8 }),
  fc.jsonValue({ maxDepth: 2, stringUnit: 'grapheme-ascii' }),
);

/** A document with one to four of its places made something else. */
function documents(seeds: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.constantFrom(...seeds).chain((seed) => {
    const change = fc.tuple(fc.constantFrom(...pathsOf(seed).slice(1)), values);
    return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) =>
      changes.reduce<unknown>((document, [path, value]) => {
        try {
          return changed(document, path, value);
        } catch {
          return document; // The place went with an earlier change.
        }
      }, seed),
    );
  });
}

/** Where the evaluation fails, the words are each evaluator's own. */
const textOf = ({ value, error }: RuleOutcome) => (error === undefined ? canonical(value) : 'fails');

describe.each([
  ['sallyport/decision', null],
  ['examples/per_job_table/decision', null],
  ['examples/break_glass/decision', null],
  ['examples/change_ticket/decision', null],
  ['token_issuance/decision', null],
  ['sallyport/decision', 'kubernetes'],
  ['sallyport/decision', 'aws'],
] as const)('%s (%s)', (entrypoint, shape) => {
  it('answers the same in both evaluators, whatever is asked', { timeout: 120_000 }, async () => {
    const folder = shape === null ? POLICIES : join(root, shape);
    if (shape !== null) await copyStarter(folder, shape);
    const project = await readProject(folder);
    const golden = (await readGolden(project)).filter((row) => row.entrypoint === entrypoint);
    const sample = entrypoint === 'token_issuance/decision' ? SAMPLE_OF_ISSUANCE : SAMPLE_INPUT;
    const seeds = [sample, ...golden.map(({ input }) => input)];
    const inputs = fc.sample(documents(seeds), QUESTIONS).map((input) => JSON.parse(JSON.stringify(input)) as unknown);
    const compiled = await compileProject(project, entrypoint, regoEngine);
    if ('findings' in compiled) throw new Error(JSON.stringify(compiled.findings));
    const examples = [...seeds, ...inputs].map((input, index) => ({ name: String(index), input, data: project.data }));
    const interpreted = await interpretAll(project, entrypoint, { examples, engine: regoEngine });
    const different: unknown[] = [];
    const answers = new Set<string>();
    for (const [index, { input, data }] of examples.entries()) {
      const [left, right] = [textOf(interpreted[index] ?? {}), textOf(await compiled.policy.ask(input, data))];
      answers.add(left);
      if (left !== right) different.push({ input, interpreter: left, wasm: right });
    }
    expect(different).toEqual([]);
    expect(answers.size).toBeGreaterThan(2);
  });
});
