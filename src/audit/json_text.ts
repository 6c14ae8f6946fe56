import { visible } from '../telemetry/single_line.ts';

/** Printable ASCII but `"` and `\`: what stands in JSON text as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** Characters kept of an identifier; one that is longer is cut, and says so. */
export const NAME_LIMIT = 256;

/** A text from outside as a JSON string on one line: unsafe characters shown as escapes, cut after `limit` UTF-16 code units. */
export function quoted(text: string, limit: number = NAME_LIMIT): string {
  // Nearly every text is plain, and JSON.stringify costs several times this test.
  if (text.length <= limit && PLAIN.test(text)) return `"${text}"`;
  return JSON.stringify(visible(text, limit));
}

/** `,"name":"text"`, or nothing when there is no text. `name` is ours. */
export function textMember(name: string, text: string | null | undefined, limit: number = NAME_LIMIT): string {
  return text === null || text === undefined ? '' : `,"${name}":${quoted(text, limit)}`;
}

/** `,"name":number`; what is not a finite number is null, since JSON has no other way to say so. */
export function numberMember(name: string, value: number): string {
  return `,"${name}":${Number.isFinite(value) ? value : 'null'}`;
}
