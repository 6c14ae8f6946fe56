import type { RegoEngineErrorCode } from './engine_error.ts';

/** What the host sends to the worker: one call. `request` is JSON text. */
export interface EngineCall {
  readonly id: number;
  readonly operation: string;
  readonly request: string;
}

/** What the worker sends to the host. `answer` is JSON text: `{"value": …}` or `{"error": {code, message}}`. */
export type EngineMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: string }
  | { readonly kind: 'fatal'; readonly code: RegoEngineErrorCode; readonly message: string };

/** What the worker is started with: the `file:` URL, ending in a slash, of the folder that holds the engine. */
export interface EngineWorkerData {
  readonly engineFolder: string;
}
