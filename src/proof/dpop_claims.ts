import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';

/** The claims of a proof that the gateway reads (RFC 9449 §4.2), with their types checked. Times in seconds since the Unix epoch. */
export interface ProofClaims {
  readonly jti: string;
  readonly htm: string;
  readonly htu: string;
  readonly iat: number;
  /** Absent only in a proof that goes with no token. */
  readonly ath: string;
  readonly exp?: number;
  readonly nbf?: number;
  readonly nonce?: string;
}

/** A claim that is missing or of the wrong type: its name, what it must be, what it was. Fixed words only. */
export interface ClaimProblem {
  readonly claim: string;
  readonly expected: string;
  readonly seen: string;
}

const MAX_JTI_BYTES = 256;

const text = { expected: 'a non-empty string', holds: (value: unknown) => typeof value === 'string' && value !== '' };
const anyText = { expected: 'a string', holds: (value: unknown) => typeof value === 'string' };
const number = { expected: 'a number', holds: (value: unknown) => typeof value === 'number' };

interface ClaimRule {
  readonly claim: string;
  readonly required: boolean;
  readonly expected: string;
  readonly holds: (value: unknown) => boolean;
}

/** In the order in which they are looked at. */
const RULES: readonly ClaimRule[] = [
  { claim: 'jti', required: true, expected: `a string of 1 to ${MAX_JTI_BYTES} bytes`, holds: isIdentifier },
  { claim: 'htm', required: true, ...text },
  { claim: 'htu', required: true, ...text },
  { claim: 'iat', required: true, ...number },
  { claim: 'ath', required: true, ...text },
  { claim: 'exp', required: false, ...number },
  { claim: 'nbf', required: false, ...number },
  { claim: 'nonce', required: false, ...anyText },
];

/** Of a proof that goes with no token (RFC 9449 §4.2: ath is for access tokens). */
export const RULES_WITHOUT_TOKEN: readonly ClaimRule[] = RULES.map((rule) =>
  rule.claim === 'ath' ? { ...rule, required: false } : rule,
);

/**
 * The first claim of a proof that is missing or of the wrong type (RFC 9449 §4.3 check 3), or null: then the payload is `ProofClaims`.
 * Numbers are finite, since strict JSON has no others.
 */
export function findClaimProblem(payload: JsonObject, rules: readonly ClaimRule[] = RULES): ClaimProblem | null {
  for (const rule of rules) {
    const value = payload[rule.claim];
    if (value === undefined ? rule.required : !rule.holds(value)) {
      return { claim: rule.claim, expected: rule.expected, seen: kindOf(value) };
    }
  }
  return null;
}

function isIdentifier(value: unknown): boolean {
  // Cheap bound first: no character takes more than three bytes for each UTF-16 unit.
  if (typeof value !== 'string' || value === '' || value.length > MAX_JTI_BYTES) return false;
  return value.length * 3 <= MAX_JTI_BYTES || Buffer.byteLength(value) <= MAX_JTI_BYTES;
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (isJsonObject(value)) return 'an object';
  return value === '' ? 'an empty string' : `a ${typeof value}`;
}
