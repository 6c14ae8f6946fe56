import { z } from 'zod';
import { findCertificateProblems } from './certificate_rules.ts';
import { dpop } from './dpop_schema.ts';
import { findIssuerProblems } from './issuer_rules.ts';
import { issuer } from './issuer_schema.ts';
import { admin, listen } from './listen_schema.ts';
import { findPolicyProblems } from './policy_rules.ts';
import { policy } from './policy_schema.ts';
import { findReachProblems } from './reach_rules.ts';
import { findEndedJobsProblems, findRedisProblems } from './redis_rules.ts';
import { findReplayProblems } from './replay_rules.ts';
import { findRouteProblems } from './route_rules.ts';
import { route } from './route_schema.ts';
import { findServiceProblems, resourceName, service } from './service_schema.ts';
import { findSinkProblems } from './sink_rules.ts';
import { endedJobs, replay } from './stores_schema.ts';
import { bytes, file, httpUrl, isLoopback, milliseconds, origin } from './values.ts';

/**
 * The gateway's configuration file, strict: an unknown key is an error. The one description of it; types, defaults, the editors' JSON Schema
 * and docs/reference/configuration.md come from here. Durations carry their unit in the key, sizes end in `_bytes`.
 */

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
  refusals_per_second: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(300)
    .describe(
      'Refusals that go out in a second, per process, while others are let through: what a flood of bad requests or upgrades takes from those at most. More wait, a second at most; where nobody is let through none waits.',
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
    const issue = (path: readonly (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path: [...path], message });
    const found = [
      ...findReachProblems(config),
      ...findReplayProblems(config),
      ...findServiceProblems(config.services),
      ...findSinkProblems(config.audit.sinks, config.services),
      ...findPolicyProblems(config.policy, config.services),
      ...findCertificateProblems(config),
      ...findEndedJobsProblems(config),
      ...findIssuerProblems(config.issuers),
      ...findRouteProblems(config.routes, config.issuers),
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

/** The JSON Schema of the configuration file as people write it, for editors. */
export function editorSchema(): Record<string, unknown> {
  return z.toJSONSchema(gatewaySchema, { io: 'input', unrepresentable: 'any' });
}
