/** Paths of the endpoints below the issuer. */
export const ENDPOINTS = {
  token: '/token',
  jwks: '/jwks',
  introspection: '/introspect',
  revocation: '/revoke',
  registration: '/register',
  metadata: '/.well-known/oauth-authorization-server',
} as const;

/** Grants that end in a token. */
export const GRANT_TYPES = {
  clientCredentials: 'client_credentials',
  /** RFC 8693 §2.1 */
  tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
  /** RFC 7523 §2.1 */
  jwtBearer: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
} as const;

/** Endpoints that clients authenticate at, other than the token endpoint. To oidc-provider they are grants of names that nobody can send. */
export const INNER_GRANTS = {
  introspection: 'urn:sallyport:endpoint:introspection',
  revocation: 'urn:sallyport:endpoint:revocation',
} as const;

/** Algorithms that client assertions and DPoP proofs may use: asymmetric, none of them with PKCS #1 v1.5 padding. */
export const CLIENT_ALGORITHMS = ['ES256', 'PS256', 'EdDSA', 'Ed25519'] as const;

/** The algorithm of everything that is signed here. */
export const SIGNING_ALGORITHM = 'ES256';

/** What depends on the configuration. */
export interface ServerAbilities {
  readonly issuer: string;
  readonly detailTypes: readonly string[];
  /** Whether clients are asked for a certificate. */
  readonly certificates: boolean;
  /** Whether a CA is configured, so that `tls_client_auth` can be used. */
  readonly certificateAuthority: boolean;
  /** Whether any issuer of workload identity tokens is trusted. */
  readonly workloads: boolean;
  /** Whether there is anybody who may ask about tokens. */
  readonly introspection: boolean;
  readonly registration: boolean;
}

/** Authorization server metadata (RFC 8414 §2): what this server does, and nothing that it does not. */
export function describeServer(abilities: ServerAbilities): Record<string, unknown> {
  const { issuer, detailTypes, certificates, workloads } = abilities;
  const methods = [
    'private_key_jwt',
    ...(abilities.certificateAuthority ? ['tls_client_auth'] : []),
    ...(certificates ? ['self_signed_tls_client_auth'] : []),
  ];
  return {
    issuer,
    token_endpoint: issuer + ENDPOINTS.token,
    jwks_uri: issuer + ENDPOINTS.jwks,
    ...(abilities.registration ? { registration_endpoint: issuer + ENDPOINTS.registration } : {}),
    // There is no authorization endpoint, so no response type; the member itself is required.
    response_types_supported: [],
    grant_types_supported: supportedGrants(workloads),
    token_endpoint_auth_methods_supported: [...methods, ...(workloads ? ['none'] : [])],
    token_endpoint_auth_signing_alg_values_supported: CLIENT_ALGORITHMS,
    ...(abilities.introspection ? introspectionMembers(issuer) : {}),
    revocation_endpoint: issuer + ENDPOINTS.revocation, // RFC 7009
    revocation_endpoint_auth_methods_supported: [...methods, ...(workloads ? ['none'] : [])],
    revocation_endpoint_auth_signing_alg_values_supported: CLIENT_ALGORITHMS,
    dpop_signing_alg_values_supported: CLIENT_ALGORITHMS, // RFC 9449 §5.1
    ...(certificates ? { tls_client_certificate_bound_access_tokens: true } : {}), // RFC 8705 §3.3
    authorization_details_types_supported: detailTypes, // RFC 9396 §10
  };
}

/** The grants that end in a token: without trusted workload identities, only that of a client with a key. */
export function supportedGrants(workloads: boolean): string[] {
  return workloads ? Object.values(GRANT_TYPES) : [GRANT_TYPES.clientCredentials];
}

/** Resource servers authenticate with a key. */
function introspectionMembers(issuer: string): Record<string, unknown> {
  return {
    introspection_endpoint: issuer + ENDPOINTS.introspection, // RFC 7662
    introspection_endpoint_auth_methods_supported: ['private_key_jwt'],
    introspection_endpoint_auth_signing_alg_values_supported: CLIENT_ALGORITHMS,
    introspection_signing_alg_values_supported: [SIGNING_ALGORITHM], // RFC 9701 §7
  };
}
