/**
 * JSON whose numbers keep their spelling: the evaluator of policies knows numbers that JavaScript does not, such as ids of 19 digits.
 * Such a number is a raw value (`JSON.rawJSON`), which `JSON.stringify` writes as it was.
 */

interface WithRawJson {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
}

const exact = JSON as unknown as WithRawJson;

/** What JavaScript may spell in another way: many digits, fractions, exponents, and minus zero. */
const UNUSUAL = /\d{16}|\d[.eE]|-0/;

/** Reads JSON text. @throws SyntaxError */
export function parseExactJson(text: string): unknown {
  if (!UNUSUAL.test(text)) return JSON.parse(text);
  return exact.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? exact.rawJSON(source) : value,
  );
}

/** Whether a value is an object with members: not null, no array, no number that kept its spelling. */
export function isDocument(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !exact.isRawJSON(value);
}
