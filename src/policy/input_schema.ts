import { z } from 'zod';

/**
 * The policy input document, version 1, strict: what a policy may rely on. `policies/schema/input.schema.json` is generated from it. It is
 * never used on the way of a request; `input.ts` builds the document, and the tests hold the two together.
 */

const text = z.string();
const optionalText = z.string().nullable();
const seconds = z.number().describe('Seconds since the Unix epoch.');
const claims = z.record(z.string(), z.unknown());

const request = z
  .strictObject({
    id: text.describe('Identifies the request, and its decision in the record.'),
    time: z.int().describe('When the request arrived, in seconds since the Unix epoch.'),
    route: text.describe('Name of the route.'),
    method: text.describe('Upper case.'),
    host: text.describe('Lower case, without port.'),
    origin: text.describe('Scheme and authority that callers use, from the configuration; no trailing slash.'),
    resource: text.describe('The audience that the token carries (RFC 8707), from the route.'),
    path: text.describe('Byte for byte as it is sent on, percent-encoded, without query.'),
    segments: z
      .array(text)
      .describe('The segments of the path, percent-decoded; a trailing slash is a last empty one.'),
    query: z.record(z.string(), z.array(text)).describe('Decoded, values in order.'),
    headers: z
      .record(z.string(), z.array(text))
      .describe('Header fields that can change what a request means, by lower-case name. Never a credential.'),
    body: z.unknown().describe('The parsed JSON when body_state is parsed, else null.'),
    body_state: z.enum(['absent', 'not_requested', 'parsed', 'too_large', 'not_json']),
    peer_address: text.describe('Address of the connection; never from a header.'),
  })
  .describe('The request, in the one reading that is judged and sent on.');

const operation = z
  .strictObject({
    service: text,
    name: text.describe('Such as builds.create.'),
    resource: text.describe('Such as projects/p1/builds.'),
    params: z.record(z.string(), text).describe('The parts of the path that the template names, percent-decoded.'),
    access: z.enum(['read', 'write', 'admin']),
    scopes: z.array(text).describe('Scopes that the catalogue asks for, all of them.'),
    authorization_details_type: optionalText.describe(
      'Type of the item that must cover the operation; null where the catalogue asks for none.',
    ),
  })
  .describe('What the request means to the cloud API, from the operation catalogue; null when it is not known.');

const client = z
  .strictObject({
    id: text.describe('client_id of the token.'),
    auth_method: optionalText.describe(
      'How the client authenticated at the authorization server, when the token says so.',
    ),
  })
  .describe('The OAuth client that the token was issued to.');

const binding = z
  .strictObject({
    method: z.enum(['dpop', 'mtls', 'bearer']),
    thumbprint: optionalText.describe('jkt or x5t#S256; null for a bearer token.'),
    certificate: z
      .string()
      .optional()
      .describe('x5t#S256, where the token is bound to a certificate beside its key; then both were shown.'),
  })
  .describe('How the sender showed that the token is its own.');

const token = z
  .strictObject({
    kind: z.enum(['jwt', 'opaque']),
    issuer: text,
    subject: text,
    audience: z.array(text),
    jti: text,
    issued_at: seconds,
    expires_at: seconds,
    scopes: z.array(text),
    authorization_details: z.array(z.record(z.string(), z.unknown())).describe('RFC 9396 §2; each has a type.'),
    claims: claims.describe('The remaining claims.'),
    binding,
  })
  .describe('The access token, verified.');

const job = z
  .strictObject({
    provider: optionalText,
    repository: optionalText,
    repository_id: optionalText,
    workflow: optionalText,
    ref: optionalText,
    ref_protected: z.boolean().nullable(),
    environment: optionalText,
    event: optionalText,
    run_id: optionalText,
    actor: optionalText,
    runner: optionalText,
    claims: claims.describe('What the provider said, as it said it.'),
  })
  .describe('The job that the token was issued for, in one form for all providers; null when the token names none.');

/** The input document of a policy, version 1. */
export const policyInputSchema = z
  .strictObject({
    version: z.literal(1),
    request,
    operation: operation.nullable(),
    client,
    token,
    job: job.nullable(),
  })
  .describe(
    'What the gateway tells a policy of a request. Whole numbers beyond 2^53 have lost digits: compare ids as strings.',
  );

/** What a policy sees of one request. */
export type PolicyInput = DeepReadonly<z.output<typeof policyInputSchema>>;

type DeepReadonly<T> = T extends object ? { readonly [Member in keyof T]: DeepReadonly<T[Member]> } : T;
