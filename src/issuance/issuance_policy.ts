import { makeArtifact, type PolicyArtifact } from '../policy/artifact.ts';
import { PolicyEngine } from '../policy/engine.ts';
import { readPolicyFolder } from '../policy/folder.ts';
import { tryPolicy } from '../policy/trial.ts';
import { watchPolicyFiles } from '../policy/watch.ts';
import { buildPolicy } from '../rego/build.ts';
import type { RegoDiagnostic } from '../rego/policy_source.ts';
import type { Log } from '../telemetry/log.ts';
import { issuanceSample } from './sample.ts';

/** Where the policy is; as in the configuration's `issuance_policy`. */
export interface IssuancePolicyFiles {
  readonly path: string;
  readonly entrypoint: string;
  readonly data: readonly string[];
  readonly watch: boolean;
}

/** A policy that was tried and can judge token requests. */
export interface RunningIssuancePolicy {
  /** The values of its rule for an input document as JSON text. Throws an Error when the evaluation fails. */
  evaluate(input: string, nowMs: number): readonly unknown[];
  /** Names exactly the policy that is asked now. */
  revision(): string;
  /** Stops looking at the files. */
  close(): void;
}

/** Milliseconds that one compilation may take. */
const BUILD_TIMEOUT_MS = 60_000;
/** Milliseconds that judging a sample may take: an evaluation cannot be interrupted, and everybody waits for it. */
const BUDGET_MS = 50;

interface Live {
  readonly revision: string;
  readonly engine: PolicyEngine;
}

/**
 * Compiles the issuance policy with OPA's own compiler, tries it, and watches its files if the configuration says so. A change is compiled
 * and tried whole, then takes the place of the policy before it between two requests; when anything about it fails, the old one stays.
 * @throws Error that says which file and line stand in the way, and why
 */
export async function startIssuancePolicy(files: IssuancePolicyFiles, log: Log): Promise<RunningIssuancePolicy> {
  let live: Live | undefined;
  let turn: Promise<void> = Promise.resolve();
  const renew = async (): Promise<void> => {
    const artifact = await build(files);
    if (artifact.revision === live?.revision) return;
    const replaced = live !== undefined;
    live = { revision: artifact.revision, engine: await activate(artifact) };
    if (replaced) log.info({ revision: live.revision }, 'the issuance policy was replaced');
  };
  const changed = () => {
    // One after the other, so that an older one never overtakes a newer one.
    turn = turn.then(renew).catch((error: Error) => {
      log.error(
        { revision: live?.revision, why: error.message },
        'the new issuance policy was refused; the old one stays',
      );
    });
  };
  const watch = files.watch ? watchPolicyFiles([files.path, ...files.data], changed) : null;
  try {
    // Watched before it is read, so that no change falls between.
    await watch?.ready;
    await renew();
  } catch (error) {
    watch?.close();
    throw error;
  }
  const current = (): Live => {
    if (live === undefined) throw new Error('there is no issuance policy');
    return live;
  };
  return {
    evaluate: (input, nowMs) => current().engine.evaluate(input, nowMs),
    revision: () => current().revision,
    close: () => watch?.close(),
  };
}

async function build({ path, entrypoint, data: dataFiles }: IssuancePolicyFiles): Promise<PolicyArtifact> {
  const { modules, data } = await readPolicyFolder(path, dataFiles);
  const built = await buildPolicy({ modules, entrypoints: [entrypoint] }, undefined, { timeoutMs: BUILD_TIMEOUT_MS });
  if (built.ok) return makeArtifact({ wasm: built.wasm, data, entrypoint });
  throw new Error(`the issuance policy in ${path} does not compile:\n${built.diagnostics.map(describe).join('\n')}`);
}

async function activate(artifact: PolicyArtifact): Promise<PolicyEngine> {
  const engine = await PolicyEngine.load(artifact);
  const { document, nowMs } = issuanceSample();
  await tryPolicy({ artifact, samples: [{ input: JSON.stringify(document), nowMs }], budgetMs: BUDGET_MS });
  return engine;
}

function describe(diagnostic: RegoDiagnostic): string {
  const place = diagnostic.file === '' ? '' : `${diagnostic.file}:${diagnostic.row}:${diagnostic.column}: `;
  return `  ${place}${diagnostic.message} (${diagnostic.code})`;
}
