import { compactVerify, errors } from 'jose';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import { parseCompactJws } from './compact_jws.ts';
import { isNumericDate } from './numeric_date.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';
import { importPublicJwk, readPublicJwk } from './public_jwk.ts';
import { jwkThumbprint } from './thumbprint.ts';

/** What a proof must be for. */
export interface ProofExpectation {
  readonly method: string;
  /** Without query and fragment. */
  readonly url: string;
  readonly algorithms: readonly string[];
  /** Seconds that it may be old, and that it may be dated ahead. */
  readonly maxAgeSeconds: number;
  readonly leewaySeconds: number;
  readonly clock: Clock;
}

/** What a proof shows. */
export interface SeenProof {
  /** Thumbprint of the key that made it (RFC 7638): the `jkt` of tokens bound to it. */
  readonly thumbprint: string;
  readonly jti: string;
}

const MAX_BYTES = 8192;
const MAX_JTI = 256;

/**
 * Verifies a DPoP proof outside of the gateway's hot path (RFC 9449 §4.3): form, type, algorithm, key, signature, method, target and time.
 * Neither a token, a nonce nor single use are looked at: those are checked by whom the proof is for. Never rejects.
 */
export async function verifyProof(proof: string, expected: ProofExpectation): Promise<Parsed<SeenProof>> {
  const jws = parseCompactJws(proof, { maxBytes: MAX_BYTES });
  if (!jws.ok) return unparsed(`the proof is malformed: ${jws.problem}`);
  const { header, payload } = jws.value;
  if (header['typ'] !== 'dpop+jwt') return unparsed('the type of the proof is not dpop+jwt'); // check 4
  const { alg } = header;
  if (typeof alg !== 'string' || !expected.algorithms.includes(alg)) {
    return unparsed('the algorithm of the proof is not allowed'); // check 5
  }
  if (Object.hasOwn(header, 'crit')) return unparsed('the proof has a critical header parameter');
  const jwk = readPublicJwk(header['jwk'], alg); // check 7
  if (!jwk.ok) return unparsed(`the key of the proof cannot be used: ${jwk.problem}`);
  const key = importPublicJwk(jwk.value);
  if (key === null) return unparsed('the key of the proof cannot be used');
  try {
    await compactVerify(proof, key, { algorithms: [alg] }); // check 6
  } catch (error) {
    if (error instanceof errors.JOSEError) return unparsed('the signature of the proof is not valid');
    throw error;
  }
  const { jti, htm, htu, iat } = payload;
  if (typeof jti !== 'string' || jti === '' || jti.length > MAX_JTI) return unparsed('jti of the proof is missing');
  if (htm !== expected.method) return unparsed('the proof is for another method'); // check 8
  if (typeof htu !== 'string' || !isSameTarget(htu, expected.url)) return unparsed('the proof is for another URL'); // check 9
  const now = secondsOf(expected.clock());
  if (!isNumericDate(iat)) return unparsed('iat of the proof is missing');
  if (iat < now - expected.maxAgeSeconds || iat > now + expected.leewaySeconds) {
    return unparsed('the proof is too old, or dated ahead'); // check 11
  }
  return parsed({ thumbprint: jwkThumbprint(jwk.value), jti });
}

/** RFC 9449 §4.3 check 9: query and fragment do not count; RFC 3986 §6.2.2 and §6.2.3: compared in normal form. */
function isSameTarget(htu: string, url: string): boolean {
  return normal(htu) !== null && normal(htu) === normal(url);
}

function normal(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const { origin, pathname, username, password } = new URL(text);
  return username === '' && password === '' ? origin + pathname : null;
}
