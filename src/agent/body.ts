import type { IncomingMessage } from 'node:http';

/** Bytes up to which a body is read before it is sent, so that it can be sent again. */
const KEPT_BYTES = 65_536;

/** How the body of a request is framed (RFC 9112 §6): none, of a known length, or of any length. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' };

/**
 * Reads the framing of a request, strictly: exactly one Content-Length in canonical digits, or exactly one Transfer-Encoding that is
 * `chunked`. Null: it can be read in more than one way (RFC 9112 §6.1, §6.3), and what follows may be anything.
 */
export function framingOf(rawHeaders: readonly string[]): Framing | null {
  let length: string | null = null;
  let coding: string | null = null;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    if (name === 'content-length') {
      if (length !== null) return null;
      length = value;
    } else if (name === 'transfer-encoding') {
      if (coding !== null) return null;
      coding = value;
    }
  }
  if (coding !== null) return length === null && coding.toLowerCase() === 'chunked' ? { kind: 'chunked' } : null;
  if (length === null) return { kind: 'none' };
  if (!/^(0|[1-9]\d{0,14})$/.test(length)) return null;
  return { kind: 'length', length: Number(length) };
}

/** A body that can be sent again, or one that streams through once. */
export type OutgoingBody =
  | { readonly kind: 'kept'; readonly bytes: Buffer | null; readonly length: number | null }
  | { readonly kind: 'streamed'; readonly source: IncomingMessage; readonly length: number | null };

/** Reads a small body whole; a large one, or one of unknown length, is left to stream. Rejects when the caller hangs up before its end. */
export async function takeBody(request: IncomingMessage, framing: Framing): Promise<OutgoingBody> {
  if (framing.kind === 'none') return { kind: 'kept', bytes: null, length: null };
  if (framing.kind === 'chunked') return { kind: 'streamed', source: request, length: null };
  const { length } = framing;
  if (length > KEPT_BYTES) return { kind: 'streamed', source: request, length };
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  if (!request.complete) throw new Error('the caller hung up');
  return { kind: 'kept', bytes: Buffer.concat(chunks), length };
}
