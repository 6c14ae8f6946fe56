import { z } from 'zod';
import { file, identifier, isLoopback, port } from './schema.ts';

/**
 * The authorization server's configuration file, strict in the same way as the gateway's. What a client may have at most is written here,
 * per client; what it gets is never more than that and never more than it asked for.
 */

const scope = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/, 'expected one scope: no space, no quote, no backslash');
const claimText = z.string().min(1).max(1024);

const issuerOrigin = z
  .string()
  .refine((text) => URL.canParse(text) && new URL(text).origin === text && /^https?:/.test(text), {
    error:
      'expected an origin such as https://as.example.com: no path, no trailing slash, port only where it is not the default',
  });

/** What `job` in a token may say of the run it was issued for; the members of the kernel's Job. */
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
});

const jobClaimName = z.enum(Object.keys(jobClaims.shape) as [JobClaimName, ...JobClaimName[]]);

/**
 * One item of authorization_details of type `cloud_api` (RFC 9396 §2): what may be done to what. The same for what a client asks and for
 * what it may have at most; an unknown member refuses in both (RFC 9396 §5).
 */
export const cloudApiDetail = z.strictObject({
  type: z.literal('cloud_api').describe('Operations on resources of a cloud API.'),
  actions: z
    .array(z.string().regex(/^[A-Za-z][A-Za-z0-9._:-]{0,127}$/, 'expected an operation such as builds.create'))
    .min(1)
    .max(100)
    .describe('Operations of the catalogue.'),
  identifier: z
    .string()
    .max(1024)
    .regex(
      /^(?!\.{1,2}(\/|$))[^/*\s\p{C}]+(\/(?!\.{1,2}(\/|$))[^/*\s\p{C}]+)*$/u,
      'expected a resource such as projects/p1: segments parted by /, none empty, no *',
    )
    .describe('The resource and everything below it, by segment.'),
  locations: z.array(identifier).min(1).max(20).optional().describe('Where; absent: wherever the token is valid.'),
});

/** Types of authorization_details that are known here, each with its schema. */
export const authorizationDetail = z.discriminatedUnion('type', [cloudApiDetail]);

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
};
const publicKey = z.discriminatedUnion('kty', [ecKey.extend(keyUse), okpKey.extend(keyUse), rsaKey.extend(keyUse)], {
  error:
    'expected a public key: EC P-256, OKP Ed25519, or RSA of 2048 to 4096 bits; the private part stays with the client',
});

/** A client's public keys (RFC 7517 §5), as they stand in the configuration or in a file of its own. */
export const clientKeys = z.strictObject({
  keys: z.array(publicKey).min(1).max(10).describe('EC P-256, OKP Ed25519, or RSA of 2048 to 4096 bits.'),
});

const lifetime = z.int().min(10).max(3600);

const client = z.strictObject({
  client_id: z
    .string()
    .regex(/^[\x21-\x7E]{1,256}$/, 'expected up to 256 visible characters without spaces')
    .describe('Identifier of the client, such as the workflow it stands for.'),
  jwks: clientKeys.optional().describe('Public keys that sign the assertions of this client (RFC 7523 §3).'),
  jwks_file: file.optional().describe('The same in a file.'),
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

const tls = z.strictObject({
  certificate_file: file.describe('PEM certificate chain.'),
  key_file: file.describe('PEM private key of the certificate.'),
});

const listen = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: port.default(9100).describe('Port to listen on; 0: any free port.'),
  tls: tls.optional().describe('Absent: plain HTTP, on loopback only unless allow_plaintext is true.'),
  allow_plaintext: z
    .boolean()
    .default(false)
    .describe(
      'Allow plain HTTP off loopback: behind a TLS terminator, or inside a closed network such as a test composition.',
    ),
});

const log = z.strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') });

/** The whole configuration of `sallyport authserver`. */
export const authServerSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this format.'),
    issuer: issuerOrigin
      .optional()
      .describe('Issuer identifier, the origin under which clients reach it. May be left out on loopback.'),
    listen: listen.prefault({}),
    signing_keys_file: file.describe(
      'JWK Set with the private keys (EC P-256) that sign tokens; the first one signs, all are published. Made at first start.',
    ),
    token_lifetime_seconds: lifetime.default(300).describe('How long a token is valid.'),
    clients: z.array(client).min(1).max(100_000).describe('Who may ask for tokens.'),
    log: log.prefault({}),
  })
  .superRefine((config, context) => {
    const issue = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (!isLoopback(config.listen.address)) {
      if (config.listen.tls === undefined && !config.listen.allow_plaintext) {
        issue(
          ['listen', 'address'],
          'plain HTTP is allowed on loopback only: configure listen.tls, or set listen.allow_plaintext: true behind a TLS terminator',
        );
      }
      if (config.issuer === undefined)
        issue(['issuer'], 'set the origin that clients use, such as https://as.example.com');
    }
    // RFC 8414 §2: an issuer uses https; on loopback nobody else listens.
    const plain = config.issuer?.startsWith('http:') === true && !isLoopback(new URL(config.issuer).hostname);
    if (plain && !config.listen.allow_plaintext) {
      issue(
        ['issuer'],
        'an issuer that is not on loopback must use https (RFC 8414 §2); listen.allow_plaintext: true lifts it',
      );
    }
    const seen = new Set<string>();
    config.clients.forEach((entry, index) => {
      if ((entry.jwks === undefined) === (entry.jwks_file === undefined)) {
        issue(['clients', index, 'jwks'], 'expected exactly one of jwks and jwks_file');
      }
      if (seen.has(entry.client_id)) issue(['clients', index, 'client_id'], 'this client_id is used twice');
      seen.add(entry.client_id);
      entry.job.from_assertion.forEach((name, position) => {
        if (entry.job.claims[name] === undefined) return;
        issue(['clients', index, 'job', 'from_assertion', position], `${name} is fixed in job.claims already`);
      });
    });
  });

/** A valid configuration, with defaults filled in. */
export type AuthServerConfig = z.output<typeof authServerSchema>;
/** One client of the configuration. */
export type ClientConfig = AuthServerConfig['clients'][number];
/** One item of authorization_details, valid for its type. */
export type AuthorizationDetail = z.output<typeof authorizationDetail>;
/** What `job` in a token says. */
export type JobClaims = z.output<typeof jobClaims>;
/** Name of a member of `job`. */
export type JobClaimName = keyof JobClaims;
/** A client's public keys. */
export type ClientKeys = z.output<typeof clientKeys>;

/** The JSON Schema of the configuration file as people write it, for editors. */
export function authServerEditorSchema(): Record<string, unknown> {
  return z.toJSONSchema(authServerSchema, { io: 'input', unrepresentable: 'any' });
}
