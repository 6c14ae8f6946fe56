import { decodeBase64url } from './base64url.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';
import { type JsonObject, parseJsonObject } from './strict_json.ts';

/** A compact JWS taken apart (RFC 7515 §3.1), its header still encoded. Nothing in it is verified. */
export interface OpenedJws {
  /** The first part as sent. */
  readonly headerSegment: string;
  readonly payload: JsonObject;
  /** The second part as sent. */
  readonly payloadSegment: string;
  /** What was signed: the first two parts and the dot between them, ASCII (RFC 7515 §5.2 step 8). */
  readonly signingInput: string;
  readonly signature: Buffer;
}

/** A compact JWS taken apart (RFC 7515 §3.1). Nothing in it is verified. */
export interface CompactJws extends OpenedJws {
  readonly header: JsonObject;
}

/** Bounds the whole text. */
export interface JwsBounds {
  readonly maxBytes: number;
}

/**
 * Takes a JWT in compact form apart, strictly (RFC 7515 §5.2, RFC 7519 §7.2): exactly three parts, none empty, each in canonical
 * base64url, header and payload JSON objects without repeated members. One text for one meaning: changing any character of it changes
 * what was signed or the signature.
 */
export function parseCompactJws(text: string, bounds: JwsBounds): Parsed<CompactJws> {
  const opened = openCompactJws(text, bounds);
  if (!opened.ok) return opened;
  const header = parseJwsHeader(opened.value.headerSegment, bounds);
  return header.ok ? parsed({ ...opened.value, header: header.value }) : header;
}

/** The same without reading the header, for who has met its text before. It is not known to be well-formed until `parseJwsHeader` says so. */
export function openCompactJws(text: string, bounds: JwsBounds): Parsed<OpenedJws> {
  if (text.length > bounds.maxBytes) return unparsed('JWT too large');
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  // Both are -1 for a text without dots; a third dot is not in the alphabet of the third part and fails there.
  if (first < 1 || second < first + 2 || second === text.length - 1) return unparsed('not three parts');
  const payloadSegment = text.slice(first + 1, second);
  const payloadBytes = decodeBase64url(payloadSegment);
  const signature = decodeBase64url(text.slice(second + 1));
  if (payloadBytes === null || signature === null) return unparsed('not canonical base64url');
  const payload = parseJsonObject(payloadBytes, bounds);
  if (!payload.ok) return payload;
  return parsed({
    headerSegment: text.slice(0, first),
    payload: payload.value,
    payloadSegment,
    signingInput: text.slice(0, second),
    signature,
  });
}

/** Reads the first part of a compact JWS: canonical base64url of a JSON object without repeated members. */
export function parseJwsHeader(segment: string, bounds: JwsBounds): Parsed<JsonObject> {
  const bytes = decodeBase64url(segment);
  return bytes === null ? unparsed('not canonical base64url') : parseJsonObject(bytes, bounds);
}
