import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';

/** Items that one token may carry. */
export const MAX_AUTHORIZATION_DETAILS = 1000;
const MAX_TYPE_LENGTH = 1024;

/**
 * Reads the `authorization_details` claim (RFC 9396 §2, §9.1): an array of objects that each have a `type`. What the other members mean
 * depends on the type, and the policy is who knows it. Empty when the claim is absent.
 */
export function readAuthorizationDetails(details: unknown): Parsed<readonly JsonObject[]> {
  if (details === undefined) return parsed([]);
  if (!Array.isArray(details)) return unparsed('authorization_details is not an array');
  if (details.length > MAX_AUTHORIZATION_DETAILS) return unparsed('authorization_details has too many items');
  return details.every(isDetail) ? parsed(details) : unparsed('authorization_details has an item without a type');
}

function isDetail(item: unknown): item is JsonObject {
  if (!isJsonObject(item)) return false;
  const { type } = item;
  return typeof type === 'string' && type.length > 0 && type.length <= MAX_TYPE_LENGTH;
}
