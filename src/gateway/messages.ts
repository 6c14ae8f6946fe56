import type { GatewayConfig } from '../config/schema.ts';
import type { EndedKey } from '../ended_jobs/ended_keys.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import type { RememberedDecision } from './decisions.ts';

/** What the primary process says to a worker. */
export type ToWorker =
  | {
      readonly kind: 'start';
      readonly config: GatewayConfig;
      readonly artifact: PolicyArtifact;
      readonly nonceSecret: Uint8Array;
      readonly endedKeys: readonly EndedKey[];
    }
  /** A candidate policy, to judge beside the live one. */
  | { readonly kind: 'shadow'; readonly artifact: PolicyArtifact }
  | { readonly kind: 'policy'; readonly artifact: PolicyArtifact }
  /** Keys of jobs that have ended; answered once they are refused. */
  | { readonly kind: 'end_keys'; readonly id: number; readonly keys: readonly EndedKey[] }
  /** Asks what this process remembers of a decision. */
  | { readonly kind: 'decision'; readonly id: number; readonly decision: string }
  /** The answer to `find_decision`. */
  | { readonly kind: 'found_decision'; readonly id: number; readonly value: RememberedDecision | null }
  | { readonly kind: 'reopen' }
  | { readonly kind: 'ask'; readonly id: number; readonly what: 'metrics' | 'readiness' }
  | { readonly kind: 'stop' };

/** What a worker says to the primary process. */
export type ToPrimary =
  | { readonly kind: 'hello' }
  | { readonly kind: 'ready'; readonly origin: string; readonly listening: string }
  | { readonly kind: 'failed'; readonly message: string }
  /** Asks whether any process remembers a decision. */
  | { readonly kind: 'find_decision'; readonly id: number; readonly decision: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown };
