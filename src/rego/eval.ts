import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import { policyRequest, type RegoDiagnostic, type RegoPlace, type RegoPolicy } from './policy_source.ts';

/** A query for OPA's interpreter. */
export interface RegoEvalRequest extends RegoPolicy {
  /** Such as `data.sallyport.decision`. */
  readonly query: string;
  /** Evaluated one after the other over one compile. Left out, the query runs once and `input` is undefined. */
  readonly inputs?: readonly unknown[];
  /**
   * Which part of the trace is wanted. With any, {@link RegoEvaluation.rules} is filled too, and OPA's shortcuts (rule
   * index, early exit) are off, so that each rule shows why it did not hold.
   */
  readonly explain?: 'notes' | 'fails' | 'full';
  /** What `time.now_ns` sees, in milliseconds since 1970. Default: the real time. */
  readonly nowMs?: number;
  /** What `opa.runtime` answers, where the capabilities have it. Default: an empty object. */
  readonly runtime?: Readonly<Record<string, unknown>>;
  /** What one evaluation may take, in time and in memory beyond what OPA has already; more is a diagnostic. Default: no bounds. */
  readonly bounds?: { readonly milliseconds: number; readonly bytes: number };
  /** An error inside a built-in function fails the evaluation instead of being undefined. */
  readonly strict?: boolean;
}

/** The answers to a query, one for each input. */
export interface RegoEvalResult {
  readonly results: readonly RegoEvaluation[];
  /** Why nothing was evaluated. With a place but without a file, it is about the query. */
  readonly diagnostics?: readonly RegoDiagnostic[];
}

/** One evaluation. */
export interface RegoEvaluation {
  /** OPA's result set; empty where the query is undefined. Sets are arrays in it. */
  readonly result: readonly RegoSolution[];
  /** What `print` wrote. */
  readonly output?: string;
  /** The rules that were tried, in the order of their first try. */
  readonly rules?: readonly EvaluatedRule[];
  /** OPA's text form of the trace, one line each. */
  readonly trace?: readonly string[];
  /** Errors of this evaluation, such as two values for one complete rule. */
  readonly diagnostics?: readonly RegoDiagnostic[];
}

/** One solution of a query: the value of each expression, and of each variable. */
export interface RegoSolution {
  readonly expressions: readonly { readonly value: unknown; readonly text: string }[];
  readonly bindings?: Readonly<Record<string, unknown>>;
}

/** A rule that was tried. */
export interface EvaluatedRule {
  readonly path: string;
  readonly file: string;
  readonly row: number;
  readonly column: number;
  /** How often it held. */
  readonly fired: number;
  /** The expression at which its last unsuccessful try ended. */
  readonly failedAt?: RegoPlace;
}

/** Evaluates a query in OPA's interpreter. */
export async function evalPolicy(
  request: RegoEvalRequest,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<RegoEvalResult> {
  const { query, inputs, explain, nowMs, strict, runtime, bounds } = request;
  const call = { ...policyRequest(request, engine), query, inputs, explain, nowMs, strict, runtime, bounds };
  const { results, diagnostics } = await engine.call<Partial<RegoEvalResult>>('eval', call, options);
  return { results: results ?? [], ...(diagnostics ? { diagnostics } : {}) };
}
