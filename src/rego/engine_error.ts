/**
 * Why a call to the Rego engine failed. What is wrong with a policy is never one of these: that is a
 * {@link RegoDiagnostic} in the answer.
 *
 * - `engine_missing`: a file of `engine/` cannot be read.
 * - `engine_corrupt`: the compressed engine does not have the checksum in `engine/opa.json`.
 * - `engine_start_failed`: the WASM module did not start, or not in time.
 * - `engine_died`: the engine stopped in the middle of a call (out of memory, endless recursion).
 * - `engine_timeout`: the call took longer than it may; its thread was ended.
 * - `engine_closed`: the engine was closed before the call ended.
 * - `bad_request`: the call itself is wrong (unknown option, two modules of one name, unreadable data).
 * - `failed`, `panic`: OPA could not do what was asked; the message is OPA's.
 */
export type RegoEngineErrorCode =
  | 'engine_missing'
  | 'engine_corrupt'
  | 'engine_start_failed'
  | 'engine_died'
  | 'engine_timeout'
  | 'engine_closed'
  | 'bad_request'
  | 'failed'
  | 'panic';

/** A call to the Rego engine that got no answer; `code` says why. */
export class RegoEngineError extends Error {
  readonly code: RegoEngineErrorCode;

  constructor(code: RegoEngineErrorCode, message: string) {
    super(message);
    this.name = 'RegoEngineError';
    this.code = code;
  }
}
