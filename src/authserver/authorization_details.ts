import { type AuthorizationDetail, authorizationDetail } from '../config/authserver_schema.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { parseStrictJson } from '../oauth/strict_json.ts';
import { coversCloudApi } from './cloud_api.ts';

/** A type of authorization_details (RFC 9396 §2): how to see that one item covers another. */
export interface DetailType {
  covers(ceiling: AuthorizationDetail, asked: AuthorizationDetail): boolean;
}

/** The types that can be asked for; their names are the metadata's `authorization_details_types_supported` (RFC 9396 §10). */
export const DETAIL_TYPES: Readonly<Record<AuthorizationDetail['type'], DetailType>> = {
  cloud_api: { covers: coversCloudApi },
};

/** What a token can carry in a header: more would be refused by servers on the way. */
const MAXIMUM_BYTES = 8192;
const MAXIMUM_ITEMS = 50;

/**
 * Reads the parameter authorization_details (RFC 9396 §2, §5): a JSON array of items, each of a known type, with known members of the right
 * type only. The problem is a fixed text, never built from the input.
 */
export function readDetails(text: string): Parsed<AuthorizationDetail[]> {
  const json = parseStrictJson(text, { maxBytes: MAXIMUM_BYTES, maxDepth: 8 });
  if (!json.ok) return unparsed(`authorization_details: ${json.problem}`);
  if (!Array.isArray(json.value)) return unparsed('authorization_details must be a JSON array');
  if (json.value.length > MAXIMUM_ITEMS)
    return unparsed(`authorization_details must have at most ${MAXIMUM_ITEMS} items`);
  const details: AuthorizationDetail[] = [];
  for (const [index, item] of json.value.entries()) {
    const detail = authorizationDetail.safeParse(item);
    if (!detail.success) return unparsed(`authorization_details[${index}] ${problemOf(detail.error.issues[0])}`);
    details.push(detail.data);
  }
  return parsed(details);
}

/** Granted is what was asked and is covered, item by item, by one item of the ceiling; in the order asked. */
export function grantDetails(
  ceiling: readonly AuthorizationDetail[],
  asked: readonly AuthorizationDetail[],
): AuthorizationDetail[] {
  return asked.filter((item) =>
    ceiling.some((limit) => limit.type === item.type && DETAIL_TYPES[item.type].covers(limit, item)),
  );
}

/** Names the member only where it is one of ours. */
function problemOf(issue: { code: string; path: PropertyKey[] } | undefined): string {
  if (issue?.code === 'unrecognized_keys') return 'has a field that its type does not have';
  const member = String(issue?.path[0] ?? 'type');
  return member === 'type' ? 'is not an object of a supported type' : `has an invalid or missing ${member}`;
}
