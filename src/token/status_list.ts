import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import { decodeBase64url } from '../oauth/base64url.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { isJsonObject } from '../oauth/strict_json.ts';

/** Bytes that a list may have, decompressed: 64 million tokens at one bit each. */
export const MAX_LIST_BYTES = 8_388_608;

/** Statuses of many tokens, packed (draft-ietf-oauth-status-list §4.1). */
export interface StatusList {
  /** Bits of one status. */
  readonly bits: 1 | 2 | 4 | 8;
  readonly bytes: Uint8Array;
}

const inflateAsync = promisify(inflate);

/** Reads the `status_list` claim of a status list token (draft-ietf-oauth-status-list §4.2). */
export async function readStatusList(claim: unknown): Promise<Parsed<StatusList>> {
  if (!isJsonObject(claim)) return unparsed('status_list is not an object');
  const { bits, lst } = claim;
  if (bits !== 1 && bits !== 2 && bits !== 4 && bits !== 8) return unparsed('bits is not 1, 2, 4 or 8');
  const compressed = typeof lst === 'string' ? decodeBase64url(lst) : null;
  if (compressed === null) return unparsed('lst is not base64url');
  try {
    // RFC 1950. What would become too large ends early.
    return parsed({ bits, bytes: await inflateAsync(compressed, { maxOutputLength: MAX_LIST_BYTES }) });
  } catch {
    return unparsed('lst is not a zlib stream, or too large');
  }
}

/** The status at an index; null when the list has none there. Statuses begin at the least significant bit of each byte (§4.1 item 3). */
export function statusAt({ bits, bytes }: StatusList, index: number): number | null {
  const perByte = 8 / bits;
  const byte = bytes[Math.floor(index / perByte)];
  return byte === undefined ? null : (byte >> ((index % perByte) * bits)) & ((1 << bits) - 1);
}
