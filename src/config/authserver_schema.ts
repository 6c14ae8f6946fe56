import { z } from 'zod';
import { client, findClientProblems, lifetime, resourceServer } from './authserver_clients.ts';
import { certificateAbilities, findFrontProxyProblems, frontProxies } from './authserver_front_proxies.ts';
import { registration } from './authserver_registration.ts';
import { entrypoint } from './policy_schema.ts';
import { findRedisProblems } from './redis_rules.ts';
import { redis } from './stores_schema.ts';
import { file, isLoopback, port } from './values.ts';
import { isPublicIssuer, workloadIssuers } from './workload_issuers.ts';

/**
 * The authorization server's configuration file, strict in the same way as the gateway's. What a client may have at most is written here,
 * per client; what it gets is never more than that and never more than it asked for.
 */

const issuerOrigin = z
  .string()
  .refine((text) => URL.canParse(text) && new URL(text).origin === text && /^https?:/.test(text), {
    error:
      'expected an origin such as https://as.example.com: no path, no trailing slash, port only where it is not the default',
  });

const tls = z.strictObject({
  certificate_file: file.describe('PEM certificate chain.'),
  key_file: file.describe('PEM private key of the certificate.'),
  client_certificates: z
    .enum(['none', 'optional'])
    .default('none')
    .describe('optional: clients are asked for a certificate, to authenticate or to bind tokens with (RFC 8705).'),
  client_ca_file: file
    .optional()
    .describe('PEM certificates that those of tls_client_auth must chain to; not needed for self-signed ones.'),
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
  front_proxies: frontProxies,
});

const admin = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address of the admin port.'),
  port: port.default(9101).describe('Port of /livez, /readyz and /metrics; 0: any free port.'),
  tls: z
    .strictObject({
      certificate_file: file.describe('PEM certificate chain.'),
      key_file: file.describe('PEM private key of the certificate.'),
    })
    .optional()
    .describe('Absent: plain HTTP.'),
});

const detailType = z.strictObject({
  type: z
    .string()
    .regex(/^[\w.:/-]{1,128}$/, 'expected a type of authorization_details')
    .describe('Name of the type.'),
  schema_file: file
    .optional()
    .describe(
      'JSON Schema of an item. Absent: the one that comes with the product (cloud_api, object_store, kubernetes, kubernetes_api, s3_api).',
    ),
});

const issuancePolicy = z.strictObject({
  path: file.describe('A folder of Rego.'),
  entrypoint: entrypoint.default('token_issuance/decision').describe('The rule that is asked, as a path below data.'),
  data: z.array(file).default([]).describe('JSON or YAML files merged into data, after those in the folder.'),
  watch: z.boolean().default(true).describe('Rebuild when a file changes.'),
});

const storage = z.strictObject({
  database_file: file
    .optional()
    .describe(
      'Database (SQLite) of registered clients, opaque tokens and used identifiers. Made at first start, mode 0600. Absent together with redis: authserver.db beside signing_keys_file.',
    ),
  redis: redis.optional().describe('Redis, for several servers with one issuer.'),
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
    admin: admin.optional().describe('A port for those who run the server: health and metrics. Absent: there is none.'),
    signing_keys_file: file.describe(
      'JWK Set with the private keys (EC P-256) that sign tokens, mode 0600. Made at first start, renewed by rotation. Each server has its own; all are published by all that share a storage.',
    ),
    signing_keys: z
      .strictObject({
        rotate_after_seconds: z
          .int()
          .min(0)
          .max(31_536_000)
          .default(2_592_000)
          .describe('Age at which another key takes over; 0: never.'),
        announce_seconds: z
          .int()
          .min(0)
          .max(604_800)
          .default(3600)
          .describe('How long the next key is published before it signs, so that everybody has it.'),
      })
      .prefault({})
      .describe('Rotation. The key before stays published until the last token it signed has expired.'),
    storage: storage.prefault({}).describe('What must survive a restart, and is shared between servers.'),
    token_lifetime_seconds: lifetime.default(300).describe('How long a token is valid.'),
    dpop: z
      .strictObject({
        nonce: z
          .enum(['off', 'required'])
          .default('off')
          .describe('Whether proofs must carry a nonce of this server (RFC 9449 §8).'),
      })
      .prefault({}),
    authorization_details_types: z
      .array(detailType)
      .max(50)
      .default([{ type: 'cloud_api' }])
      .describe('Types of authorization_details that may be asked for (RFC 9396 §10).'),
    workload_issuers: workloadIssuers.describe('Issuers of workload identity tokens that are trusted.'),
    issuance_policy: issuancePolicy
      .optional()
      .describe(
        'Rego that says who may have what, asked about each request. Absent: the ceiling of the client decides.',
      ),
    registration: registration.optional().describe('Dynamic registration (RFC 7591, 7592). Absent: off.'),
    clients: z.array(client).max(100_000).default([]).describe('Who may ask for tokens.'),
    resource_servers: z
      .array(resourceServer)
      .max(1000)
      .default([])
      .describe('Who may ask about tokens (RFC 7662), such as a gateway.'),
    log: log.prefault({}),
  })
  .superRefine((config, context) => {
    const issue: Issue = (path, message) => context.addIssue({ code: 'custom', path: [...path], message });
    checkListen(config, issue);
    checkClients(config, issue);
    checkReferences(config, issue);
    const types = config.authorization_details_types.map(({ type }) => type);
    types.forEach((type, index) => {
      if (types.indexOf(type) !== index)
        issue(['authorization_details_types', index, 'type'], 'this type is listed twice');
    });
    config.clients.forEach((entry, index) => {
      entry.authorization_details.forEach((item, position) => {
        if (types.includes(item.type)) return;
        issue(['clients', index, 'authorization_details', position], 'its type is none of authorization_details_types');
      });
    });
    for (const { path, message } of findRedisProblems(config.storage.redis))
      issue(['storage', 'redis', ...path], message);
    if (config.storage.redis !== undefined && config.storage.database_file !== undefined)
      issue(['storage', 'database_file'], 'give redis or database_file, not both');
    if (config.clients.length === 0 && config.registration === undefined)
      issue(['clients'], 'is empty, and registration is off: nobody could ask for a token');
  });

type Config = {
  readonly issuer?: string | undefined;
  readonly listen: z.output<typeof listen>;
  readonly clients: readonly z.output<typeof client>[];
  readonly resource_servers: readonly z.output<typeof resourceServer>[];
  readonly registration?: z.output<typeof registration> | undefined;
  readonly workload_issuers: z.output<typeof workloadIssuers>;
};
type Issue = (path: readonly (string | number)[], message: string) => void;

function checkListen(config: Config, issue: Issue): void {
  for (const { path, message } of findFrontProxyProblems(config.listen)) issue(path, message);
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
}

const CERTIFICATES_NEEDED = 'needs listen.tls with client_certificates: optional, or listen.front_proxies';
const AUTHORITY_NEEDED =
  'tls_client_auth needs listen.tls.client_ca_file, or a front proxy with verifies_chains: true (RFC 8705 §2.1)';

function checkClients(config: Config, issue: Issue): void {
  const seen = new Set<string>();
  const certificates = certificateAbilities(config.listen);
  config.clients.forEach((entry, index) => {
    const at = (...path: (string | number)[]) => ['clients', index, ...path];
    for (const { key, message } of findClientProblems(entry)) issue(at(key), message);
    if (/tls_client_auth$/.test(entry.token_endpoint_auth_method) && !certificates.asked)
      issue(at('token_endpoint_auth_method'), CERTIFICATES_NEEDED);
    else if (entry.tls_client_certificate_bound_access_tokens === true && !certificates.asked)
      issue(at('tls_client_certificate_bound_access_tokens'), CERTIFICATES_NEEDED);
    if (entry.token_endpoint_auth_method === 'tls_client_auth' && !certificates.authority)
      issue(at('token_endpoint_auth_method'), AUTHORITY_NEEDED);
    if (seen.has(entry.client_id)) issue(at('client_id'), 'this client_id is used twice');
    seen.add(entry.client_id);
    entry.job.from_assertion.forEach((name, position) => {
      if (entry.job.claims[name] === undefined) return;
      issue(at('job', 'from_assertion', position), `${name} is fixed in job.claims already`);
    });
  });
  const resources = new Set<string>();
  config.resource_servers.forEach((entry, index) => {
    if ((entry.jwks === undefined) === (entry.jwks_file === undefined))
      issue(['resource_servers', index, 'jwks'], 'expected exactly one of jwks and jwks_file');
    if (seen.has(entry.client_id)) issue(['resource_servers', index, 'client_id'], 'this client_id is used twice');
    seen.add(entry.client_id);
    entry.resources.forEach((resource, position) => {
      if (resources.has(resource)) issue(['resource_servers', index, 'resources', position], 'is listed twice');
      resources.add(resource);
    });
  });
}

/** Names of issuers that are used are configured; and where anybody can get tokens of an issuer, conditions keep strangers out. */
function checkReferences(config: Config, issue: Issue): void {
  const check = (path: (string | number)[], entry: { issuer: string; claims: object; job: object }) => {
    const issuer = config.workload_issuers.find((one) => one.issuer === entry.issuer);
    if (issuer === undefined) {
      issue([...path, 'issuer'], 'is none of workload_issuers');
      return;
    }
    const conditions = [entry.claims, entry.job, issuer.conditions].some((one) => Object.keys(one).length > 0);
    if (isPublicIssuer(entry.issuer) && !conditions)
      issue(
        [...path, 'claims'],
        'anybody can get tokens of this issuer: name what they must say, such as repository_owner_id',
      );
  };
  config.clients.forEach((entry, index) => {
    for (const [position, one] of entry.workloads.entries()) check(['clients', index, 'workloads', position], one);
  });
  for (const [index, one] of (config.registration?.workloads ?? []).entries())
    check(['registration', 'workloads', index], one);
  const { initial_access_tokens: tokens = [], workloads = [] } = config.registration ?? {};
  if (config.registration !== undefined && tokens.length + workloads.length === 0)
    issue(['registration'], 'expected initial_access_tokens or workloads: nobody could register');
  const named = [...tokens, ...workloads].map(({ name }) => name);
  const twice = named.findIndex((name, index) => named.indexOf(name) !== index);
  if (twice >= 0) issue(['registration'], `the name ${named[twice]} is used twice`);
}

/** A valid configuration, with defaults filled in. */
export type AuthServerConfig = z.output<typeof authServerSchema>;

/** The JSON Schema of the configuration file as people write it, for editors. */
export function authServerEditorSchema(): Record<string, unknown> {
  return z.toJSONSchema(authServerSchema, { io: 'input', unrepresentable: 'any' });
}
