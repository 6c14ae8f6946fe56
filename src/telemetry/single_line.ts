import { redactText, redactTokens } from './redact.ts';

/**
 * Characters that can forge or disguise a line: controls (ANSI escapes begin with one), line and paragraph separators, format characters
 * (bidirectional overrides, zero-width ones, tags) and lone surrogates.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const NOT_PRINTABLE_ASCII = /[^ -~]/;
const LONE_SURROGATE_ESCAPE =
  /\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u[dD][89a-fA-F][\da-fA-F]{2})|.)/g;

/** Characters of a text from outside that are kept in a log line or a record, where nothing else is said. */
export const TEXT_LIMIT = 512;

/**
 * Makes a text that came from outside fit to be shown: credentials taken out, one line, nothing a terminal would act on, bounded.
 * @param limit in UTF-16 code units, before escaping; how many more there were is said
 */
export function singleLine(text: string, limit: number = TEXT_LIMIT): string {
  return visible(redactText(text), limit);
}

/**
 * The part of `singleLine` that does not look for credentials, for texts where none can stand or that are looked through otherwise.
 * @param limit in UTF-16 code units, before escaping
 */
export function visible(text: string, limit: number = TEXT_LIMIT): string {
  const bounded = text.length <= limit ? text : `${text.slice(0, limit)}… (${text.length - limit} more)`;
  return NOT_PRINTABLE_ASCII.test(bounded) ? bounded.replace(UNSAFE, escapeCharacter) : bounded;
}

/**
 * Makes JSON text fit to be a line of a file: one line, ASCII controls only as blanks between tokens, other unsafe characters as escapes,
 * lone surrogates (which some parsers refuse) as U+FFFD, and no token in it. Valid JSON stays valid and, but for that, equal.
 */
export function singleLineJson(json: string): string {
  let text = redactTokens(json);
  if (NOT_PRINTABLE_ASCII.test(text)) text = text.replace(UNSAFE, escapeInJson);
  if (text.includes('\\u')) text = text.replace(LONE_SURROGATE_ESCAPE, replaceLone);
  return text;
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Outside of strings JSON text has only ASCII, and inside of them no raw control character, so each replacement is safe where it can stand. */
function escapeInJson(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return ' ';
  if (character.length === 1 && code >= 0xd800 && code <= 0xdfff) return '\ufffd';
  let escaped = '';
  for (let index = 0; index < character.length; index++) {
    escaped += `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`;
  }
  return escaped;
}

function replaceLone(whole: string, lone: string | undefined): string {
  return lone === undefined ? whole : '\ufffd';
}
