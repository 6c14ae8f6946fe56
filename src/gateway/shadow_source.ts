import { join } from 'node:path';
import type { PolicyConfig } from '../config/policy_schema.ts';
import type { ServiceConfig } from '../config/service_schema.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { tryArtifact } from '../policy/load.ts';
import { ShadowPolicy } from '../policy/shadow.ts';
import { watchPolicyFiles } from '../policy/watch.ts';
import { buildConfiguredPolicy } from './policy_build.ts';
import { bundlesOf, folderOf, type PolicySourceParts } from './policy_source.ts';
import { Shadow } from './shadow.ts';
import { CandidateBundles } from './shadow_bundles.ts';

/** The candidate of this process, and where it comes from. */
export interface ShadowSource {
  readonly shadow: Shadow;
  /** Looks for something new, where this process does so. @returns whether the newest candidate is asked now */
  rebuild(): Promise<boolean>;
  close(): Promise<void>;
}

/** What a source is made of. */
export interface ShadowSourceParts extends PolicySourceParts {
  readonly config: { readonly policy: PolicyConfig; readonly services: readonly ServiceConfig[] };
}

/** A candidate that another process compiles, and will send. Null where none is configured. */
export function takeShadow({ config, log }: ShadowSourceParts): ShadowSource | null {
  const { shadow: configured } = config.policy;
  if (configured === undefined) return null;
  const { sample } = configured;
  const shadow = new Shadow({ sample, activate: (artifact) => ShadowPolicy.start(artifact), log });
  return { shadow, rebuild: () => Promise.resolve(true), close: () => Promise.resolve(shadow.close()) };
}

/** Compiles the candidate for this process and asks it here. Requests do not wait for it: they are served before it is there. */
export function startShadow(parts: ShadowSourceParts): ShadowSource | null {
  const source = takeShadow(parts);
  return source === null ? null : compileFor(source.shadow, parts);
}

/** Compiles the candidate for other processes: each that can be used is handed to `send`, and judges nothing here. */
export function sendShadow(parts: ShadowSourceParts, send: (artifact: PolicyArtifact) => void): ShadowSource | null {
  const { config, log } = parts;
  if (config.policy.shadow === undefined) return null;
  const activate = async (artifact: PolicyArtifact) => {
    await tryArtifact(artifact);
    send(artifact);
    return { revision: artifact.revision, judge: () => null, retire: () => undefined };
  };
  return compileFor(new Shadow({ sample: config.policy.shadow.sample, activate, log }), parts);
}

function compileFor(shadow: Shadow, { config, clock, log }: ShadowSourceParts): ShadowSource {
  const candidate = candidateOf(config.policy);
  const folder = folderOf(candidate);
  const source =
    folder === null
      ? bundleCandidate(candidate, { shadow, services: config.services, clock, log })
      : folderCandidate(shadow, candidate);
  return {
    shadow,
    rebuild: source.rebuild,
    close: async () => {
      await source.close();
      shadow.close();
    },
  };
}

type Renewed = Pick<ShadowSource, 'rebuild' | 'close'>;

function folderCandidate(shadow: Shadow, candidate: PolicyConfig): Renewed {
  const { path = '', data, entrypoint, watch } = candidate;
  const rebuild = () => shadow.replace(() => buildConfiguredPolicy({ path, data, entrypoint }));
  const files = watch ? watchPolicyFiles([path, ...data], () => void rebuild()) : null;
  // Watched before it is read, so that no change falls between.
  void (files?.ready ?? Promise.resolve()).then(rebuild);
  return { rebuild, close: () => Promise.resolve(files?.close()) };
}

function bundleCandidate(candidate: PolicyConfig, parts: ConstructorParameters<typeof CandidateBundles>[1]): Renewed {
  const bundles = new CandidateBundles({ ...candidate, bundles: bundlesOf(candidate) }, parts);
  void bundles.start();
  return { rebuild: () => bundles.rebuild(), close: () => bundles.close() };
}

/** The candidate as the settings of a policy of its own. What is kept of its bundles lies beside that of the live policy. */
export function candidateOf(policy: PolicyConfig): PolicyConfig {
  const { path, bundles, signing, data = [], entrypoint } = policy.shadow ?? {};
  const { keys, rollback, watch, start_timeout_seconds, persistence_folder: folder } = policy;
  return {
    path,
    bundles,
    signing,
    data,
    entrypoint: entrypoint ?? policy.entrypoint,
    keys,
    rollback,
    watch,
    start_timeout_seconds,
    push: false,
    ...(folder === undefined ? {} : { persistence_folder: join(folder, 'candidate') }),
  };
}
