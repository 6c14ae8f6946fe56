import { type ArtifactParts, makeArtifact } from '../policy/artifact.ts';
import { PolicyEngine } from '../policy/engine.ts';
import { canonical } from '../policy/same_value.ts';
import { isObject } from '../policy/shape.ts';
import { buildPolicy } from '../rego/build.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import { evalPolicy } from '../rego/eval.ts';
import { type Finding, withHint } from './check.ts';
import type { Example } from './examples.ts';
import type { PolicyProject } from './project.ts';

/** What a rule gave: its value, nothing where it is undefined, or why its evaluation failed. */
export interface RuleOutcome {
  readonly value?: unknown;
  readonly error?: string;
}

/** Asks a compiled rule about examples; engines are kept as long as the data stays the same. */
export class CompiledPolicy {
  readonly #parts: Omit<ArtifactParts, 'data'>;
  #data: unknown;
  #engine: PolicyEngine | undefined;

  constructor(parts: Omit<ArtifactParts, 'data'>) {
    this.#parts = parts;
  }

  /** The value of the rule; time is that of the request, as in the gateway. */
  async ask(input: unknown, data: Readonly<Record<string, unknown>>): Promise<RuleOutcome> {
    try {
      if (this.#engine === undefined || this.#data !== data) {
        this.#engine = await PolicyEngine.load(makeArtifact({ ...this.#parts, data }));
        this.#data = data;
      }
      const [value] = this.#engine.evaluate(JSON.stringify(input), timeOf(input));
      return value === undefined ? {} : { value };
    } catch (error) {
      return { error: (error as Error).message };
    }
  }
}

/** Milliseconds of `request.time`; 0 where the document has none. */
export function timeOf(input: unknown): number {
  const request = isObject(input) ? input['request'] : undefined;
  const time = isObject(request) ? request['time'] : undefined;
  return typeof time === 'number' ? time * 1000 : 0;
}

/** A policy compiled for one entrypoint, or why it cannot be. */
export async function compileProject(
  { modules, data }: PolicyProject,
  entrypoint: string,
  engine: RegoEngine,
): Promise<{ readonly policy: CompiledPolicy } | { readonly findings: readonly Finding[] }> {
  const built = await buildPolicy({ modules, data, entrypoints: [entrypoint] }, engine);
  if (!built.ok) return { findings: built.diagnostics.map(withHint) };
  return { policy: new CompiledPolicy({ wasm: built.wasm, entrypoint }) };
}

/** Examples of one data document together: a change of data costs a new instance. */
export function byData(examples: readonly Example[]): readonly (readonly Example[])[] {
  const groups = new Map<string, Example[]>();
  for (const example of examples) {
    const key = canonical(example.data);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [example]);
    // One object for all of them, so that it is seen to be the same.
    else group.push({ ...example, data: group[0]?.data ?? example.data });
  }
  return [...groups.values()];
}

/** What OPA's interpreter answers to examples of one data document, in their order. */
export async function interpretAll(
  project: PolicyProject,
  entrypoint: string,
  { examples, engine }: { readonly examples: readonly Example[]; readonly engine: RegoEngine },
): Promise<readonly RuleOutcome[]> {
  const outcomes: RuleOutcome[] = [];
  // Examples of one time share a call: `time.now_ns` is one for all inputs of it.
  const times = Map.groupBy(examples.entries(), ([, { input }]) => timeOf(input));
  for (const [nowMs, entries] of times) {
    const inputs = entries.map(([, { input }]) => input);
    const query = `data.${entrypoint.replaceAll('/', '.')}`;
    const { modules } = project;
    const { results } = await evalPolicy({ modules, data: examples[0]?.data, query, inputs, nowMs }, engine);
    for (const [at, [index]] of entries.entries()) {
      const error = results[at]?.diagnostics?.[0]?.message;
      const solution = results[at]?.result[0];
      if (error !== undefined) outcomes[index] = { error };
      else outcomes[index] = solution === undefined ? {} : { value: solution.expressions[0]?.value };
    }
  }
  return outcomes;
}
