import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { watchPolicyFiles } from '../policy/watch.ts';
import type { Log } from '../telemetry/log.ts';
import { buildConfiguredPolicy } from './policy_build.ts';
import { PolicyHolder } from './policy_holder.ts';

/** A policy that this process compiles itself, at start and whenever its files change. */
export interface CompiledPolicy {
  readonly holder: PolicyHolder;
  /** Compiles again. @returns whether the newest policy is live now */
  rebuild(): Promise<boolean>;
  /** Stops looking at the files. */
  close(): void;
}

/** What it is started with. */
export interface CompiledPolicyParts {
  readonly clock: Clock;
  readonly log: Log;
}

/** Compiles and tries the policy that the configuration names, and watches its files if it says so. @throws Error when it cannot be used */
export async function startCompiledPolicy(
  policy: GatewayConfig['policy'],
  { clock, log }: CompiledPolicyParts,
): Promise<CompiledPolicy> {
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
