import { z } from 'zod';
import { file, httpUrl, identifier, isLoopback, origin, port } from './values.ts';

/**
 * The configuration of the agent, strict in the same way as the gateway's: where the job's token comes from, which APIs behind which gateway
 * the tools of the job may call, and how they reach the agent.
 */

const scope = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/, 'expected one scope: no space, no quote, no backslash');
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'expected the name of an environment variable');
const audience = z.string().min(1).max(2048).describe('Audience that the broker expects in the identity token.');

/** Where the CI system's own proof of the job's identity comes from. */
const identity = z.discriminatedUnion('source', [
  z.strictObject({
    source: z.literal('github').describe('Asked of GitHub Actions; the job needs the permission id-token: write.'),
    audience,
  }),
  z.strictObject({
    source: z.literal('gitlab').describe('In a variable that id_tokens of the job names.'),
    variable: variable.default('SALLYPORT_ID_TOKEN').describe('Name of the environment variable.'),
  }),
  z.strictObject({ source: z.literal('buildkite').describe('Asked of buildkite-agent.'), audience }),
  z.strictObject({
    source: z.literal('circleci').describe('In a variable that CircleCI sets.'),
    variable: variable.default('CIRCLE_OIDC_TOKEN_V2').describe('Name of the environment variable.'),
  }),
  z.strictObject({ source: z.literal('environment').describe('In any environment variable.'), variable }),
  z.strictObject({
    source: z.literal('file').describe('In a file that the platform keeps fresh, read again for each request.'),
    token_file: file.describe('Path of the file.'),
  }),
]);

const broker = z.strictObject({
  url: httpUrl.describe('Base URL of the broker.'),
  identity: identity.describe("The CI system's own token for this job, which the broker checks."),
  workflow: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .describe('Workflow at the broker; absent: the one that the identity token names.'),
  environment: z.string().min(1).max(1024).optional().describe('Deployment environment that is asked for.'),
});

const authorizationServer = z.strictObject({
  issuer: httpUrl.describe('Issuer identifier; its metadata is discovered (RFC 8414).'),
  client_id: z.string().regex(/^[\x21-\x7E]{1,256}$/, 'expected up to 256 visible characters without spaces'),
  private_key_file: file.describe('Private JWK that the client authenticates with (private_key_jwt, RFC 7523).'),
  job: z
    .record(z.string().min(1).max(64), z.union([z.string().min(1).max(1024), z.boolean()]))
    .optional()
    .describe('What the client states of the job in its assertion, such as ref and run_id.'),
});

const api = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,62}$/, 'expected lower-case letters, digits and _, a letter first')
    .describe('Name in environment variables and messages.'),
  url: httpUrl.describe('Base URL of the API as tools know it.'),
  gateway: origin
    .optional()
    .describe('Origin of the gateway that serves it, which proofs are made for; absent: the origin of url.'),
  resource: identifier.optional().describe('What the token is for (RFC 8707); absent: url.'),
  scopes: z.array(scope).max(500).default([]).describe('Scopes that are asked for.'),
  authorization_details: z
    .array(z.looseObject({ type: z.string().min(1).max(256) }))
    .max(500)
    .default([])
    .describe('What is asked for (RFC 9396); the least that the job needs.'),
  listen: z
    .enum(['port', 'socket', 'none'])
    .default('port')
    .describe('How tools reach it without a proxy: a port of loopback, a Unix socket, or not at all.'),
  port: port.default(0).describe('Port of loopback; 0: any free one.'),
  variables: z
    .array(variable)
    .max(20)
    .default([])
    .describe('Environment variables that get the local base URL, such as AWS_ENDPOINT_URL.'),
  kubeconfig: z
    .boolean()
    .default(false)
    .describe('Write a kubeconfig whose server is the local base URL, and export KUBECONFIG.'),
});

const proxy = z.strictObject({
  port: port.default(0).describe('Port of loopback; 0: any free one.'),
  others: z
    .enum(['refuse', 'tunnel'])
    .default('refuse')
    .describe('What becomes of requests to other origins: refused, or passed through untouched and without a token.'),
});

/** The whole configuration of `sallyport agent`. */
export const agentSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this format.'),
    key: z.enum(['ES256', 'EdDSA']).default('ES256').describe("The job's key: P-256 or Ed25519."),
    broker: broker.optional().describe("The CI engine's broker, which gets the token for the job."),
    authorization_server: authorizationServer
      .optional()
      .describe('Instead of a broker: the authorization server itself, by client credentials.'),
    apis: z.array(api).min(1).max(100).describe('What the tools of the job may call through the agent.'),
    proxy: proxy
      .optional()
      .describe('Forward mode: HTTPS_PROXY and a CA of this job alone, for tools whose base URL cannot be changed.'),
    placeholders: z
      .array(z.enum(['aws', 'google']))
      .default([])
      .describe('Cloud credentials without worth that are exported, because tools insist on having some.'),
    keep_identity: z
      .boolean()
      .default(false)
      .describe(
        'Leave the variables that the identity token comes from in the environment of the command. buildkite-agent works in the command only then.',
      ),
    ca_file: file
      .optional()
      .describe('PEM certificates of CAs that are trusted besides those of the system and of Node.js.'),
    allow_plaintext: z
      .boolean()
      .default(false)
      .describe('Allow http URLs beyond loopback: inside a closed network such as a test composition.'),
    token_timeout_ms: z
      .int()
      .min(100)
      .max(300_000)
      .default(30_000)
      .describe('How long getting a token may take, waiting in the queue of the broker included.'),
    connect_timeout_ms: z
      .int()
      .min(100)
      .max(120_000)
      .default(10_000)
      .describe('How long connecting to the gateway may take.'),
    idle_timeout_ms: z
      .int()
      .min(1000)
      .max(3_600_000)
      .default(300_000)
      .describe('How long an exchange may be without a byte in either direction.'),
    lifetime_seconds: z
      .int()
      .min(60)
      .max(604_800)
      .default(21_600)
      .describe('After this time the agent ends the job by itself.'),
  })
  .superRefine((config, context) => {
    const issue = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    if ((config.broker === undefined) === (config.authorization_server === undefined)) {
      issue(['broker'], 'expected exactly one of broker and authorization_server');
    }
    const plain = (url: string | undefined) =>
      url?.startsWith('http:') === true &&
      !config.allow_plaintext &&
      !isLoopback(URL.parse(url)?.hostname ?? 'localhost');
    const secure = (path: (string | number)[], url: string | undefined) => {
      if (plain(url))
        issue(path, 'tokens are sent over https only; http is for loopback, or with allow_plaintext: true');
    };
    secure(['broker', 'url'], config.broker?.url);
    secure(['authorization_server', 'issuer'], config.authorization_server?.issuer);
    config.apis.forEach((entry, index) => {
      const at = (key: string) => ['apis', index, key];
      // With a gateway of its own the URL is only a name.
      if (entry.gateway === undefined) secure(at('url'), entry.url);
      else secure(at('gateway'), entry.gateway);
      const first = (matches: (other: (typeof config.apis)[number]) => boolean) =>
        config.apis.findIndex(matches) !== index;
      if (first(({ name }) => name === entry.name)) issue(at('name'), 'this name is used twice');
      if (first(({ url }) => sameUrl(url, entry.url)))
        issue(at('url'), 'this URL is listed twice: which token would do?');
      if (entry.listen === 'none' && config.proxy === undefined)
        issue(at('listen'), 'without proxy nothing reaches this API');
      if (entry.scopes.length === 0 && entry.authorization_details.length === 0) {
        issue(at('scopes'), 'ask for something: scopes, authorization_details or both');
      }
      if (entry.listen === 'port' && portsBefore(config, index).includes(entry.port)) issue(at('port'), PORT_TWICE);
      if (entry.kubeconfig && entry.listen !== 'port') issue(at('kubeconfig'), 'expected listen: port beside it');
    });
    if (config.proxy !== undefined && portsBefore(config).includes(config.proxy.port))
      issue(['proxy', 'port'], PORT_TWICE);
  });

/** A valid configuration, with defaults filled in. */
export type AgentConfig = z.output<typeof agentSchema>;
/** One API of the configuration. */
export type AgentApiConfig = AgentConfig['apis'][number];
/** Where the identity token comes from. */
export type IdentityConfig = z.output<typeof identity>;
/** The broker of the configuration. */
export type BrokerConfig = z.output<typeof broker>;
/** The authorization server of the configuration. */
export type AuthorizationServerConfig = z.output<typeof authorizationServer>;

/** The JSON Schema of the configuration file as people write it, for editors. */
export function agentEditorSchema(): Record<string, unknown> {
  return z.toJSONSchema(agentSchema, { io: 'input', unrepresentable: 'any' });
}

const PORT_TWICE = 'this port is used twice; 0 takes any free one';

/** The ports that were chosen for the APIs before one of them, or for all. */
function portsBefore({ apis }: { readonly apis: readonly z.output<typeof api>[] }, index?: number): number[] {
  return apis
    .slice(0, index)
    .flatMap(({ listen, port: chosen }) => (listen === 'port' && chosen !== 0 ? [chosen] : []));
}

function sameUrl(left: string, right: string): boolean {
  const plainUrl = (text: string) => URL.parse(text)?.href.replace(/\/$/, '');
  return plainUrl(left) === plainUrl(right);
}
