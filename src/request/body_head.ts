import type { Readable } from 'node:stream';

/** The part of a request body that was read, in the pieces in which it came. */
export interface BodyHead {
  readonly chunks: readonly Uint8Array[];
  readonly bytes: number;
  /** True when this is the whole body; false when more than was asked for came: the rest waits in the message, which is paused. */
  readonly complete: boolean;
}

/** How much of a body is read, and how long that may take. */
export interface BodyHeadBounds {
  readonly bytes: number;
  readonly timeoutMs: number;
}

/**
 * Reads a body up to its end or until more than `bytes` came; never more than one piece beyond. `timeout` when that took too long,
 * `broken` when the caller went away or the body ended early. Whoever streams the rest calls `resume()`, or iterates.
 */
export function readBodyHead(message: Readable, bounds: BodyHeadBounds): Promise<BodyHead | 'timeout' | 'broken'> {
  if (message.destroyed) return Promise.resolve('broken');
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const settle = (outcome: BodyHead | 'timeout' | 'broken') => {
      clearTimeout(timer);
      message.pause();
      message.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken);
      resolve(outcome);
    };
    const onData = (chunk: Uint8Array) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > bounds.bytes) settle({ chunks, bytes, complete: false });
    };
    const onEnd = () => settle({ chunks, bytes, complete: true });
    const onBroken = () => settle('broken');
    const timer = setTimeout(() => settle('timeout'), bounds.timeoutMs);
    message.on('end', onEnd).on('error', onBroken).on('close', onBroken).on('data', onData);
  });
}
