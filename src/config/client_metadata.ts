import { z } from 'zod';
import { authMethod, certificateNames, clientKeys, scope } from './authserver_clients.ts';
import { identifier } from './values.ts';

/** What a client says of itself when it registers (RFC 7591 §2), and this server's members beside. What it does not know is left out. */

const words = z.string().min(1).max(512);

/** Members that would make a shared secret, a redirect or a request of ours; each with why it is refused. */
const REFUSED: Readonly<Record<string, string>> = {
  client_secret: 'there are no shared secrets here',
  jwks_uri: 'keys are registered by value, in jwks',
  client_id_issued_at: 'is for the server to say',
  client_secret_expires_at: 'there are no shared secrets here',
  registration_access_token: 'is for the server to say',
  registration_client_uri: 'is for the server to say',
};

/** Client metadata as it is read from a registration; defaults follow when the ceiling is known. */
export const clientMetadata = z
  .object({
    client_id: z.string().max(256).optional(),
    client_name: words.optional(),
    client_uri: words.optional(),
    contacts: z.array(words).max(20).optional(),
    software_id: words.optional(),
    software_version: words.optional(),
    software_statement: z.string().max(16_384).optional(),
    token_endpoint_auth_method: authMethod
      .exclude(['none'], { error: 'expected a method with a key: there are no shared secrets here' })
      .optional(),
    token_endpoint_auth_signing_alg: z.enum(['ES256', 'PS256', 'EdDSA', 'Ed25519']).optional(),
    jwks: clientKeys.optional(),
    ...certificateNames,
    grant_types: z
      .array(
        z.enum([
          'client_credentials',
          'urn:ietf:params:oauth:grant-type:token-exchange',
          'urn:ietf:params:oauth:grant-type:jwt-bearer',
        ]),
      )
      .min(1)
      .max(3)
      .optional(),
    response_types: z.array(z.never()).optional(),
    redirect_uris: z.array(z.never()).optional(),
    scope: z
      .string()
      .max(16_384)
      .refine((text) => text.split(' ').every((one) => scope.safeParse(one).success), {
        error: 'expected scopes parted by one space',
      })
      .optional(),
    authorization_details_types: z.array(z.string().min(1).max(128)).max(50).optional(),
    authorization_details: z.array(z.record(z.string(), z.unknown())).max(500).optional(),
    resources: z.array(identifier).min(1).max(100).optional(),
    dpop_bound_access_tokens: z.boolean().optional(),
    tls_client_certificate_bound_access_tokens: z.boolean().optional(),
  })
  .strip();

/** What a client says of itself. */
export type RegisteredMetadata = z.output<typeof clientMetadata>;

/** A problem of metadata: the error code of RFC 7591 §3.2.2, and words that name a member and nothing of what was sent. */
export interface MetadataProblem {
  readonly error: 'invalid_redirect_uri' | 'invalid_client_metadata';
  readonly description: string;
}

/** Reads client metadata, or says what is wrong with it. A member that is null counts as left out (RFC 7592 §2.2). */
export function readClientMetadata(value: Readonly<Record<string, unknown>>): RegisteredMetadata | MetadataProblem {
  const members = Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null));
  for (const [name, why] of Object.entries(REFUSED)) {
    if (Object.hasOwn(members, name)) return { error: 'invalid_client_metadata', description: `${name}: ${why}` };
  }
  const result = clientMetadata.safeParse(members);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const member = String(issue?.path[0] ?? 'metadata');
  const error = member === 'redirect_uris' ? 'invalid_redirect_uri' : 'invalid_client_metadata';
  const own = issue?.code === 'custom' || issue?.code === 'invalid_value' ? issue.message : 'is not as it must be';
  return { error, description: `${member}: ${own}` };
}
