import { z } from 'zod';
import { findRedisProblems } from './redis_rules.ts';
import { redis } from './stores_schema.ts';
import { file, httpUrl, identifier, isLoopback, port } from './values.ts';
import { workloadIssuers } from './workload_issuers.ts';

/** The broker's configuration file, strict in the same way as the gateway's. */

const seconds = (least: number, most: number) => z.int().min(least).max(most);

const tls = z.strictObject({
  certificate_file: file.describe('PEM certificate chain; read again when it changes.'),
  key_file: file.describe('PEM private key of the certificate.'),
});

const listen = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: port.default(9200).describe('Port to listen on; 0: any free port.'),
  tls: tls.optional().describe('Absent: plain HTTP, on loopback only unless allow_plaintext is true.'),
  allow_plaintext: z.boolean().default(false).describe('Allow plain HTTP off loopback, behind a TLS terminator.'),
});

const admin = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address of the admin port.'),
  port: port.default(9202).describe('Port of /livez, /readyz and /metrics; 0: any free port.'),
  api_token_file: file
    .optional()
    .describe(
      'File of mode 0600 with a bearer token of at least 32 characters, with which the engine lists and ends jobs; read again when it changes. Absent: it cannot.',
    ),
  tls: tls.optional().describe('Absent: plain HTTP.'),
});

const authorizationServer = z.strictObject({
  issuer: identifier.describe('Issuer identifier; its metadata is discovered (RFC 8414).'),
  allow_insecure: z.boolean().default(false).describe('Allow http where it is not on loopback.'),
  registration: z
    .strictObject({
      initial_access_token_file: file
        .optional()
        .describe(
          'File of mode 0600 with the token that registers clients (RFC 7591 §3); read for each. Absent: none is sent.',
        ),
      software_statement_file: file
        .optional()
        .describe('File with a software statement (RFC 7591 §2.3) that goes with each.'),
    })
    .optional()
    .describe('How clients are registered. Absent: every workflow names its client.'),
  timeout_ms: z.int().min(100).max(60_000).default(10_000).describe('How long one answer may take.'),
  connections: z.int().min(1).max(1000).default(32).describe('Token requests at the same time; more wait.'),
});

const gateway = z.strictObject({
  url: httpUrl.describe('Origin of the admin port of a gateway.'),
  api_token_file: file.describe('File of mode 0600 with the API token of that admin port.'),
});

const endedJobs = z.strictObject({
  redis: redis
    .optional()
    .describe('The Redis from which the gateways read ended jobs (ended_jobs.store: redis there).'),
  gateways: z
    .array(gateway)
    .min(1)
    .max(100)
    .optional()
    .describe('Gateways that are told of ended jobs one by one (ended_jobs.store: memory there).'),
  limit: z.int().min(100).max(5_000_000).default(200_000).describe('Keys in Redis at most, as in the gateways.'),
});

const jobs = z.strictObject({
  lifetime_seconds: seconds(60, 604_800)
    .default(21_600)
    .describe('How long after its first token a job ends by itself, where its workflow says nothing else.'),
  limit: z
    .int()
    .min(10)
    .max(1_000_000)
    .default(20_000)
    .describe('Jobs that are remembered at most; then new ones get 503. Those that have ended are for an hour.'),
  limit_per_run: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(2000)
    .describe('Of them those of one run, as its identity tokens name it; then 429. Each key of an agent is a job.'),
  limit_per_workflow: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('Of them those of one workflow; then 429. Absent: half of limit, so that no workflow takes all.'),
});

const keys = z.strictObject({
  rotate_after_seconds: seconds(60, 31_536_000)
    .default(2_592_000)
    .describe('How old the key of a registered client becomes before another takes its place.'),
  overlap_seconds: seconds(1, 86_400).default(600).describe('How long the key before stays registered.'),
});

const limits = z.strictObject({
  queue: z
    .int()
    .min(0)
    .max(100_000)
    .default(2000)
    .describe('Token requests that wait at most; then 503 with Retry-After.'),
  queue_timeout_ms: z
    .int()
    .min(100)
    .max(30_000)
    .default(10_000)
    .describe('How long one may wait; then 503 with Retry-After. Proofs are good for about a minute.'),
  requests_per_job: z.int().min(1).max(1000).default(8).describe('Token requests of one job at the same time.'),
  connections: z.int().min(1).max(100_000).default(4096).describe('Connections of jobs at the same time.'),
  stop_grace_ms: z
    .int()
    .min(1)
    .max(600_000)
    .default(15_000)
    .describe('How long requests under way may take after SIGTERM.'),
});

const log = z.strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') });

/** The whole configuration of `sallyport broker`. */
export const brokerSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this format.'),
    listen: listen.prefault({}),
    public_origin: z
      .string()
      .refine((value) => URL.canParse(value) && new URL(value).origin === value && /^https?:/.test(value), {
        error: 'expected an origin such as https://broker.example.com: no path, no trailing slash',
      })
      .optional()
      .describe(
        'The origin that jobs use, and sign when they end; never taken from a header. May be left out on loopback.',
      ),
    admin: admin.prefault({}),
    authorization_server: authorizationServer,
    workload_issuers: workloadIssuers.refine((entries) => entries.length > 0, {
      error:
        'expected at least one issuer of identity tokens, such as { preset: github, audience: https://broker.example.com }',
    }),
    workflows_file: file.describe(
      'The workflows; read again when it changes. A file that cannot be used is refused, and the one before stays.',
    ),
    state_folder: z
      .string()
      .min(1)
      .max(4096)
      .describe(
        'Folder of mode 0700, made at first start: registered clients with their keys, and live jobs. No tokens.',
      ),
    ended_jobs: endedJobs
      .optional()
      .describe(
        'Where it is said which jobs have ended. Absent: nowhere, so that their tokens are good until they expire; warned about.',
      ),
    jobs: jobs.prefault({}),
    keys: keys.prefault({}),
    limits: limits.prefault({}),
    records_file: file
      .optional()
      .describe(
        'What was issued to whom, a JSON line each, without tokens; opened again at SIGHUP. Absent: standard output.',
      ),
    log: log.prefault({}),
  })
  .superRefine((config, context) => {
    const issue = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    const { listen: at, public_origin: origin, authorization_server: server, ended_jobs: ended } = config;
    if (!isLoopback(at.address) && at.tls === undefined && !at.allow_plaintext) {
      issue(
        ['listen', 'address'],
        'plain HTTP is allowed on loopback only, since identity tokens are bearer tokens: configure listen.tls, or set listen.allow_plaintext: true behind a TLS terminator',
      );
    }
    if (!isLoopback(at.address) && origin === undefined) {
      issue(['public_origin'], 'set the origin that jobs use, such as https://broker.example.com');
    }
    const plain = server.issuer.startsWith('http:') && !isLoopback(new URL(server.issuer).hostname);
    if (plain && !server.allow_insecure) {
      issue(['authorization_server', 'issuer'], 'an issuer that is not on loopback must use https (RFC 8414 §2)');
    }
    if (ended !== undefined && ended.redis === undefined && ended.gateways === undefined) {
      issue(['ended_jobs'], 'say where: redis, gateways or both');
    }
    for (const problem of findRedisProblems(ended?.redis))
      issue(['ended_jobs', 'redis', ...problem.path], problem.message);
    ended?.gateways?.forEach(({ url }, index) => {
      if (!url.startsWith('http:') || isLoopback(new URL(url).hostname)) return;
      issue(
        ['ended_jobs', 'gateways', index, 'url'],
        'the API token must not travel in the clear: give the gateway admin.tls and use https',
      );
    });
  });

/** A valid configuration, with defaults filled in. */
export type BrokerConfig = z.output<typeof brokerSchema>;
/** Where it is said which jobs have ended. */
export type BrokerEndedJobsConfig = NonNullable<BrokerConfig['ended_jobs']>;

/** The JSON Schema of the configuration file as people write it, for editors. */
export function brokerEditorSchema(): Record<string, unknown> {
  return z.toJSONSchema(brokerSchema, { io: 'input', unrepresentable: 'any' });
}
