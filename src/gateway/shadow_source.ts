import type { GatewayConfig } from '../config/schema.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { tryArtifact } from '../policy/load.ts';
import { ShadowPolicy } from '../policy/shadow.ts';
import { watchPolicyFiles } from '../policy/watch.ts';
import type { Log } from '../telemetry/log.ts';
import { buildConfiguredPolicy, type PolicyFolder } from './policy_build.ts';
import { Shadow } from './shadow.ts';

/** The candidate of this process, and where it comes from. */
export interface ShadowSource {
  readonly shadow: Shadow;
  /** Compiles it again, where this process compiles it. */
  rebuild(): Promise<boolean>;
  close(): void;
}

type PolicyConfig = GatewayConfig['policy'];

/** What a source is made of. */
export interface ShadowSourceParts {
  readonly policy: PolicyConfig;
  readonly log: Log;
}

/** A candidate that another process compiles, and will send. Null where none is configured. */
export function takeShadow({ policy, log }: ShadowSourceParts): ShadowSource | null {
  if (policy.shadow === undefined) return null;
  const shadow = new Shadow({
    sample: policy.shadow.sample,
    activate: (artifact) => ShadowPolicy.start(artifact),
    log,
  });
  return { shadow, rebuild: () => Promise.resolve(true), close: () => shadow.close() };
}

/** Compiles the candidate for this process and asks it here. Requests do not wait for it: they are served before it is there. */
export function startShadow(parts: ShadowSourceParts): ShadowSource | null {
  const source = takeShadow(parts);
  return source === null ? null : compileFor(source.shadow, parts);
}

/** Compiles the candidate for other processes: each that can be used is handed to `send`, and judges nothing here. */
export function sendShadow(parts: ShadowSourceParts, send: (artifact: PolicyArtifact) => void): ShadowSource | null {
  const { policy, log } = parts;
  if (policy.shadow === undefined) return null;
  const activate = async (artifact: PolicyArtifact) => {
    await tryArtifact(artifact);
    send(artifact);
    return { revision: artifact.revision, judge: () => null, retire: () => undefined };
  };
  return compileFor(new Shadow({ sample: policy.shadow.sample, activate, log }), parts);
}

function compileFor(shadow: Shadow, { policy }: ShadowSourceParts): ShadowSource {
  const candidate = candidateOf(policy);
  const rebuild = () => shadow.replace(() => buildConfiguredPolicy(candidate));
  const { path, data, watch } = candidate;
  const files = watch ? watchPolicyFiles([path, ...data], () => void rebuild()) : null;
  // Watched before it is read, so that no change falls between.
  void (files?.ready ?? Promise.resolve()).then(rebuild);
  return {
    shadow,
    rebuild,
    close: () => {
      files?.close();
      shadow.close();
    },
  };
}

/** The candidate, a folder as the live policy may be one, and whether it is compiled again when it changes. */
export function candidateOf(policy: PolicyConfig): PolicyFolder & { readonly watch: boolean } {
  const { path = '', data = [], entrypoint } = policy.shadow ?? {};
  return { path, data, entrypoint: entrypoint ?? policy.entrypoint, watch: policy.watch };
}
