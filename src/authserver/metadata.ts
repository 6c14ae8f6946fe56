import { DETAIL_TYPES } from './authorization_details.ts';

/** Paths of the endpoints below the issuer. */
export const ENDPOINTS = {
  token: '/token',
  jwks: '/jwks',
  metadata: '/.well-known/oauth-authorization-server',
} as const;

/** Algorithms that client assertions and DPoP proofs may use: asymmetric, none of them with PKCS #1 v1.5 padding. */
export const CLIENT_ALGORITHMS = ['ES256', 'PS256', 'EdDSA', 'Ed25519'] as const;

/** Authorization server metadata (RFC 8414 §2): what this server does, and nothing that it does not. */
export function describeServer(issuer: string): Record<string, unknown> {
  return {
    issuer,
    token_endpoint: issuer + ENDPOINTS.token,
    jwks_uri: issuer + ENDPOINTS.jwks,
    // There is no authorization endpoint, so no response type; the member itself is required.
    response_types_supported: [],
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: ['private_key_jwt'],
    token_endpoint_auth_signing_alg_values_supported: CLIENT_ALGORITHMS,
    dpop_signing_alg_values_supported: CLIENT_ALGORITHMS, // RFC 9449 §5.1
    authorization_details_types_supported: Object.keys(DETAIL_TYPES), // RFC 9396 §10
  };
}
