import type { IncomingMessage } from 'node:http';
import { type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';

/** Bytes of a problem document that are looked at. */
const MAXIMUM_BYTES = 65_536;

/** Looks on while an answer passes, and tells of it when it is a refusal of the gateway (RFC 9457, with a reason of ours). */
export function problemIn(answer: IncomingMessage, tell: (problem: JsonObject) => void): void {
  const isProblem = answer.headers['content-type']?.startsWith('application/problem+json') === true;
  if ((answer.statusCode ?? 0) < 400 || !isProblem) return;
  const chunks: Buffer[] = [];
  let size = 0;
  answer.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAXIMUM_BYTES) chunks.push(chunk);
  });
  answer.once('end', () => {
    if (size > MAXIMUM_BYTES) return;
    const json = parseJsonObject(Buffer.concat(chunks), { maxBytes: MAXIMUM_BYTES });
    if (json.ok && typeof json.value['reason'] === 'string' && typeof json.value['decision_id'] === 'string') {
      tell(json.value);
    }
  });
}
