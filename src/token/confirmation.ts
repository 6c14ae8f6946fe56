import type { Confirmation } from '../kernel/context.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { isJsonObject } from '../oauth/strict_json.ts';

const ABSENT = parsed<Confirmation>(Object.freeze({}));

/** base64url of 32 bytes: 43 characters, the last of which has two spare bits that must be zero (RFC 7638 §3, RFC 8705 §3.1). */
const SHA256_BASE64URL = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/**
 * Reads the `cnf` claim (RFC 7800 §3.1): `jkt` (RFC 9449 §6.1) and `x5t#S256` (RFC 8705 §3.1) are understood, alone or together. A
 * confirmation that is not understood whole is a failure, never "no confirmation": the token would pass as a bearer token. Empty when the
 * claim is absent.
 */
export function readConfirmation(cnf: unknown): Parsed<Confirmation> {
  if (cnf === undefined) return ABSENT;
  if (!isJsonObject(cnf)) return unparsed('cnf is not an object');
  const confirmation: { jkt?: string; x5tS256?: string } = {};
  for (const [name, value] of Object.entries(cnf)) {
    if (name !== 'jkt' && name !== 'x5t#S256') return unparsed('cnf has a member that is not understood');
    if (typeof value !== 'string' || !SHA256_BASE64URL.test(value)) {
      return unparsed('cnf has a member that is not a SHA-256 thumbprint in base64url');
    }
    confirmation[name === 'jkt' ? 'jkt' : 'x5tS256'] = value;
  }
  if (confirmation.jkt === undefined && confirmation.x5tS256 === undefined) return unparsed('cnf is empty');
  return parsed(confirmation);
}
