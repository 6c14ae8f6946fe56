/** What a signature algorithm asks of its key and its signature (RFC 7518 §3, RFC 8037 §3.1, RFC 9864 §2). */
export interface SignatureAlgorithm {
  readonly kty: 'EC' | 'RSA' | 'OKP';
  /** The curve of the key; null for RSA. */
  readonly crv: string | null;
  /** Digest in the spelling of node:crypto; null where the algorithm has its own. */
  readonly digest: 'sha256' | 'sha384' | 'sha512' | null;
  /** Bytes of one coordinate and of r and s each; 0 for RSA. */
  readonly coordinateBytes: number;
  /** Whether RSA signatures are padded by PSS (RFC 7518 §3.5). */
  readonly pss: boolean;
}

function ec(crv: string, digest: 'sha256' | 'sha384' | 'sha512', coordinateBytes: number): SignatureAlgorithm {
  return { kty: 'EC', crv, digest, coordinateBytes, pss: false };
}

function rsa(digest: 'sha256' | 'sha384' | 'sha512', pss: boolean): SignatureAlgorithm {
  return { kty: 'RSA', crv: null, digest, coordinateBytes: 0, pss };
}

const ed25519: SignatureAlgorithm = { kty: 'OKP', crv: 'Ed25519', digest: null, coordinateBytes: 32, pss: false };

/** The asymmetric signature algorithms this product knows. `none` and HS* are not among them (RFC 8725 §3.1, RFC 9449 §4.3 check 5). */
export const SIGNATURE_ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  ['ES256', ec('P-256', 'sha256', 32)],
  ['ES384', ec('P-384', 'sha384', 48)],
  ['ES512', ec('P-521', 'sha512', 66)],
  ['PS256', rsa('sha256', true)],
  ['PS384', rsa('sha384', true)],
  ['PS512', rsa('sha512', true)],
  ['RS256', rsa('sha256', false)],
  ['RS384', rsa('sha384', false)],
  ['RS512', rsa('sha512', false)],
  ['EdDSA', ed25519],
  ['Ed25519', ed25519],
]);

/** The algorithms that a configured list allows. EdDSA and Ed25519 are two names of one algorithm here (RFC 9864 §2.2): one allows both. */
export function allowedAlgorithms(names: readonly string[]): ReadonlyMap<string, SignatureAlgorithm> {
  const allowed = new Set(names);
  if (allowed.has('EdDSA') || allowed.has('Ed25519')) allowed.add('EdDSA').add('Ed25519');
  return new Map([...SIGNATURE_ALGORITHMS].filter(([name]) => allowed.has(name)));
}
