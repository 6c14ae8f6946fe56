import type { AuthorizationDetail } from '../config/authserver_clients.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { isJsonObject, parseStrictJson } from '../oauth/strict_json.ts';
import type { DetailTypes } from './detail_types.ts';

const MAXIMUM_BYTES = 49_152;
const MAXIMUM_ITEMS = 50;

/**
 * Reads the parameter authorization_details (RFC 9396 §2, §5): a JSON array of items, each of a known type, with known members of the right
 * type only. The problem is a fixed text, never built from the input.
 */
export function readDetails(text: string, types: DetailTypes): Parsed<AuthorizationDetail[]> {
  const json = parseStrictJson(text, { maxBytes: MAXIMUM_BYTES, maxDepth: 8 });
  return json.ok ? readDetailItems(json.value, types) : unparsed(`authorization_details: ${json.problem}`);
}

/** The same for a value that was parsed already. */
export function readDetailItems(value: unknown, types: DetailTypes): Parsed<AuthorizationDetail[]> {
  if (!Array.isArray(value)) return unparsed('authorization_details must be a JSON array');
  if (value.length > MAXIMUM_ITEMS) return unparsed(`authorization_details must have at most ${MAXIMUM_ITEMS} items`);
  const details: AuthorizationDetail[] = [];
  for (const [index, item] of value.entries()) {
    const type = isJsonObject(item) && typeof item['type'] === 'string' ? types.get(item['type']) : undefined;
    if (!isJsonObject(item) || type === undefined)
      return unparsed(`authorization_details[${index}] is not an object of a supported type`);
    const problem = type.problemOf(item);
    if (problem !== null) return unparsed(`authorization_details[${index}] ${problem}`);
    details.push(item as AuthorizationDetail);
  }
  return parsed(details);
}

/** Granted is what was asked and is covered, item by item, by one item of the ceiling; in the order asked. */
export function grantDetails(
  types: DetailTypes,
  ceiling: readonly AuthorizationDetail[],
  asked: readonly AuthorizationDetail[],
): AuthorizationDetail[] {
  return asked.filter((item) =>
    ceiling.some((limit) => limit.type === item.type && types.get(item.type)?.covers(limit, item) === true),
  );
}
