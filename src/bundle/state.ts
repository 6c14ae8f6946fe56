/** What is known of one bundle: for readiness, metrics and status reports. Times are milliseconds since the Unix epoch, null before the first. */
export interface BundleState {
  readonly name: string;
  /** Of the bundle in use; null while there is none. */
  readonly revision: string | null;
  /** Bytes of the file that was used last. */
  readonly size: number;
  readonly type: 'snapshot' | 'delta';
  readonly lastRequest: number | null;
  readonly lastSuccessfulRequest: number | null;
  readonly lastDownload: number | null;
  readonly lastActivation: number | null;
  /** Why the newest bundle was not had or not taken; null when all is well. */
  readonly problem: string | null;
  /** Status of the last answer of the service; 0 where none came. */
  readonly httpStatus: number;
  /** Counts since start: answers of the service, and what became of bundles. */
  readonly counts: { readonly fresh: number; readonly unchanged: number; readonly failed: number };
  readonly activations: number;
  readonly refusals: number;
}

/** The state of a bundle, changed as things happen. */
export type MutableBundleState = { -readonly [Member in keyof BundleState]: BundleState[Member] } & {
  counts: { fresh: number; unchanged: number; failed: number };
};

/** The state of a bundle of which nothing is known yet. */
export function newBundleState(name: string): MutableBundleState {
  return {
    name,
    revision: null,
    size: 0,
    type: 'snapshot',
    lastRequest: null,
    lastSuccessfulRequest: null,
    lastDownload: null,
    lastActivation: null,
    problem: null,
    httpStatus: 0,
    counts: { fresh: 0, unchanged: 0, failed: 0 },
    activations: 0,
    refusals: 0,
  };
}
