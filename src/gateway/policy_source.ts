import { statSync } from 'node:fs';
import type { AdminApi } from '../admin/api.ts';
import type { BundleState } from '../bundle/state.ts';
import { type BundleConfig, fileBundle, type PolicyConfig } from '../config/policy_schema.ts';
import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { watchPolicyFiles } from '../policy/watch.ts';
import type { Log } from '../telemetry/log.ts';
import { buildConfiguredPolicy, type PolicyFolder } from './policy_build.ts';
import { startBundlePolicy } from './policy_bundles.ts';
import { PolicyHolder } from './policy_holder.ts';
import { startPushedPolicy } from './policy_push.ts';

/** Where the policy of this process comes from. */
export interface PolicySource {
  readonly holder: PolicyHolder;
  /** Looks for something new, where this process does so. @returns whether the newest policy is live now */
  rebuild(): Promise<boolean>;
  /** What is known of the bundles that it is made of; absent where it is not made of bundles here. */
  bundles?(): readonly BundleState[];
  /** What the holder of the admin token can do with it; absent: nothing. */
  readonly api?: AdminApi;
  /** Stops looking. */
  close(): Promise<void>;
}

/** What it is started with. */
export interface PolicySourceParts {
  readonly clock: Clock;
  readonly log: Log;
  /** False: what was kept in `persistence_folder` is read, and nothing is kept there. Absent: bundles are kept for the next start. */
  readonly keep?: boolean;
}

/** Tries a policy that another process compiled, and will replace. @throws Error when it cannot be used */
export async function takePolicy(artifact: PolicyArtifact, parts: PolicySourceParts): Promise<PolicySource> {
  const holder = await PolicyHolder.start(artifact, parts);
  return { holder, rebuild: () => Promise.resolve(true), close: () => Promise.resolve() };
}

/** Gets, compiles and tries the policy that the configuration names, and renews it as it says. @throws Error when it cannot be used */
export function startPolicy(config: GatewayConfig, parts: PolicySourceParts): Promise<PolicySource> {
  const { policy } = config;
  const folder = folderOf(policy);
  if (folder !== null && policy.push) return startPushedPolicy(folder, policy.persistence_folder, parts);
  if (folder !== null) return startFolderPolicy(folder, policy.watch, parts);
  if (policy.push) throw new Error('policy.push: expected policy.path to be a folder, with which it begins');
  return startBundlePolicy({ ...policy, bundles: bundlesOf(policy) }, config.services, parts);
}

/** The folder of Rego that the configuration names; null where it names bundles. */
export function folderOf({ path, data, entrypoint }: PolicyConfig): PolicyFolder | null {
  if (path === undefined) return null;
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true || /\.(tar\.gz|tgz)$/.test(path) ? null : { path, data, entrypoint };
}

/** The bundles that the configuration names; a single file is a bundle as well. */
export function bundlesOf({ path, bundles = [], signing }: PolicyConfig): readonly BundleConfig[] {
  return path === undefined ? bundles : [fileBundle(path, signing)];
}

async function startFolderPolicy(
  folder: PolicyFolder,
  watched: boolean,
  { clock, log }: PolicySourceParts,
): Promise<PolicySource> {
  let holder: PolicyHolder | undefined;
  const rebuild = async (): Promise<boolean> => {
    // A change during the first build comes here before there is anything to replace; it is built again below.
    if (holder === undefined) {
      changedMeanwhile = true;
      return false;
    }
    return holder.replace(() => buildConfiguredPolicy(folder));
  };
  let changedMeanwhile = false;
  const watch = watched ? watchPolicyFiles([folder.path, ...folder.data], () => void rebuild()) : null;
  try {
    // Watched before it is read, so that no change falls between.
    await watch?.ready;
    holder = await PolicyHolder.start(await buildConfiguredPolicy(folder), { clock, log });
  } catch (error) {
    watch?.close();
    throw error;
  }
  if (changedMeanwhile) await rebuild();
  return { holder, rebuild, close: () => Promise.resolve(watch?.close()) };
}
