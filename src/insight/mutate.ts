import type { RegoEngine } from '../rego/engine_host.ts';
import { type BlamedRule, blame } from './blame.ts';
import type { Finding } from './check.ts';
import { byData, type CompiledPolicy, compileProject } from './compare_decisions.ts';
import type { Example } from './examples.ts';
import { type Explanation, explains } from './explained.ts';
import { codesOf } from './golden.ts';
import { type Change, mutationsOf, variationsOf } from './mutations.ts';
import type { PolicyProject } from './project.ts';

/** What is tried. */
export interface MutateRequest {
  readonly entrypoint: string;
  readonly examples: readonly Example[];
  readonly explained: readonly Explanation[];
}

/** A denial that becomes an allow when something is taken away. */
export interface Flip {
  /** JSON pointer below `/input` or `/data`; `*` stands for the place in a list. */
  readonly path: string;
  readonly change: Change;
  /** The first example that shows it, and how many do. */
  readonly example: string;
  readonly count: number;
  /** Where the denial got lost; empty for a flip that is explained. */
  readonly rules: readonly BlamedRule[];
  /** Why it is meant. */
  readonly because?: string;
}

/** What taking things away did. */
export interface MutateReport {
  readonly allowed: number;
  readonly denied: number;
  readonly mutants: number;
  readonly flips: readonly Flip[];
  /** Explanations that nothing needs any more. */
  readonly unused: readonly Explanation[];
}

/** Mutants of one run: an evaluation is some ten microseconds, one with other data a millisecond or two. */
const MUTANT_LIMIT = 1_000_000;
/** Flips whose rules are looked for: each costs two evaluations with a trace. */
const BLAME_LIMIT = 25;

/** A denial, what was changed, and what it became. */
interface Found {
  readonly path: string;
  readonly change: Change;
  readonly denied: Example;
  readonly mutated: Example;
  count: number;
}

/**
 * Looks for holes that silence opens: of each denied example, each path of its input and of its data is left out and made null, and each
 * denial that becomes an allow is a flip. An allowed example is denied first: each of its leaves is made another value of its type, and
 * where that denies, the leaf, and all that it is in, is taken away.
 * @throws Error where there is nothing to try
 */
export async function mutatePolicy(
  project: PolicyProject,
  request: MutateRequest,
  engine: RegoEngine,
): Promise<MutateReport | { readonly findings: readonly Finding[] }> {
  const compiled = await compileProject(project, request.entrypoint, engine);
  if ('findings' in compiled) return compiled;
  const hunt = new Hunt(compiled.policy);
  for (const group of byData(request.examples)) await hunt.tryAll(group);
  const flips: Flip[] = [];
  const used = new Set<Explanation>();
  let blamed = 0;
  for (const { path, change, denied, mutated, count } of hunt.found.values()) {
    const explanation = request.explained.find((entry) => explains(entry, path, change));
    if (explanation !== undefined) used.add(explanation);
    const look = explanation === undefined && blamed++ < BLAME_LIMIT;
    const rules = look ? await blame(project, { entrypoint: request.entrypoint, denied, mutated }, engine) : [];
    const because = explanation === undefined ? {} : { because: explanation.because };
    flips.push({ path, change, example: denied.name, count, rules, ...because });
  }
  const { allowed, denied, mutants } = hunt;
  return { allowed, denied, mutants, flips, unused: request.explained.filter((entry) => !used.has(entry)) };
}

/** Takes things away from examples, and keeps what became an allow by that. */
class Hunt {
  readonly found = new Map<string, Found>();
  allowed = 0;
  denied = 0;
  mutants = 0;
  readonly #policy: CompiledPolicy;

  constructor(policy: CompiledPolicy) {
    this.#policy = policy;
  }

  /** Examples of one data document. Inputs first, all with the same data; then the data, each change for all examples. */
  async tryAll(examples: readonly Example[]): Promise<void> {
    const denied: Example[] = [];
    const allowed: Example[] = [];
    for (const example of examples) ((await this.#allows(example)) ? allowed : denied).push(example);
    this.allowed += allowed.length;
    this.denied += denied.length;
    for (const example of denied) await this.#takeAway(example, 'input', () => true);
    for (const example of allowed) await this.#vary(example, 'input');
    const [first] = examples;
    if (first === undefined) return;
    for (const { path, change, value } of mutationsOf(first.data)) {
      for (const example of denied) {
        await this.#judge(example, { ...example, data: value as Example['data'] }, { path: `/data${path}`, change });
      }
    }
    for (const example of allowed.slice(0, 1)) await this.#vary(example, 'data');
  }

  async #vary(example: Example, part: 'input' | 'data'): Promise<void> {
    for (const { path, value } of variationsOf(example[part])) {
      const varied = { ...example, name: `${example.name}, with another ${path}`, [part]: value };
      if (await this.#allows(varied)) continue;
      // What holds the leaf, and the leaf itself; nothing beside it.
      await this.#takeAway(varied, part, (removed) => path === removed || path.startsWith(`${removed}/`));
    }
  }

  async #takeAway(denied: Example, part: 'input' | 'data', wanted: (path: string) => boolean): Promise<void> {
    for (const { path, change, value } of mutationsOf(denied[part])) {
      if (wanted(path)) await this.#judge(denied, { ...denied, [part]: value }, { path: `/${part}${path}`, change });
    }
  }

  async #judge(
    denied: Example,
    mutated: Example,
    at: { readonly path: string; readonly change: Change },
  ): Promise<void> {
    if (!(await this.#allows(mutated))) return;
    const key = `${at.change} ${at.path}`;
    const before = this.found.get(key);
    if (before === undefined) this.found.set(key, { ...at, denied, mutated, count: 1 });
    else before.count++;
  }

  async #allows({ input, data }: Example): Promise<boolean> {
    this.mutants++;
    if (this.mutants > MUTANT_LIMIT)
      throw new Error(`more than ${MUTANT_LIMIT} changes to try: use fewer examples (--run)`);
    return codesOf((await this.#policy.ask(input, data)).value).length === 0;
  }
}
