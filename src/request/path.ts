/** Deviations from the rule for targets, one bit each; a route may allow them by name. */
export const ENCODED_SLASH = 1;
export const EMPTY_SEGMENTS = 2;
export const DOT_SEGMENTS = 4;

/** A path that has one reading, provided that what it `needs` is allowed. */
export interface ReadPath {
  /** Percent-decoded; a trailing slash shows as a last empty segment. */
  readonly segments: string[];
  /** Bits of ENCODED_SLASH, EMPTY_SEGMENTS and DOT_SEGMENTS; 0 for nearly every path. */
  readonly needs: number;
}

/** RFC 3986 §3.3: segments of pchar. Raw `\`, `#`, space, control characters and non-ASCII are not in it. */
const PATH = /^\/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*$/;
/** What makes a second look necessary: encoding, parameters, a segment that begins with a dot, an empty segment. */
const REMARKABLE = /[%;]|\/[./]/;
const TRIPLET = /%[0-9A-Fa-f]{2}/g;
/** C0, DEL, C1 and the backslash, in decoded text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the point.
const NEVER_IN_TEXT = /[\x00-\x1f\x7f-\x9f\\]/;
/** The same in bytes, where C1 cannot be told from a part of UTF-8, and overlong forms of ASCII, of 2, 3 and 4 bytes (RFC 3629 §3). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the point.
const NEVER_IN_BYTES = /[\x00-\x1f\x7f\\\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII begins with one.
const ONLY_ASCII = /^[\x00-\x7f]*$/;
/** How often a segment is decoded at most; one that is encoded more often is nobody's name. */
const MAXIMUM_LEVELS = 8;

/**
 * Reads a path as the rule for targets says (design: cases.md). Null: it can be read in two ways, whatever the route allows.
 * The bytes of the path are never changed: what was judged is what is sent.
 */
export function readPath(path: string): ReadPath | null {
  if (!PATH.test(path)) return null;
  // A second slash at the start makes an authority of what follows, for whoever resolves the path against a URL (RFC 3986 §4.2).
  if (path.charCodeAt(1) === 0x2f) return null;
  const segments = path.slice(1).split('/');
  if (!REMARKABLE.test(path)) return { segments, needs: 0 };
  let needs = 0;
  for (let index = 0; index < segments.length; index++) {
    const raw = segments[index] ?? '';
    if (raw === '') {
      if (index < segments.length - 1) needs |= EMPTY_SEGMENTS;
      continue;
    }
    needs |= needsOf(raw);
    if (!raw.includes('%')) continue;
    const decoded = decodeSegment(raw);
    if (decoded === null) return null;
    const deeper = needsOfEncoded(raw);
    const alike = needsOfLookalikes(decoded);
    if (deeper === null || alike === null) return null;
    needs |= deeper | alike;
    segments[index] = decoded;
  }
  return { segments, needs };
}

/** The segment decoded once; null when a percent sign stands alone, the bytes are not UTF-8 or a character is not acceptable. */
function decodeSegment(raw: string): string | null {
  try {
    const decoded = decodeURIComponent(raw); // Throws on overlong UTF-8 and on encoded surrogates too (RFC 3629 §3).
    return NEVER_IN_TEXT.test(decoded) ? null : decoded;
  } catch {
    return null;
  }
}

/**
 * What the segment would need if it were decoded again and again, byte by byte, as lenient servers do: `%252e%252e` is `..` to somebody.
 * Null when a level shows something that no route may allow.
 */
function needsOfEncoded(raw: string): number | null {
  let needs = 0;
  let text = raw;
  for (let level = 0; level < MAXIMUM_LEVELS; level++) {
    const decoded = text.replace(TRIPLET, byteOf);
    if (decoded === text) return needs;
    if (NEVER_IN_BYTES.test(decoded)) return null;
    needs |= needsOf(decoded);
    text = decoded;
  }
  return null;
}

/** What only looks like a dot or a slash becomes one for whoever normalises (Unicode NFKC): `%EF%BC%8F` is `/` there. */
function needsOfLookalikes(decoded: string): number | null {
  if (ONLY_ASCII.test(decoded)) return 0;
  const normalised = decoded.normalize('NFKC');
  return NEVER_IN_TEXT.test(normalised) ? null : needsOf(normalised);
}

function byteOf(triplet: string): string {
  return String.fromCharCode(Number.parseInt(triplet.slice(1), 16));
}

/**
 * What one segment needs at one level of decoding. Parameters after `;` are left out of the comparison, since servers that know them
 * (RFC 3986 §3.3) drop them before they resolve dot segments: `..;x` is `..` there, and `;x` is nothing.
 */
function needsOf(text: string): number {
  if (text.includes('/')) {
    return text.split('/').reduce((needs, part) => needs | needsOf(part), ENCODED_SLASH);
  }
  const end = text.indexOf(';');
  const name = end < 0 ? text : text.slice(0, end);
  if (name === '') return EMPTY_SEGMENTS;
  return name === '.' || name === '..' ? DOT_SEGMENTS : 0;
}
