import { isUtf8 } from 'node:buffer';
import { type Parsed, parsed, unparsed } from './parsed.ts';

/** A JSON object as parsed. A member named `__proto__` is an ordinary own member here and changes no prototype. */
export type JsonObject = Record<string, unknown>;

/** How much JSON is read. */
export interface JsonBounds {
  /** Bytes of UTF-8; for a text, UTF-16 units. */
  readonly maxBytes: number;
  /** Levels of nesting; 1 is an object without objects or arrays in it. Default 32. */
  readonly maxDepth?: number;
}

const DEFAULT_DEPTH = 32;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const LETTER_U = 0x75;

/**
 * Parses JSON so that only one reading is possible (RFC 8259 §4, §8; RFC 7515 §4 on repeated members; I-JSON, RFC 7493 §2): valid UTF-8
 * without a byte order mark, no member twice at any depth (compared after unescaping), no lone surrogate, every number finite, nesting and
 * size bounded. Costs about as much again as JSON.parse.
 */
export function parseStrictJson(input: Uint8Array | string, bounds: JsonBounds): Parsed<unknown> {
  if (input.length > bounds.maxBytes) return unparsed('JSON too large');
  const text = textOf(input);
  if (text === null) return unparsed('not valid Unicode');
  const seen = scan(text, bounds.maxDepth ?? DEFAULT_DEPTH);
  if (seen === null) return unparsed('JSON nested too deeply');
  let value: unknown;
  try {
    value = JSON.parse(text); // Also refuses a byte order mark: it is no JSON white space.
  } catch {
    return unparsed('not JSON');
  }
  const tally: Tally = { members: 0, sound: true, escapes: seen.escapes };
  tallyValue(value, tally);
  if (!tally.sound) return unparsed('JSON with a number or a character that cannot be kept');
  // JSON.parse keeps one of two equal names, so fewer members were kept than the text has.
  return tally.members === seen.members ? parsed(value) : unparsed('JSON with a repeated member');
}

/** The same for a text that must be one JSON object. */
export function parseJsonObject(input: Uint8Array | string, bounds: JsonBounds): Parsed<JsonObject> {
  const json = parseStrictJson(input, bounds);
  if (!json.ok) return json;
  return isJsonObject(json.value) ? parsed(json.value) : unparsed('not a JSON object');
}

/** Whether a parsed value is an object: not null, not an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(input: Uint8Array | string): string | null {
  if (typeof input === 'string') return input.isWellFormed() ? input : null;
  if (!isUtf8(input)) return null;
  return Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString('utf8');
}

interface Seen {
  /** Colons outside strings: as many as the text has members. */
  readonly members: number;
  /** Whether a `\u` escape occurs: the only way to a lone surrogate in well-formed text. */
  readonly escapes: boolean;
}

/** One pass over the text, before anything is built from it. What it says of text that is not JSON does not matter: JSON.parse refuses that. */
function scan(text: string, maxDepth: number): Seen | null {
  let depth = 0;
  let members = 0;
  let escapes = false;
  let quoted = false;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (quoted) {
      if (code === QUOTE) quoted = false;
      else if (code === BACKSLASH && text.charCodeAt(++index) === LETTER_U) escapes = true;
    } else if (code === QUOTE) quoted = true;
    else if (code === COLON) members++;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (++depth > maxDepth) return null;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--;
  }
  return { members, escapes };
}

interface Tally {
  members: number;
  sound: boolean;
  readonly escapes: boolean;
}

/** Counts the members that JSON.parse kept, and looks at each number and, where escapes occur, at each string. Depth is bounded by `scan`. */
function tallyValue(value: unknown, tally: Tally): void {
  if (typeof value === 'string') {
    if (tally.escapes && !value.isWellFormed()) tally.sound = false;
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) tally.sound = false; // 1e400 is Infinity to JSON.parse.
  } else if (Array.isArray(value)) {
    for (const item of value) tallyValue(item, tally);
  } else if (typeof value === 'object' && value !== null) {
    for (const name of Object.keys(value)) {
      tally.members++;
      if (tally.escapes && !name.isWellFormed()) tally.sound = false;
      tallyValue((value as JsonObject)[name], tally);
    }
  }
}
