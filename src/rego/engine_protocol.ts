import type { RegoEngineErrorCode } from './engine_error.ts';

/** What the host sends: one call. `request` is JSON text. */
export interface EngineCall {
  readonly id: number;
  readonly operation: string;
  readonly request: string;
}

/** What the engine answers. `answer` is JSON text: `{"value": …}` or `{"error": {code, message}}`. */
export type EngineMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: string }
  | { readonly kind: 'fatal'; readonly code: RegoEngineErrorCode; readonly message: string };

/** What the engine's thread is started with: the `file:` URL, ending in a slash, of the folder that holds the engine. */
export interface EngineWorkerData {
  readonly engineFolder: string;
}
