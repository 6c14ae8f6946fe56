import type { JWK } from 'jose';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import { publicPartOf } from '../oauth/signing_key.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';

/**
 * The metadata of a workflow's client (RFC 7591 §2): it holds a key and nothing else, has no redirect, and every token of it is bound. The
 * ceiling goes along in extension members, which a server that does not know them ignores.
 */
export function clientMetadataOf(
  workflow: WorkflowConfig,
  keys: readonly JWK[],
  softwareStatement: string | null,
): JsonObject {
  const { name, scopes, authorization_details: details, resources } = workflow;
  return {
    client_name: `workflow ${name}`,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    jwks: { keys: keys.map((key) => ({ ...publicPartOf(key), kid: key.kid, alg: 'ES256', use: 'sig' })) },
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    ...(details.length > 0 && {
      authorization_details_types: [...new Set(details.map(({ type }) => type))], // RFC 9396 §10
      authorization_details: details,
    }),
    resources,
    dpop_bound_access_tokens: true, // RFC 9449 §5.2
    ...(softwareStatement !== null && { software_statement: softwareStatement }),
  };
}

/** Tells whether a client must be registered again. */
export function digestOf(metadata: JsonObject): string {
  return sha256Base64url(JSON.stringify(metadata));
}
