import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import { policyRequest, type RegoDiagnostic, type RegoPolicy } from './policy_source.ts';
import { requiredBuiltins } from './required_builtins.ts';

/** A policy to compile to WASM. */
export interface RegoBuildRequest extends RegoPolicy {
  /** Slash paths such as `sallyport/decision`; rules annotated with `entrypoint: true` are added. */
  readonly entrypoints?: readonly string[];
  /** Also report what OPA's strict mode refuses; costs one more compile. */
  readonly warnings?: boolean;
}

/** A policy compiled to WASM, or what stands in the way. */
export type RegoBuildResult =
  | {
      readonly ok: true;
      /** The WASM module, for `@open-policy-agent/opa-wasm`. The base document is not in it. */
      readonly wasm: Uint8Array<ArrayBuffer>;
      /** All entrypoints, in the order of their numbers. */
      readonly entrypoints: readonly string[];
      /** The built-in functions that the module asks its host for, sorted. */
      readonly builtins: readonly string[];
      readonly warnings: readonly RegoDiagnostic[];
    }
  | { readonly ok: false; readonly diagnostics: readonly RegoDiagnostic[] };

interface BuildAnswer {
  readonly wasm?: string;
  readonly entrypoints?: readonly string[];
  readonly diagnostics?: readonly RegoDiagnostic[];
  readonly warnings?: readonly RegoDiagnostic[];
}

/** Compiles Rego to WASM with OPA's own compiler, at optimisation level 0. */
export async function buildPolicy(
  request: RegoBuildRequest,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<RegoBuildResult> {
  const { entrypoints, warnings } = request;
  const call = { ...policyRequest(request, engine), entrypoints, warnings };
  const answer = await engine.call<BuildAnswer>('build', call, options);
  if (answer.wasm === undefined) return { ok: false, diagnostics: answer.diagnostics ?? [] };
  const wasm = Uint8Array.from(Buffer.from(answer.wasm, 'base64'));
  return {
    ok: true,
    wasm,
    entrypoints: answer.entrypoints ?? [],
    builtins: await requiredBuiltins(wasm),
    warnings: answer.warnings ?? [],
  };
}
