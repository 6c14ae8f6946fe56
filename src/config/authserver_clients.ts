import { z } from 'zod';
import { file, identifier } from './values.ts';

/** The part of the authorization server's configuration that says who may ask for tokens, and for what at most. */

/** One scope (RFC 6749 §3.3). */
export const scope = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/, 'expected one scope: no space, no quote, no backslash');
const claimText = z.string().min(1).max(1024);

/** Seconds that a token is valid. */
export const lifetime = z.int().min(10).max(3600);

/** What `job` in a token may say of the run it was issued for; the members of the kernel's Job, and when the job must have ended. */
export const jobClaims = z.strictObject({
  provider: claimText.optional().describe('CI system, such as github or gitlab.'),
  repository: claimText.optional().describe('Name of the repository, such as acme/infra.'),
  repository_id: claimText.optional().describe('Its identifier that never changes hands.'),
  workflow: claimText.optional().describe('Definition of the pipeline, such as deploy.yml.'),
  ref: claimText.optional().describe('Full ref, such as refs/heads/main.'),
  ref_protected: z.boolean().optional().describe('Whether the ref is protected.'),
  environment: claimText.optional().describe('Deployment environment.'),
  event: claimText.optional().describe('What started the run.'),
  run_id: claimText.optional().describe('Identifier of the run.'),
  actor: claimText.optional().describe('Who started the run.'),
  runner: claimText.optional().describe('Kind of machine it runs on.'),
  deadline: z
    .int()
    .min(0)
    .max(253_402_300_799)
    .optional()
    .describe('When the job must have ended, seconds since the Unix epoch. No token lives longer.'),
});

/** Name of a member of `job`. */
export const jobClaimName = z.enum(Object.keys(jobClaims.shape) as [JobClaimName, ...JobClaimName[]]);

/** One item of authorization_details (RFC 9396 §2). The JSON Schema of its type says which other members it has. */
export const authorizationDetail = z.looseObject({
  type: z
    .string()
    .regex(/^[\w.:/-]{1,128}$/, 'expected a type of authorization_details')
    .describe('One of authorization_details_types.'),
});

const ecKey = z.strictObject({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string().length(43),
  y: z.string().length(43),
});
const okpKey = z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string().length(43) });
const rsaKey = z.strictObject({ kty: z.literal('RSA'), n: z.string().min(342).max(683), e: z.string().min(1).max(8) });
const keyUse = {
  kid: z.string().min(1).max(256).optional().describe('Name of the key; absent: its thumbprint (RFC 7638).'),
  use: z.literal('sig').optional(),
  alg: z.enum(['ES256', 'PS256', 'EdDSA', 'Ed25519']).optional(),
  key_ops: z.tuple([z.literal('verify')]).optional(),
  x5c: z
    .array(
      z
        .string()
        .max(16_384)
        .regex(/^[A-Za-z0-9+/]+={0,2}$/, 'expected DER in base64'),
    )
    .min(1)
    .max(5)
    .optional()
    .describe('Certificate of the key, for self_signed_tls_client_auth (RFC 8705 §2.2.2).'),
};
const publicKey = z.discriminatedUnion('kty', [ecKey.extend(keyUse), okpKey.extend(keyUse), rsaKey.extend(keyUse)], {
  error:
    'expected a public key: EC P-256, OKP Ed25519, or RSA of 2048 to 4096 bits; the private part stays with the client',
});

/** A client's public keys (RFC 7517 §5), as they stand in the configuration, in a file of its own or in a registration. */
export const clientKeys = z.strictObject({
  keys: z.array(publicKey).min(1).max(10).describe('EC P-256, OKP Ed25519, or RSA of 2048 to 4096 bits.'),
});

/** How clients prove who they are: with a key, or by a workload identity token (`none`). There are no shared secrets. */
export const authMethod = z.enum(['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none']);

/** What names the certificate of a client (RFC 8705 §2.1.2); exactly one. */
export const certificateNames = {
  tls_client_auth_subject_dn: z.string().min(1).max(1024).optional().describe('Subject, as RFC 4514 writes it.'),
  tls_client_auth_san_dns: z.string().min(1).max(253).optional().describe('DNS name among the alternative names.'),
  tls_client_auth_san_uri: z.string().min(1).max(2048).optional().describe('URI among the alternative names.'),
  tls_client_auth_san_ip: z.string().min(2).max(45).optional().describe('IP address among the alternative names.'),
  tls_client_auth_san_email: z.string().min(3).max(320).optional().describe('Address among the alternative names.'),
};

const conditions = z.record(claimText, z.union([claimText, z.array(claimText).min(1).max(100)]));

/** Which workload identity tokens speak for a client. */
export const workload = z.strictObject({
  issuer: identifier.describe('One of workload_issuers.'),
  claims: conditions
    .default({})
    .describe('Claims that the token must have, with the value or one of the values. Prefer immutable identifiers.'),
  job: conditions.default({}).describe('The same for members of job, which are named alike for every CI system.'),
});

/** What a client may have at most. */
export const ceiling = {
  resources: z
    .array(identifier)
    .min(1)
    .max(100)
    .describe('What its tokens may be for (RFC 8707); it must name one of them.'),
  scopes: z.array(scope).max(500).default([]).describe('Scopes it may have at most.'),
  authorization_details: z
    .array(authorizationDetail)
    .max(500)
    .default([])
    .describe('What it may have at most: an item asked for is granted when one item here covers the whole of it.'),
  token_lifetime_seconds: lifetime.optional().describe('Absent: as for the whole server.'),
};

/** Identifier of a client, as it may be chosen. */
export const clientId = z
  .string()
  .regex(/^[\x21-\x7E]{1,256}$/, 'expected up to 256 visible characters without spaces')
  .describe('Identifier of the client, such as the workflow it stands for.');

const keysOf = {
  jwks: clientKeys.optional().describe('Public keys that sign the assertions of this client (RFC 7523 §3).'),
  jwks_file: file.optional().describe('The same in a file.'),
};

/** One client. */
export const client = z.strictObject({
  client_id: clientId,
  token_endpoint_auth_method: authMethod
    .default('private_key_jwt')
    .describe(
      'How it proves who it is. none: by the workload identity token in its request, which workloads must name.',
    ),
  ...keysOf,
  ...certificateNames,
  certificate_file: file
    .optional()
    .describe(
      'PEM certificate of the client, for self_signed_tls_client_auth (RFC 8705 §2.2), in place of x5c in jwks.',
    ),
  dpop_bound_access_tokens: z
    .boolean()
    .optional()
    .describe(
      'Every request must carry a DPoP proof (RFC 9449 §5.2). Absent: true unless tokens are bound to the certificate.',
    ),
  tls_client_certificate_bound_access_tokens: z
    .boolean()
    .optional()
    .describe(
      'Tokens are bound to the certificate of the connection (RFC 8705 §3.4). Absent: true where the client authenticates by certificate; set false when it asks on behalf of a job that brings a proof.',
    ),
  workloads: z.array(workload).max(100).default([]).describe('Workload identity tokens that it may exchange.'),
  ...ceiling,
  job: z
    .strictObject({
      claims: jobClaims.default({}).describe('Claims every token of this client carries in job.'),
      from_assertion: z
        .array(jobClaimName)
        .default([])
        .describe(
          'Claims the client may itself state, in job of its assertion. For a CI engine, which knows what it runs.',
        ),
    })
    .prefault({})
    .describe('What the tokens say of the job they are issued for.'),
});

/** One resource server, which may ask about tokens. */
export const resourceServer = z.strictObject({
  client_id: clientId,
  ...keysOf,
  resources: z.array(identifier).min(1).max(100).describe('Tokens for these it may ask about, and no others.'),
  token_format: z
    .enum(['auto', 'jwt', 'opaque'])
    .default('auto')
    .describe(
      'What tokens for these resources are. auto: a JWT, unless it would be longer than large_token_bytes; then opaque, and everything about it by introspection.',
    ),
  large_token_bytes: z.int().min(512).max(65_536).default(6144).describe('From this length a JWT is too long to send.'),
});

/** One client of the configuration. */
export type ClientConfig = z.output<typeof client>;
/** One resource server of the configuration. */
export type ResourceServerConfig = z.output<typeof resourceServer>;
/** Which workload identity tokens speak for a client. */
export type WorkloadConfig = z.output<typeof workload>;
/** One item of authorization_details, valid for its type once its type has judged it. */
export type AuthorizationDetail = z.output<typeof authorizationDetail>;
/** What `job` in a token says. */
export type JobClaims = z.output<typeof jobClaims>;
/** Name of a member of `job`. */
export type JobClaimName = keyof JobClaims;
/** A client's public keys. */
export type ClientKeys = z.output<typeof clientKeys>;
/** How a client proves who it is. */
export type AuthMethod = z.output<typeof authMethod>;

/** What is wrong with how a client authenticates and binds its tokens; shared by configuration and registration. */
export function findClientProblems(entry: {
  readonly token_endpoint_auth_method: AuthMethod;
  readonly jwks?: ClientKeys | undefined;
  readonly jwks_file?: string | undefined;
  readonly certificate_file?: string | undefined;
  readonly workloads: readonly unknown[];
  readonly dpop_bound_access_tokens?: boolean | undefined;
  readonly tls_client_certificate_bound_access_tokens?: boolean | undefined;
}): { readonly key: string; readonly message: string }[] {
  const problems: { key: string; message: string }[] = [];
  const method = entry.token_endpoint_auth_method;
  const keys = [entry.jwks, entry.jwks_file].filter((place) => place !== undefined).length;
  const names = Object.keys(certificateNames).filter((name) => (entry as Record<string, unknown>)[name] !== undefined);
  if (method === 'private_key_jwt' && keys !== 1)
    problems.push({ key: 'jwks', message: 'expected exactly one of jwks and jwks_file' });
  if (method === 'self_signed_tls_client_auth') {
    const certified = entry.jwks?.keys.some((key) => key.x5c !== undefined) === true;
    if (keys + Number(entry.certificate_file !== undefined) !== 1 || (entry.jwks !== undefined && !certified))
      problems.push({ key: 'jwks', message: 'expected the certificate: certificate_file, or jwks with x5c' });
  }
  if (method === 'tls_client_auth' && names.length !== 1) {
    const expected = Object.keys(certificateNames).join(', ');
    problems.push({ key: 'token_endpoint_auth_method', message: `tls_client_auth needs exactly one of ${expected}` });
  }
  if (method !== 'tls_client_auth' && names[0] !== undefined)
    problems.push({ key: names[0], message: 'is for token_endpoint_auth_method: tls_client_auth' });
  if (method === 'none' && entry.workloads.length === 0)
    problems.push({
      key: 'workloads',
      message: 'a client without a key needs the workload identity that speaks for it',
    });
  const { dpop, certificate } = bindingOf(entry);
  if (!dpop && !certificate)
    problems.push({ key: 'dpop_bound_access_tokens', message: 'tokens must be bound to a key or a certificate' });
  return problems;
}

/** What the tokens of a client are bound to: every token to something. */
export function bindingOf(entry: {
  readonly token_endpoint_auth_method: AuthMethod;
  readonly dpop_bound_access_tokens?: boolean | undefined;
  readonly tls_client_certificate_bound_access_tokens?: boolean | undefined;
}): { readonly dpop: boolean; readonly certificate: boolean } {
  const byCertificate = /tls_client_auth$/.test(entry.token_endpoint_auth_method);
  const certificate = entry.tls_client_certificate_bound_access_tokens ?? byCertificate;
  return { dpop: entry.dpop_bound_access_tokens ?? !certificate, certificate };
}
