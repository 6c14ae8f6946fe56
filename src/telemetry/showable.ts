import { redactValue } from './redact.ts';
import { singleLine } from './single_line.ts';

/** Characters kept of one text in the program's log: enough for what a compiler has to say. */
const LOG_TEXT_LIMIT = 8192;

/** A copy of a JSON-like value that is fit for the log: no credentials, each text a single line and bounded, names included. */
export function showable(value: unknown): unknown {
  return shown(redactValue(value));
}

/** The depth is bounded already: redactValue replaces what is deeper. */
function shown(value: unknown): unknown {
  if (typeof value === 'string') return singleLine(value, LOG_TEXT_LIMIT);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(shown);
  const entries = Object.entries(value).map(([name, member]: [string, unknown]) => [singleLine(name), shown(member)]);
  return Object.fromEntries(entries);
}
