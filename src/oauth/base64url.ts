/**
 * Decodes base64url in its one canonical form (RFC 4648 §5, RFC 7515 §2): the URL-safe alphabet only, no padding, no white space, no line
 * breaks, and the spare bits of the last character zero. Returns null for anything else, so that no two texts mean the same bytes.
 */
export function decodeBase64url(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url');
  // Node skips what it does not know; a text that does not come back the same was not canonical (RFC 4648 §3.5, §12).
  return bytes.toString('base64url') === text ? bytes : null;
}

/** Encodes bytes, or a text as UTF-8, as base64url without padding (RFC 7515 §2). */
export function encodeBase64url(data: Uint8Array | string): string {
  if (typeof data === 'string') return Buffer.from(data, 'utf8').toString('base64url');
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64url');
}
