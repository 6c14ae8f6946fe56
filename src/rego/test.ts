import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import { policyRequest, type RegoDiagnostic, type RegoPlace, type RegoPolicy } from './policy_source.ts';

/** A policy with its tests: rules whose names start with `test_` (`todo_test_` is skipped). */
export interface RegoTestRequest extends RegoPolicy {
  /** A regular expression (RE2) on the full name, such as `data.sallyport_test.test_denies`. */
  readonly filter?: string;
  /** Also report which lines were evaluated; slows the tests down. */
  readonly coverage?: boolean;
  /** Which part of a failing test's trace is returned. Default `fails`. */
  readonly explain?: 'notes' | 'fails' | 'full';
  /** How long one test may take, in milliseconds; it ends with an error then. Default: as long as the call may. */
  readonly timeoutMs?: number;
}

/** What the tests gave. */
export interface RegoTestRun {
  /** In the order of the source. */
  readonly results: readonly RegoTestResult[];
  /** Absent also where a test timed out. */
  readonly coverage?: RegoCoverage;
  /** Why no test ran. */
  readonly diagnostics?: readonly RegoDiagnostic[];
}

/** One test. */
export interface RegoTestResult {
  /** The full name; tests that share one get `#01` and so on at the end. */
  readonly path: string;
  readonly package: string;
  readonly name: string;
  readonly file: string;
  readonly row: number;
  readonly outcome: 'pass' | 'fail' | 'error' | 'skip';
  readonly durationMs: number;
  /** For `error`: what happened. */
  readonly error?: string;
  /** Whether that is that it took longer than it may. */
  readonly timedOut?: boolean;
  /** What `print` wrote. */
  readonly output?: string;
  /** The named cases of a test that is written as a table. */
  readonly cases?: readonly { readonly name: string; readonly failed?: boolean }[];
  /** The expression of the test itself that did not hold. */
  readonly failedAt?: RegoPlace;
  /** OPA's text form of the trace, one line each; only of tests that did not pass. */
  readonly trace?: readonly string[];
}

/** Coverage in OPA's own format; percentages of lines. */
export interface RegoCoverage {
  readonly coverage: number;
  readonly covered_lines: number;
  readonly not_covered_lines: number;
  readonly files: Readonly<Record<string, RegoFileCoverage>>;
}

/** Coverage of one file. */
export interface RegoFileCoverage {
  readonly coverage?: number;
  readonly covered?: readonly RegoRange[];
  readonly not_covered?: readonly RegoRange[];
}

/** A piece of a file; `kinds` says why it was not covered (`index_excluded`, `early_exit`), where OPA knows. */
export interface RegoRange {
  readonly start: { readonly row: number; readonly col?: number };
  readonly end: { readonly row: number; readonly col?: number };
  readonly kinds?: readonly string[];
}

/** Runs a policy's tests in OPA's interpreter. */
export async function testPolicy(
  request: RegoTestRequest,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<RegoTestRun> {
  const { filter, coverage, explain, timeoutMs } = request;
  const call = { ...policyRequest(request, engine), filter, coverage, explain, timeoutMs };
  const answer = await engine.call<Partial<RegoTestRun>>('test', call, options);
  return { ...answer, results: answer.results ?? [] };
}
