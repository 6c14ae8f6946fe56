import { z } from 'zod';

import { endsAtGateway, mayCarryCertificate } from '../kernel/fields.ts';
import { findCertificateProblems } from './certificate_rules.ts';
import { frontProxyIdentity } from './front_proxy.ts';
import { findPolicyProblems } from './policy_rules.ts';
import { policy } from './policy_schema.ts';
import { findReachProblems } from './reach_rules.ts';
import { findEndedJobsProblems, findRedisProblems } from './redis_rules.ts';
import { findReplayProblems } from './replay_rules.ts';
import { covers, requestHeaders } from './request_headers.ts';
import { findServiceProblems, resourceName, service } from './service_schema.ts';
import { findSinkProblems } from './sink_rules.ts';

/**
 * The gateway's configuration file, strict: an unknown key is an error. The one description of it; types, defaults, the editors' JSON Schema
 * and docs/reference/configuration.md come from here. Durations carry their unit in the key, sizes end in `_bytes`.
 */

/** A TCP port. */
export const port = z.int().min(0).max(65_535);
const milliseconds = z.int().min(1).max(3_600_000);
const bytes = z.int().min(1).max(1_099_511_627_776);
/** Path of a file. */
export const file = z.string().min(1).max(4096);

/** An http or https URL: no user information, no query, no fragment. */
export const httpUrl = z.string().refine(isHttpUrl, {
  error: 'expected an absolute http or https URL without user information, query or fragment',
});
/** Scheme, host and port. */
export const origin = z.string().refine((text) => isHttpUrl(text) && new URL(text).origin === text.replace(/\/$/, ''), {
  error:
    'expected an origin such as https://cloud.example.com: scheme, host in lower case and port only where it is not the default',
});
/** Identifier of an issuer or a resource: an absolute URI without fragment. */
export const identifier = z.string().min(1).max(2048).refine(isAbsoluteUri, {
  error: 'expected an absolute URI without fragment, such as https://cloud.example.com/v1',
});

/** Asymmetric algorithms that may be allowed; `none` and HS* cannot be named at all (RFC 8725 §3.1, §3.2). */
export const algorithm = z.enum([
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
  'EdDSA',
  'Ed25519',
]);
const algorithms = z.array(algorithm).min(1).default(['ES256', 'PS256', 'EdDSA']);

const serverTls = z.strictObject({
  certificate_file: file.describe('PEM certificate chain of the gateway.'),
  key_file: file.describe('PEM private key of the certificate.'),
  client_certificates: z
    .enum(['none', 'optional', 'required'])
    .default('none')
    .describe('Whether callers are asked for a client certificate (RFC 8705).'),
  client_ca_file: file
    .optional()
    .describe(
      'PEM certificates that client certificates must chain to; absent: any certificate is taken and bound by thumbprint only.',
    ),
  http2: z
    .boolean()
    .default(true)
    .describe('Whether callers may speak HTTP/2 (ALPN h2). Without TLS only HTTP/1.1 is spoken.'),
});

const frontProxy = z.strictObject({
  ...frontProxyIdentity,
  client_certificate: z
    .enum(['none', 'client_cert', 'envoy', 'nginx', 'haproxy', 'traefik'])
    .default('none')
    .describe(
      'How the proxies pass on the client certificate of a caller: client_cert: RFC 9440; envoy: X-Forwarded-Client-Cert; nginx: escaped PEM; haproxy: DER in base64; traefik: X-Forwarded-Tls-Client-Cert.',
    ),
  header: z
    .string()
    .refine(mayCarryCertificate, {
      error:
        'expected Client-Cert, X-Client-Cert, or a name that begins with X-Forwarded-, X-SSL-, SSL-Client- or X-Amzn-Mtls- and speaks of a certificate: what callers send in these never gets past the gateway',
    })
    .optional()
    .describe(
      'The header field that carries it. Absent: Client-Cert, X-Forwarded-Client-Cert, X-SSL-Client-Cert (nginx, haproxy) or X-Forwarded-Tls-Client-Cert.',
    ),
});

const listen = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: port.default(8080).describe('Port to listen on; 0: any free port.'),
  tls: serverTls
    .optional()
    .describe('Absent: plain HTTP, which is allowed on loopback only unless allow_plaintext is true.'),
  allow_plaintext: z
    .boolean()
    .default(false)
    .describe(
      'Allow plain HTTP on an address that is not loopback, for a gateway behind a TLS terminator on the same host or pod.',
    ),
  front_proxies: z
    .array(frontProxy)
    .max(64)
    .default([])
    .describe(
      'Proxies in front that end the TLS of callers; the first entry that a connection fits counts. Only they are believed about client certificates, and their own SNI need not agree with Host.',
    ),
});

const admin = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address of the admin port.'),
  port: port.default(9901).describe('Port of /livez, /readyz and /metrics; 0: any free port.'),
  api_token_file: file
    .optional()
    .describe(
      'File of mode 0600 with a bearer token of at least 32 characters, for the endpoints that change or tell more; read again when it changes. Absent: they are off.',
    ),
  tls: z
    .strictObject({
      certificate_file: file.describe('PEM certificate chain of the admin port; read again when it changes.'),
      key_file: file.describe('PEM private key of the certificate.'),
    })
    .optional()
    .describe('Absent: plain HTTP. Needed where the API token comes from another machine.'),
});

const introspection = z.strictObject({
  endpoint: httpUrl.describe('Introspection endpoint of the issuer (RFC 7662 §2); https, or http on loopback.'),
  client_id: z
    .string()
    .regex(/^[\x20-\x7e]{1,1024}$/, 'expected a client identifier')
    .describe('Client identifier of the gateway at the issuer.'),
  private_key_file: file.describe(
    'Private JWK that the gateway authenticates with (private_key_jwt, RFC 7523); read again when it changes.',
  ),
  when: z
    .enum(['opaque', 'jwt', 'always'])
    .default('opaque')
    .describe(
      'Which tokens the issuer is asked about: opaque: those that are not JWTs; jwt: its JWTs, after their own checks; always: both.',
    ),
  response: z
    .enum(['json', 'jwt'])
    .default('json')
    .describe('jwt: only answers that the issuer signed are taken (RFC 9701).'),
  algorithms: algorithms.describe(
    'Signature algorithms of signed answers. Servers use RS256 unless the client is registered with another introspection_signed_response_alg.',
  ),
  timeout_ms: z
    .int()
    .min(10)
    .max(10_000)
    .default(1000)
    .describe('How long an answer may take, waiting for a connection included; then the request is refused with 503.'),
  cache_seconds: z
    .int()
    .min(0)
    .max(600)
    .default(30)
    .describe(
      'How long an answer is used, never past exp; a revoked token may pass for so long. 0: every request asks.',
    ),
  connections: z
    .int()
    .min(1)
    .max(1000)
    .default(32)
    .describe(
      'Questions to the issuer at the same time, per process; more wait. A quarter is kept for tokens that were active before.',
    ),
  new_tokens_per_second: z
    .int()
    .min(1)
    .max(100_000)
    .default(250)
    .describe(
      'Questions about tokens that were not active before, in a second, per process: what a flood of invented tokens costs at most. More wait.',
    ),
});

const statusList = z.strictObject({
  mode: z
    .enum(['check', 'ignore'])
    .default('check')
    .describe('ignore: the status claim of tokens is not looked at, so that revoked ones pass.'),
  required: z.boolean().default(false).describe('Refuse tokens without a status claim.'),
  uri_prefixes: z
    .array(httpUrl.refine((text) => text.endsWith('/'), { error: 'expected a URL that ends in /' }))
    .min(1)
    .optional()
    .describe('What the addresses of lists may begin with. Absent: the origin of the issuer.'),
  timeout_ms: z
    .int()
    .min(10)
    .max(10_000)
    .default(1000)
    .describe('How long fetching a list may take; then the request is refused with 503.'),
  max_age_seconds: z
    .int()
    .min(5)
    .max(86_400)
    .default(300)
    .describe(
      'How long a list is used at most, however long its ttl and exp allow; a revoked token may pass for so long.',
    ),
});

const issuer = z.strictObject({
  issuer: identifier.describe('Issuer identifier; compared byte for byte with iss (RFC 9068 §4).'),
  jwks_uri: httpUrl.optional().describe('Where the keys are; absent together with jwks_file: discovered (RFC 8414).'),
  jwks_file: file.optional().describe('A JWK Set file with the public keys.'),
  algorithms: algorithms.describe('Signature algorithms that access tokens of this issuer may use.'),
  dpop_nonce: z
    .literal('required')
    .optional()
    .describe('Proofs with tokens of this issuer must carry a nonce on every route, whatever the route says.'),
  allow_insecure: z
    .boolean()
    .default(false)
    .describe('Allow http for the metadata, keys and status lists of an issuer that is not on loopback.'),
  introspection: introspection
    .optional()
    .describe('How the issuer is asked about tokens (RFC 7662). Absent: it is not asked, and takes no opaque tokens.'),
  status_list: statusList
    .optional()
    .describe(
      'How the status list that a JWT names is checked (Token Status List). Absent: JWTs that name one are refused.',
    ),
  keys: z
    .strictObject({
      timeout_ms: milliseconds.default(5000).describe('How long one request for metadata or keys may take.'),
      max_age_seconds: z
        .int()
        .min(1)
        .max(86_400)
        .default(600)
        .describe('After this, keys are refreshed in the background.'),
      stale_seconds: z
        .int()
        .min(0)
        .max(604_800)
        .default(86_400)
        .describe('How long old keys are used while the issuer cannot be reached.'),
      cooldown_seconds: z
        .int()
        .min(1)
        .max(3600)
        .default(30)
        .describe('At most one request for an unknown kid in this time.'),
    })
    .prefault({})
    .describe('How the keys are fetched and kept.'),
});

const nonceDemand = z.enum(['off', 'required']);

const dpop = z.strictObject({
  algorithms: algorithms.describe('Signature algorithms that proofs may use.'),
  max_age_seconds: z.int().min(1).max(3600).default(60).describe('How old a proof may be.'),
  leeway_seconds: z.int().min(0).max(60).default(10).describe('How far ahead a proof may be dated.'),
  nonce: nonceDemand
    .default('off')
    .describe('Whether proofs must carry a nonce of this gateway (RFC 9449 §9); dpop_nonce of a route goes before.'),
  nonce_secret_files: z
    .array(file)
    .min(1)
    .max(8)
    .optional()
    .describe(
      'Files of mode 0600 with the secrets of nonces, at least 32 bytes each; the first makes new nonces, the others (the one before, the next one) are known too. Read again when they change. Absent: a random secret of this start, which other gateways do not know.',
    ),
  nonce_lifetime_seconds: z
    .int()
    .min(10)
    .max(86_400)
    .default(300)
    .describe('How long a nonce is good for; after half of it, answers carry a new one.'),
});

/** Where Redis is, and how it is used. */
export const redis = z.strictObject({
  url: z
    .string()
    .regex(
      /^rediss?:\/\/([^\s/@?#]*@)?[^\s/@?#]+(\/\d{0,3})?$/,
      'expected redis://host:port or rediss://host:port, at most with a database number after it such as /0',
    )
    .optional()
    .describe('A single node.'),
  sentinels: z
    .array(z.strictObject({ host: z.string().min(1), port: port.default(26_379) }))
    .min(1)
    .optional()
    .describe('Sentinel nodes; needs name.'),
  name: z.string().min(1).optional().describe('Name of the master that the sentinels watch.'),
  cluster: z
    .array(z.strictObject({ host: z.string().min(1), port: port.default(6379) }))
    .min(1)
    .optional()
    .describe('Start nodes of a Redis Cluster.'),
  tls: z
    .strictObject({
      ca_file: file.optional(),
      certificate_file: file.optional(),
      key_file: file.optional(),
      server_name: z.string().optional(),
    })
    .optional()
    .describe('TLS to Redis; its certificate is always verified.'),
  username: z.string().min(1).optional().describe('ACL user.'),
  password_file: file.optional().describe('File with the password.'),
  command_timeout_ms: z
    .int()
    .min(10)
    .max(10_000)
    .default(250)
    .describe('After this, the claim on a proof is refused with 503.'),
  key_prefix: z.string().max(64).default('sallyport:').describe('Start of every key that is written.'),
  allow_eviction: z
    .boolean()
    .default(false)
    .describe('Start although Redis may evict keys, which lets a replay pass. Not for production.'),
});

const endedJobs = z.strictObject({
  store: z
    .enum(['memory', 'redis'])
    .describe(
      'Where the keys of ended jobs come from. memory: POST /ended-jobs of the admin port, for one gateway with all its processes. redis: what any gateway or broker wrote there; every gateway has it within a second.',
    ),
  redis: redis.optional().describe('Absent: that of replay.redis.'),
  state_file: file
    .optional()
    .describe('With store: memory: where the list is kept, so that it survives a restart. Absent: it does not.'),
  limit: z
    .int()
    .min(100)
    .max(5_000_000)
    .default(200_000)
    .describe(
      'Keys whose tokens have not expired, at most. When full, no more can be ended, and with Redis no token is taken that is not known to be ended.',
    ),
  poll_ms: z
    .int()
    .min(50)
    .max(1000)
    .default(250)
    .describe('How often Redis is asked what is new, beside what it tells by itself.'),
  max_stale_ms: z
    .int()
    .min(250)
    .max(60_000)
    .default(1000)
    .describe(
      'How old the last answer of Redis may be; then requests are refused with 503 until it answers. More than 1000: a job that ended may be served for longer than a second while Redis is away.',
    ),
});

const replay = z.strictObject({
  store: z
    .enum(['memory', 'redis'])
    .default('memory')
    .describe('Where used proofs are remembered; memory serves one process.'),
  redis: redis.optional(),
  memory_limit: z
    .int()
    .min(1000)
    .max(50_000_000)
    .default(2_000_000)
    .describe('Proofs the memory store holds; when full, new proofs are refused with 503, never old ones forgotten.'),
});

const upstream = z.strictObject({
  url: httpUrl.describe('Origin of the upstream, or with a path that is put before the judged path.'),
  protocol: z
    .enum(['http1', 'http2'])
    .default('http1')
    .describe(
      'What is spoken with the upstream. http2, for gRPC: over https the upstream must choose h2 (ALPN), over http it must expect HTTP/2 at once.',
    ),
  timeout_ms: milliseconds
    .default(30_000)
    .describe('How long the upstream may take to send the headers of its answer, and each further part of it.'),
  connect_timeout_ms: milliseconds.default(5000).describe('How long connecting to the upstream may take.'),
  connections: z.int().min(1).max(10_000).default(128).describe('Connections to the upstream, per process.'),
  ca_file: file
    .optional()
    .describe(
      'PEM certificates that the upstream must chain to; absent: those of Node.js. Verification cannot be turned off.',
    ),
  credential: z
    .strictObject({
      header: z
        .string()
        .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'expected a header name')
        .default('Authorization')
        .describe('Header that carries the credential.'),
      value_file: file.describe('File with the whole header value; re-read when it changes.'),
    })
    .optional()
    .describe('The credential of the gateway for the upstream. Absent: none is sent.'),
});

/** Fields that have a meaning of their own for framing, routing, credentials or the gateway; never after a body (RFC 9110 §6.5.1). */
const NEVER_TRAILERS =
  /^(?:content-.*|transfer-encoding|host|te|trailer|expect|range|max-forwards|cache-control|authorization|dpop|dpop-nonce|cookie|set-cookie|www-authenticate|authentication-info|proxy-.*|connection|keep-alive|upgrade|via|forwarded|x-forwarded-.*|sallyport-.*|age|date|expires|location|retry-after|vary|warning)$/;
const trailerNames = z
  .array(
    z
      .string()
      .regex(/^[a-z0-9!#$%&'*+.^`|~-]{1,128}$/, 'expected a field name in lower case')
      // What a caller may not say before a body, it may not say after it: some servers read both as one.
      .refine((name) => !NEVER_TRAILERS.test(name) && !endsAtGateway(name), {
        error: 'this field may not stand after a body',
      }),
  )
  .max(64)
  .default([]);

const route = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'expected lower-case letters, digits, - and _')
    .describe('Names the route in records and metrics.'),
  hosts: z.array(z.string().min(1)).min(1).optional().describe('Host names; absent: the host of public_origin.'),
  path_prefix: z
    .string()
    .regex(/^\/(?!.*\/\/)/, 'expected a path that starts with / and has no empty segment')
    .describe('Matches whole segments; the longest matching prefix wins.'),
  upstream: upstream,
  resource: identifier.describe('The audience a token must carry (RFC 8707).'),
  opaque_issuer: identifier
    .optional()
    .describe(
      'The issuer that opaque tokens of this route come from, since they do not say it. Absent: the only one that takes opaque tokens.',
    ),
  bindings: z
    .array(z.enum(['dpop', 'mtls', 'bearer']))
    .min(1)
    .default(['dpop', 'mtls'])
    .describe('Which kinds of token the route takes. bearer has no proof of the sender and is warned about.'),
  operations: file
    .optional()
    .describe('Operation catalogue. Absent: every operation is unknown, and the starter policy refuses.'),
  methods: z
    .array(z.string().regex(/^[A-Z]+$/, 'expected upper-case methods'))
    .min(1)
    .default(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
    .describe('Methods that may pass.'),
  dpop_nonce: nonceDemand
    .optional()
    .describe('Whether proofs for this route must carry a nonce. Absent: what dpop.nonce says.'),
  replay: z
    .enum(['memory', 'redis', 'node_nonce', 'window_only'])
    .optional()
    .describe(
      'How the single use of proofs is kept. memory, redis: the configured store. node_nonce: in the memory of the process that gave the nonce of the proof, complete without Redis. window_only: not at all, so that whoever sees a proof and its token can repeat the request within the window; warned about. Absent: the configured store.',
    ),
  body: z.enum(['none', 'json']).default('none').describe('Whether the policy sees the body.'),
  body_limit_bytes: bytes.max(16_777_216).default(65_536).describe('How much body is read for the policy.'),
  websocket: z.boolean().default(false).describe('Whether WebSocket upgrades may pass.'),
  streaming: z
    .boolean()
    .default(false)
    .describe(
      'Whether request bodies over HTTP/2 may last, as in gRPC streams: then each pause of the caller is bounded by upstream.timeout_ms, and not the whole body by limits.request_timeout_ms.',
    ),
  expiry_grace_seconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(60)
    .describe(
      'How long a request that is under way may go on after its access token has expired: a long upload or download, an event stream, a watch, a gRPC call. Then it is cut. With the default no ordinary answer is; longer only where callers cannot begin anew with another token. WebSocket connections end with the token.',
    ),
  request_headers: requestHeaders
    .prefault({})
    .describe(
      'Fields of callers that are not for this upstream, such as those that change for whom it acts; what the operation catalogue names counts too. A policy can still set them (set_header).',
    ),
  trailers: z
    .strictObject({
      request: trailerNames.describe(
        'Of the caller, after a body over HTTP/2 or a chunked one, in any spelling; an upstream that speaks HTTP/2 gets them after the body, in lower case. No other way leads them there.',
      ),
      response: trailerNames.describe(
        'Of the upstream; callers that sent TE: trailers get them. gRPC needs grpc-status, grpc-message and grpc-status-details-bin.',
      ),
    })
    .prefault({})
    .describe('Names of the fields after a body that may pass; all others end at the gateway.'),
  allow: z
    .array(z.enum(['encoded_slash', 'empty_segments', 'dot_segments_in_keys']))
    .default([])
    .describe('Deviations from the rule for targets.'),
});

const challenges = z.strictObject({
  authorization_details: z
    .strictObject({
      error: z
        .string()
        .regex(/^[a-z][a-z_]{0,63}$/, 'expected an error code such as insufficient_authorization')
        .default('insufficient_authorization_details')
        .describe(
          'Error code of the challenge. insufficient_authorization is that of draft-ietf-oauth-rar-metadata-remediation.',
        ),
      status: z
        .union([z.literal(401), z.literal(403)])
        .default(403)
        .describe('Status of the answer; 401 in draft-ietf-oauth-rar-metadata-remediation.'),
    })
    .prefault({})
    .describe('How a call is refused that the authorization_details of the token do not cover (RFC 9396).'),
});

const explain = z.strictObject({
  decisions: z
    .int()
    .min(0)
    .max(10_000)
    .default(1000)
    .describe(
      'Refusals, and as many allowed calls, that each process remembers, to explain them to the holder of the key and to the operator; about 1 KB each. 0: none.',
    ),
});

const doctor = z.strictObject({
  token_file: file
    .optional()
    .describe(
      'File of mode 0600 with a token of at least 32 characters, for sallyport doctor: whoever shows it is told how a request arrived at the gateway. Read again when it changes. Absent: nobody is.',
    ),
});

const limits = z.strictObject({
  header_bytes: z.int().min(1024).max(1_048_576).default(16_384).describe('Bytes of the header section.'),
  headers: z.int().min(1).max(2000).default(100).describe('Number of header fields.'),
  body_bytes: bytes.default(104_857_600).describe('Bytes of a request body.'),
  request_timeout_ms: milliseconds
    .default(60_000)
    .describe('How long a request, its body included, may take to arrive.'),
  headers_timeout_ms: milliseconds.default(10_000).describe('How long the header section may take to arrive.'),
  keep_alive_timeout_ms: milliseconds.default(60_000).describe('How long an idle connection is kept.'),
  connections: z.int().min(1).max(1_000_000).default(10_000).describe('Connections at the same time, per process.'),
  http2_streams: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe('Requests at the same time on one HTTP/2 connection.'),
  tokens: z
    .int()
    .min(1)
    .max(10_000_000)
    .default(5_000)
    .describe(
      'Verified tokens that are remembered, and as many keys of callers, per process: about 4 KB for both. Others are verified anew, which costs as much as everything else of a request.',
    ),
  rate_keys: z
    .int()
    .min(100)
    .max(10_000_000)
    .default(200_000)
    .describe(
      'Keys (jobs) that a rate class counts in the memory of a process, about 150 bytes each. When full, requests of new keys are refused with 503, none is forgotten within its window. In Redis: no bound of ours.',
    ),
  stop_grace_ms: milliseconds.default(30_000).describe('How long requests under way may take after SIGTERM.'),
});

const sink = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('stdout') }),
  z.strictObject({ type: z.literal('file'), path: file }),
  z.strictObject({
    type: z.literal('opa'),
    url: httpUrl
      .optional()
      .describe('Base URL of a control plane; records go to /logs below it. Either this or service.'),
    service: resourceName.optional().describe('One of services, where credentials or a CA are needed.'),
    partition: resourceName.optional().describe('Added to the path: /logs/PARTITION.'),
  }),
]);

const audit = z.strictObject({
  sinks: z
    .array(sink)
    .min(1)
    .default([{ type: 'stdout' }])
    .describe('Where the record of each request goes.'),
  on_failure: z
    .enum(['block', 'spool'])
    .default('block')
    .describe(
      'When a sink cannot be written: block refuses new requests, spool keeps records in memory and then in spool_file.',
    ),
  spool_file: file.optional().describe('Where records wait with on_failure: spool.'),
});

const log = z.strictObject({
  level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info'),
});

const rateClass = z.strictObject({
  requests: z.int().min(1).max(1_000_000).describe('Requests in one window.'),
  per_seconds: z.int().min(1).max(86_400).describe('Length of the window.'),
  burst: z
    .strictObject({
      requests: z.int().min(1).max(1_000_000).describe('Requests beyond the rate, in a window of their own.'),
      per_seconds: z.int().min(1).max(86_400).describe('Length of that window.'),
    })
    .optional()
    .describe('Absent: nothing beyond the rate.'),
  concurrent: z.int().min(1).max(100_000).optional().describe('Requests at the same time. Absent: any number.'),
  lease_seconds: z
    .int()
    .min(2)
    .max(600)
    .default(15)
    .describe(
      'With concurrent, in Redis: how long the places of a process that died stay taken. A living one renews them three times in that time.',
    ),
});

/** The whole configuration of `sallyport gateway`. */
export const gatewaySchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this format.'),
    listen: listen.prefault({}),
    public_origin: origin
      .optional()
      .describe(
        'The origin that callers sign in htu; never taken from a header. May be left out on loopback, then it is http://ADDRESS:PORT.',
      ),
    admin: admin.prefault({}),
    issuers: z.array(issuer).min(1).describe('Authorization servers whose tokens are taken.'),
    dpop: dpop.prefault({}),
    replay: replay.prefault({}),
    ended_jobs: endedJobs
      .optional()
      .describe('How tokens of jobs that have ended are refused before they expire. Absent: they are not.'),
    services: z
      .array(service)
      .max(100)
      .default([])
      .describe('Control planes that bundles come from, and that status reports and records go to.'),
    policy,
    routes: z.array(route).min(1).describe('What is served.'),
    challenges: challenges.prefault({}),
    explain: explain.prefault({}),
    doctor: doctor.prefault({}),
    rate_classes: z
      .record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, 'expected lower-case letters, digits, - and _'), rateClass)
      .default({})
      .describe(
        'What the obligation rate_class of a policy may name: how many requests of a job, or of another key, may pass. Counted in replay.redis where that is configured, else in the memory of one process.',
      ),
    limits: limits.prefault({}),
    audit: audit.prefault({}),
    processes: z
      .union([z.int().min(1).max(256), z.literal('auto')])
      .default(1)
      .describe(
        'Worker processes; auto: one per core. More than 1 needs replay.store: redis, or replay: node_nonce on the routes.',
      ),
    log: log.prefault({}),
  })
  .superRefine((config, context) => {
    const issue = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    const found = [
      ...findReachProblems(config),
      ...findReplayProblems(config),
      ...findServiceProblems(config.services),
      ...findSinkProblems(config.audit.sinks, config.services),
      ...findPolicyProblems(config.policy, config.services),
      ...findCertificateProblems(config),
      ...findEndedJobsProblems(config),
    ];
    for (const { path, message } of found) issue(path, message);
    if (config.policy.push && config.admin.api_token_file === undefined) {
      issue(['policy', 'push'], 'needs admin.api_token_file: nobody else may push policies');
    }
    if (Object.keys(config.rate_classes).length > 0 && config.processes !== 1 && config.replay.redis === undefined) {
      issue(
        ['rate_classes'],
        'several processes count together in Redis only: configure replay.redis, or processes: 1',
      );
    }
    for (const [path, nodes] of [
      [['replay', 'redis'], config.replay.redis],
      [['ended_jobs', 'redis'], config.ended_jobs?.redis],
    ] as const) {
      for (const problem of findRedisProblems(nodes)) issue([...path, ...problem.path], problem.message);
    }
    if (!isLoopback(config.listen.address) && config.listen.tls === undefined && !config.listen.allow_plaintext) {
      issue(
        ['listen', 'address'],
        'plain HTTP is allowed on loopback only: configure listen.tls, or set listen.allow_plaintext: true behind a TLS terminator',
      );
    }
    if (!isLoopback(config.listen.address) && config.public_origin === undefined) {
      issue(['public_origin'], 'set the origin that callers use and sign in htu, such as https://cloud.example.com');
    }
    config.issuers.forEach((entry, index) => {
      if (entry.jwks_uri !== undefined && entry.jwks_file !== undefined) {
        issue(['issuers', index, 'jwks_file'], 'give jwks_uri or jwks_file, not both');
      }
      if (config.issuers.findIndex((other) => other.issuer === entry.issuer) !== index) {
        issue(['issuers', index, 'issuer'], 'this issuer is listed twice');
      }
      const url = entry.jwks_uri ?? (entry.jwks_file === undefined ? entry.issuer : undefined);
      if (url?.startsWith('http://') && !isLoopback(new URL(url).hostname) && !entry.allow_insecure) {
        issue(
          ['issuers', index, entry.jwks_uri === undefined ? 'issuer' : 'jwks_uri'],
          'metadata and keys must come over https (RFC 8414 §3)',
        );
      }
      const endpoint = entry.introspection?.endpoint;
      if (endpoint?.startsWith('http://') && !isLoopback(new URL(endpoint).hostname)) {
        issue(['issuers', index, 'introspection', 'endpoint'], 'tokens are sent over https only (RFC 7662 §4)');
      }
    });
    const opaque = config.issuers
      .filter(({ introspection }) => introspection !== undefined && introspection.when !== 'jwt')
      .map((entry) => entry.issuer);
    config.routes.forEach((entry, index) => {
      if (config.routes.findIndex((other) => other.name === entry.name) !== index) {
        issue(['routes', index, 'name'], 'this name is used twice');
      }
      if (entry.upstream.protocol === 'http2' && entry.websocket) {
        issue(['routes', index, 'websocket'], 'WebSocket is forwarded by HTTP/1.1: set upstream.protocol: http1');
      }
      if (entry.upstream.protocol === 'http1' && entry.trailers.request.length > 0) {
        issue(['routes', index, 'trailers', 'request'], 'trailers of requests need upstream.protocol: http2');
      }
      const { refuse, strip } = entry.request_headers;
      const named = entry.trailers.request.find((name) => [...refuse, ...strip].some((one) => covers(one, name)));
      if (named !== undefined) {
        issue(['routes', index, 'trailers', 'request'], `${named} is refused or taken away by request_headers`);
      }
      const forbidden = entry.methods.find((method) => ['CONNECT', 'TRACE'].includes(method));
      if (forbidden !== undefined) issue(['routes', index, 'methods'], `${forbidden} is never forwarded`);
      const { opaque_issuer: opaqueIssuer } = entry;
      // A token sent to another issuer than its own would be in the wrong hands.
      if (opaqueIssuer === undefined && opaque.length > 1) {
        const which = `name one of ${opaque.join(', ')}`;
        issue(
          ['routes', index, 'opaque_issuer'],
          `several issuers take opaque tokens, which do not say whose they are: ${which}`,
        );
      }
      if (opaqueIssuer !== undefined && !opaque.includes(opaqueIssuer)) {
        issue(
          ['routes', index, 'opaque_issuer'],
          'expected an issuer of this file whose introspection.when is opaque or always',
        );
      }
    });
  });

/** A valid configuration, with defaults filled in. */
export type GatewayConfig = z.output<typeof gatewaySchema>;
/** One issuer of the configuration. */
export type IssuerConfig = GatewayConfig['issuers'][number];
/** How one issuer is asked about tokens. */
export type IntrospectionConfig = NonNullable<IssuerConfig['introspection']>;
/** How the status lists of one issuer are checked. */
export type StatusListConfig = NonNullable<IssuerConfig['status_list']>;
/** One route of the configuration. */
export type RouteConfig = GatewayConfig['routes'][number];
/** How many requests of one key may pass. */
export type RateClassConfig = GatewayConfig['rate_classes'][string];
/** Where the replay store is. */
export type ReplayConfig = GatewayConfig['replay'];
/** Where the keys of ended jobs come from. */
export type EndedJobsConfig = NonNullable<GatewayConfig['ended_jobs']>;
/** Addresses, TLS and credential of one upstream. */
export type UpstreamConfig = RouteConfig['upstream'];
/** Proxies in front of the gateway. */
export type FrontProxyConfig = GatewayConfig['listen']['front_proxies'][number];
/** Where records go. */
export type AuditConfig = GatewayConfig['audit'];

/** Whether an address or host name can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function isHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && !/[?#]/.test(text);
}

function isAbsoluteUri(text: string): boolean {
  return URL.canParse(text) && !text.includes('#');
}

/** The JSON Schema of the configuration file as people write it, for editors. */
export function editorSchema(): Record<string, unknown> {
  return z.toJSONSchema(gatewaySchema, { io: 'input', unrepresentable: 'any' });
}
