import { randomUUID } from 'node:crypto';
import { canonical } from '../policy/same_value.ts';
import { policyDependencies } from '../rego/dependencies.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import { inspectPolicy } from '../rego/inspect.ts';
import { testPolicy } from '../rego/test.ts';
import type { PolicyProject } from './project.ts';

/** One document that a policy is asked about, and the data it is asked with. */
export interface Example {
  /** Where it comes from: a test's full name and which of its questions, or a file. */
  readonly name: string;
  readonly input: unknown;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What examples are looked for. */
export interface ExampleQuery {
  /** The rule that is asked, such as `sallyport/decision`. */
  readonly entrypoint: string;
  /** A regular expression on the full names of tests. */
  readonly filter?: string;
}

/**
 * Collects what the tests of a folder ask the decision rule: each different input with the data it was asked with. The rule is given one
 * more body, which prints what it sees and never holds, so that nothing has to be known of how the tests are written.
 */
export async function examplesOfTests(
  project: PolicyProject,
  { entrypoint, filter }: ExampleQuery,
  engine: RegoEngine,
): Promise<readonly Example[]> {
  const { modules, tests, data } = project;
  const mark = `example-${randomUUID()}`;
  const paths = await basePaths(project, entrypoint, engine);
  const probe = { path: `${mark}.rego`, text: probeText(entrypoint, mark, paths) };
  const run = await testPolicy(
    { modules: [...modules, probe, ...tests], data, ...(filter === undefined ? {} : { filter }) },
    engine,
  );
  if (run.diagnostics !== undefined) throw new Error(`the tests do not compile: ${run.diagnostics[0]?.message}`);
  const found = new Map<string, Example>();
  for (const { path, output = '' } of run.results) {
    const lines = output.split('\n').filter((line) => line.startsWith(mark));
    for (const [index, line] of lines.entries()) {
      const example = {
        name: `${path.replace(/^data\./, '')} question ${index + 1}`,
        ...readLine(line, mark, { paths, data }),
      };
      const key = canonical([example.input, example.data]);
      if (!found.has(key)) found.set(key, example);
    }
  }
  return [...found.values()];
}

/** Paths of the base document that the rule reads, the shortest ones; data that a test brings stands there too. */
async function basePaths(
  { modules, data }: PolicyProject,
  entrypoint: string,
  engine: RegoEngine,
): Promise<readonly string[][]> {
  const query = `data.${entrypoint.replaceAll('/', '.')}`;
  const dependencies = await policyDependencies({ modules, data }, query, engine);
  const { modules: inspected } = await inspectPolicy({ modules }, engine);
  const packages = inspected.map((module) => module.package.split('.').slice(1));
  const read = dependencies.data.map((path) => path.map(String)).sort((a, b) => a.length - b.length);
  const kept: string[][] = [];
  for (const path of read) {
    // A path above a package is not data alone: asking for it would ask the policy about itself.
    const above = packages.some((name) => path.every((part, index) => name[index] === part));
    if (!above && !kept.some((shorter) => shorter.every((part, index) => path[index] === part))) kept.push(path);
  }
  return kept;
}

function probeText(entrypoint: string, mark: string, paths: readonly string[][]): string {
  const [rule = '', ...folder] = entrypoint.split('/').reverse();
  const values = paths.map((path) => `json.marshal(data${path.map((part) => `[${JSON.stringify(part)}]`).join('')})`);
  // Each value in its own argument: one that is undefined is printed as such and hides no other.
  const args = ['json.marshal(input)', ...values].map((value) => `base64.encode(${value})`);
  return `package ${folder.reverse().join('.')}

${rule} := probed if {
	print("${mark}", ${args.join(', ')})
	probed := 1
	probed == 2
}
`;
}

interface Base {
  readonly paths: readonly string[][];
  readonly data: Readonly<Record<string, unknown>>;
}

function readLine(line: string, mark: string, { paths, data }: Base): Omit<Example, 'name'> {
  const [input, ...values] = line
    .slice(mark.length + 1)
    .split(' ')
    .map((text) =>
      text === '<undefined>' ? undefined : (JSON.parse(Buffer.from(text, 'base64').toString()) as unknown),
    );
  const asked = paths.reduce<unknown>((document, path, index) => put(document, path, values[index]), data);
  return { input: input === undefined ? null : input, data: asked as Readonly<Record<string, unknown>> };
}

/** A copy of a document with another value at a path; without one where the value is undefined. */
function put(document: unknown, [name, ...rest]: readonly string[], value: unknown): unknown {
  if (name === undefined) return value;
  const isObject = typeof document === 'object' && document !== null && !Array.isArray(document);
  const { [name]: present, ...others } = (isObject ? document : {}) as Record<string, unknown>;
  const placed = put(present, rest, value);
  return placed === undefined ? others : { ...others, [name]: placed };
}
