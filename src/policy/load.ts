import { singleLineJson, visible } from '../telemetry/single_line.ts';
import type { NamedRevision, PolicyArtifact } from './artifact.ts';
import { PolicyEngine } from './engine.ts';
import type { PolicyInput } from './input_schema.ts';
import { largeSample, SAMPLE_INPUT } from './sample.ts';
import { tryPolicy } from './trial.ts';

/** A policy that was tried and can judge requests. */
export interface LoadedPolicy {
  readonly revision: string;
  readonly artifact: PolicyArtifact;
  /** The bundles that it was made of, as records show them: JSON text of an object of names; absent where it was made of none. */
  readonly bundles?: string;
  /** The values of the decision rule for an input document as JSON text. Throws an Error when the evaluation fails. */
  evaluate(input: string, nowMs: number): readonly unknown[];
  /** The values of another rule, a path below data; null where the policy does not have it. */
  evaluateRule?(rule: string, input: string, nowMs: number): readonly unknown[] | null;
}

/** How a policy is tried before it is used. */
export interface ActivationOptions {
  /** Documents that it must be able to judge, whatever it decides. Default: a usual call, and one with a very large token. */
  readonly samples?: readonly PolicyInput[];
  /** Milliseconds that judging a sample may take. Default 50: an evaluation cannot be interrupted, and everybody waits for it. */
  readonly budgetMs?: number;
}

const DEFAULT_BUDGET_MS = 50;
/** UTF-16 units of a bundle's revision that records show: it may be anything. */
const REVISION_LENGTH = 256;

/**
 * Makes a policy ready: compiles it, checks its built-ins, entrypoint and data, and lets it judge the samples, those in a thread of their
 * own.
 * @throws Error that says why it cannot be used
 */
export async function activatePolicy(artifact: PolicyArtifact, options: ActivationOptions = {}): Promise<LoadedPolicy> {
  const engine = await PolicyEngine.load(artifact);
  await tryArtifact(artifact, options);
  const { revision, bundles } = artifact;
  return {
    revision,
    artifact,
    ...(bundles === undefined ? {} : { bundles: bundlesText(bundles) }),
    evaluate: (input, nowMs) => engine.evaluate(input, nowMs),
    evaluateRule: (rule, input, nowMs) => engine.evaluateRule(rule, input, nowMs),
  };
}

/** Lets a compiled policy judge the samples in a thread of their own. @throws Error that says why it cannot be used */
export function tryArtifact(artifact: PolicyArtifact, options: ActivationOptions = {}): Promise<void> {
  const { samples = [SAMPLE_INPUT, largeSample()], budgetMs = DEFAULT_BUDGET_MS } = options;
  return tryPolicy({
    artifact,
    samples: samples.map((sample) => ({ input: JSON.stringify(sample), nowMs: sample.request.time * 1000 })),
    budgetMs,
  });
}

function bundlesText(bundles: readonly NamedRevision[]): string {
  const members = bundles.map(({ name, revision }) => [name, { revision: visible(revision, REVISION_LENGTH) }]);
  return singleLineJson(JSON.stringify(Object.fromEntries(members)));
}
