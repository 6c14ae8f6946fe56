import { decodeBase64url } from './base64url.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';
import { type JsonObject, parseJsonObject } from './strict_json.ts';

/** A compact JWS taken apart (RFC 7515 §3.1). Nothing in it is verified. */
export interface CompactJws {
  readonly header: JsonObject;
  readonly payload: JsonObject;
  /** The first part as sent. */
  readonly headerSegment: string;
  /** The second part as sent. */
  readonly payloadSegment: string;
  /** What was signed: the first two parts and the dot between them, ASCII (RFC 7515 §5.2 step 8). */
  readonly signingInput: string;
  readonly signature: Buffer;
}

/**
 * Takes a JWT in compact form apart, strictly (RFC 7515 §5.2, RFC 7519 §7.2): exactly three parts, none empty, each in canonical
 * base64url, header and payload JSON objects without repeated members. One text for one meaning: changing any character of it changes
 * what was signed or the signature. `maxBytes` bounds the whole text.
 */
export function parseCompactJws(text: string, bounds: { readonly maxBytes: number }): Parsed<CompactJws> {
  if (text.length > bounds.maxBytes) return unparsed('JWT too large');
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  // Both are -1 for a text without dots; a third dot is not in the alphabet of the third part and fails there.
  if (first < 1 || second < first + 2 || second === text.length - 1) return unparsed('not three parts');
  const headerSegment = text.slice(0, first);
  const payloadSegment = text.slice(first + 1, second);
  const headerBytes = decodeBase64url(headerSegment);
  const payloadBytes = decodeBase64url(payloadSegment);
  const signature = decodeBase64url(text.slice(second + 1));
  if (headerBytes === null || payloadBytes === null || signature === null) return unparsed('not canonical base64url');
  const header = parseJsonObject(headerBytes, bounds);
  if (!header.ok) return header;
  const payload = parseJsonObject(payloadBytes, bounds);
  if (!payload.ok) return payload;
  const signingInput = text.slice(0, second);
  return parsed({
    header: header.value,
    payload: payload.value,
    headerSegment,
    payloadSegment,
    signingInput,
    signature,
  });
}
