import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import { policyRequest, type RegoDiagnostic, type RegoPolicy } from './policy_source.ts';

/** What is in a policy. */
export interface RegoInspection {
  readonly modules: readonly InspectedModule[];
  /** All METADATA blocks. */
  readonly annotations: readonly InspectedAnnotations[];
  /** All built-in functions that the modules call, whether WASM has them or not, sorted. */
  readonly builtins: readonly string[];
  /** What was wrong; what could be read is listed all the same. */
  readonly diagnostics?: readonly RegoDiagnostic[];
}

/** One module: its package (`data.sallyport`), imports and rules in source order. */
export interface InspectedModule {
  readonly path: string;
  readonly package: string;
  readonly imports: readonly string[];
  readonly rules: readonly InspectedRule[];
}

/** One rule; several of one name are alternatives. */
export interface InspectedRule {
  readonly name: string;
  /** The full name of what it defines, such as `data.sallyport.allow`. */
  readonly path: string;
  readonly row: number;
  readonly column: number;
  readonly default?: boolean;
  readonly function?: boolean;
}

/** One METADATA block. */
export interface InspectedAnnotations {
  /** The full name of what is annotated, such as `data.sallyport.decision`. */
  readonly path: string;
  readonly file: string;
  readonly row: number;
  /** In OPA's own format. */
  readonly annotations: {
    readonly scope: string;
    readonly title?: string;
    readonly description?: string;
    readonly entrypoint?: boolean;
    readonly custom?: Readonly<Record<string, unknown>>;
    readonly [member: string]: unknown;
  };
}

/** Lists packages, rules, annotations and built-in functions of a policy. */
export function inspectPolicy(
  policy: RegoPolicy,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<RegoInspection> {
  return engine.call('inspect', policyRequest(policy, engine), options);
}
