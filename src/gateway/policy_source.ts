import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { watchPolicyFiles } from '../policy/watch.ts';
import type { Log } from '../telemetry/log.ts';
import { buildConfiguredPolicy } from './policy_build.ts';
import { PolicyHolder } from './policy_holder.ts';

/** Where the policy of this process comes from. */
export interface PolicySource {
  readonly holder: PolicyHolder;
  /** Compiles again, where this process compiles it. @returns whether the newest policy is live now */
  rebuild(): Promise<boolean>;
  /** Stops looking at the files. */
  close(): void;
}

/** What it is started with. */
export interface PolicySourceParts {
  readonly clock: Clock;
  readonly log: Log;
}

/** Tries a policy that another process compiled, and will replace. @throws Error when it cannot be used */
export async function takePolicy(artifact: PolicyArtifact, parts: PolicySourceParts): Promise<PolicySource> {
  const holder = await PolicyHolder.start(artifact, parts);
  return { holder, rebuild: () => Promise.resolve(true), close: () => undefined };
}

/** Compiles and tries the policy that the configuration names, and watches its files if it says so. @throws Error when it cannot be used */
export async function startCompiledPolicy(
  policy: GatewayConfig['policy'],
  { clock, log }: PolicySourceParts,
): Promise<PolicySource> {
  let holder: PolicyHolder | undefined;
  const rebuild = async (): Promise<boolean> => {
    // A change during the first build comes here before there is anything to replace; it is built again below.
    if (holder === undefined) {
      changedMeanwhile = true;
      return false;
    }
    return holder.replace(() => buildConfiguredPolicy(policy));
  };
  let changedMeanwhile = false;
  const watch = policy.watch ? watchPolicyFiles([policy.path, ...policy.data], () => void rebuild()) : null;
  try {
    // Watched before it is read, so that no change falls between.
    await watch?.ready;
    holder = await PolicyHolder.start(await buildConfiguredPolicy(policy), { clock, log });
  } catch (error) {
    watch?.close();
    throw error;
  }
  if (changedMeanwhile) await rebuild();
  return { holder, rebuild, close: () => watch?.close() };
}
