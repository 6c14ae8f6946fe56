import { randomUUID } from 'node:crypto';
import type { Evidence } from '../kernel/context.ts';

/** What is known of a request before anything is judged. */
interface Arriving {
  readonly method?: string | undefined;
  readonly target?: string | undefined;
  readonly httpVersion?: string | undefined;
  readonly peerAddress?: string | undefined;
}

/** The evidence of a request of which nothing is judged yet; of what is not HTTP, not even method and target are known. */
export function beginEvidence(receivedAt: number, raw: Arriving): Evidence {
  return {
    id: randomUUID(),
    receivedAt,
    peerAddress: raw.peerAddress ?? '',
    method: raw.method ?? '',
    rawTarget: raw.target ?? '',
    httpVersion: raw.httpVersion ?? '',
    status: 0,
    timings: { request: 0, token: 0, proof: 0, policy: 0, forward: 0 },
  };
}
