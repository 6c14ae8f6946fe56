import type { IncomingMessage } from 'node:http';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';

/** Bytes of a body. */
const MAX_BYTES = 57_344;
/** Bytes that are read and thrown away of a body that is too large, so that the caller gets to read why; the connection ends then. */
const DRAIN_BYTES = 1_048_576;

/**
 * Reads a body of `application/x-www-form-urlencoded` (RFC 6749 appendix B). A request without a content type has no parameters. A parameter
 * without a value counts as left out (RFC 6749 §3.2).
 */
export async function readForm(request: IncomingMessage): Promise<Parsed<URLSearchParams>> {
  const type = request.headers['content-type'];
  if (type !== undefined && !/^application\/x-www-form-urlencoded\s*(;|$)/i.test(type))
    return unparsed('only application/x-www-form-urlencoded is read here');
  const body = await readBody(request);
  if (!body.ok) return body;
  const form = new URLSearchParams(type === undefined ? '' : body.value.toString('utf8'));
  for (const [name, value] of [...form]) if (value === '') form.delete(name, value);
  return parsed(form);
}

/** Reads a body whole. Rejects when the connection ends before it does. */
export async function readBody(request: IncomingMessage, maxBytes: number = MAX_BYTES): Promise<Parsed<Buffer>> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= maxBytes) chunks.push(chunk);
    else if (size > DRAIN_BYTES) break;
  }
  return size > maxBytes ? unparsed('the body is too large') : parsed(Buffer.concat(chunks));
}
