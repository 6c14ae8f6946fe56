import { existsSync } from 'node:fs';
import { loadCatalogue } from '../config/catalogue.ts';
import { NamedFiles } from '../config/named_files.ts';
import type { GatewayConfig, RouteConfig } from '../config/schema.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';
import { authorityOf } from '../net/listen.ts';
import { readServerTls, type ServerTlsFiles } from '../net/tls.ts';
import { problemOfKeysFile } from '../oauth/key_loader.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { readNonceSecrets } from '../proof/nonce_secrets.ts';
import { createLog } from '../telemetry/log.ts';
import { startPolicy } from './policy_source.ts';
import { buildRoutes } from './routes.ts';
import { candidateOf } from './shadow_source.ts';

/** What a configuration would serve. */
export interface GatewayDescription {
  readonly origin: string;
  readonly listen: string;
  /** Where client certificates come from; null where none do. */
  readonly certificates: string | null;
  readonly issuers: readonly string[];
  readonly replay: string;
  readonly policy: PolicyDescription;
  /** The candidate policy, and the share of requests that it judges; null where none is configured. */
  readonly shadow: (PolicyDescription & { readonly sample: number }) | null;
  readonly routes: readonly RouteDescription[];
}

/** Which policy would judge. */
export interface PolicyDescription {
  /** The folder or file, or the names of the bundles. */
  readonly from: string;
  readonly entrypoint: string;
  readonly revision: string;
}

/** What one route would serve. */
export interface RouteDescription {
  readonly name: string;
  readonly prefix: string;
  readonly hosts: readonly string[];
  readonly upstream: string;
  readonly audience: string;
  readonly bindings: readonly string[];
  readonly methods: readonly string[];
  readonly nonce: 'off' | 'required';
  readonly replay: string;
  readonly operations: number;
}

/**
 * Reads whatever the configuration names and compiles the policy, as a start would, without listening or writing. `file`: where it is from.
 * @throws ConfigError or Error that says what stands in the way
 */
export async function describeGateway(config: GatewayConfig, file = 'the configuration'): Promise<GatewayDescription> {
  await readNamed(config, file);
  const origin = originOf(config, config.listen.port);
  const policy = await describePolicy(config);
  const { shadow } = config.policy;
  return {
    origin,
    listen: authorityOf(config.listen.address, config.listen.port),
    certificates: certificatesOf(config.listen),
    issuers: config.issuers.map(({ issuer }) => issuer),
    replay: config.replay.store,
    policy,
    shadow:
      shadow === undefined
        ? null
        : { ...(await describePolicy({ ...config, policy: candidateOf(config.policy) })), sample: shadow.sample },
    routes: buildRoutes(config, origin).map((route, index) => {
      const { upstream, operations } = config.routes[index] as RouteConfig;
      return {
        name: route.name,
        prefix: route.pathPrefix,
        hosts: route.hosts,
        upstream: upstream.url,
        audience: route.resource,
        bindings: route.bindings,
        methods: route.methods,
        nonce: route.nonceRequired ? 'required' : 'off',
        replay: route.replay,
        operations: operations === undefined ? 0 : loadCatalogue(operations).operations.length,
      };
    }),
  };
}

/** Gets the policy once, as a start would; of what it fetched, nothing is kept. */
async function describePolicy(config: GatewayConfig): Promise<PolicyDescription> {
  const { entrypoint, path, bundles } = config.policy;
  const once = { ...config, policy: { ...config.policy, watch: false, status: undefined } };
  const source = await startPolicy(once, { clock: Date.now, log: createLog({ level: 'fatal' }), keep: false });
  const { revision } = source.holder.status();
  await source.close();
  const named = bundles?.map(({ name }) => name).join(', ') ?? 'that discovery names';
  return { from: path ?? `bundles ${named}`, entrypoint, revision };
}

/** The description as people read it, line by line. */
export function printDescription(description: GatewayDescription): string[] {
  const { policy, shadow } = description;
  return [
    `origin    ${description.origin} (listens on ${description.listen})`,
    ...(description.certificates === null ? [] : [`callers   client certificates: ${description.certificates}`]),
    `issuers   ${description.issuers.join(', ')}`,
    `replay    ${description.replay}`,
    `policy    ${policy.from}, entrypoint ${policy.entrypoint}, revision ${policy.revision}`,
    ...(shadow === null
      ? []
      : [
          `shadow    ${shadow.from}, entrypoint ${shadow.entrypoint}, revision ${shadow.revision}, of ${shadow.sample * 100} %`,
        ]),
    ...description.routes.flatMap((route) => [
      '',
      `route     ${route.name}: ${route.hosts.join(', ')} ${route.prefix} → ${route.upstream}`,
      `          audience   ${route.audience}`,
      `          bindings   ${route.bindings.join(', ')}${route.bindings.includes('bearer') ? '  (warning: a bearer token can be used by whoever holds it)' : ''}`,
      `          methods    ${route.methods.join(', ')}`,
      `          proofs     nonce ${route.nonce}, single use: ${route.replay}${route.replay === 'window_only' ? '  (warning: whoever sees a request can repeat it)' : ''}`,
      `          operations ${route.operations === 0 ? 'none: every operation is unknown to the policy' : route.operations}`,
    ]),
  ];
}

function certificatesOf({ tls, front_proxies: proxies }: GatewayConfig['listen']): string | null {
  const own = tls === undefined || tls.client_certificates === 'none' ? [] : [`${tls.client_certificates} in TLS`];
  const passedOn = proxies
    .filter(({ client_certificate: form }) => form !== 'none')
    .map(({ client_certificate: form, addresses = [], certificate_names: names = [] }) => {
      return `${form} from ${[...addresses, ...names].join(', ')}`;
    });
  return [...own, ...passedOn].join('; ') || null;
}

/** The origin that callers use: configured, or where the gateway listens. */
export function originOf(config: GatewayConfig, port: number): string {
  if (config.public_origin !== undefined) return config.public_origin.replace(/\/$/, '');
  return new URL(`${config.listen.tls === undefined ? 'http' : 'https'}://${authorityOf(config.listen.address, port)}`)
    .origin;
}

/** Files that the configuration names: a missing one is told with its key, also where it would be read only when it is needed. */
function filesOf(config: GatewayConfig): [string, string | undefined][] {
  return [
    ...config.issuers.flatMap(({ jwks_file, introspection }, index): [string, string | undefined][] => [
      [`issuers[${index}].jwks_file`, jwks_file],
      [`issuers[${index}].introspection.private_key_file`, introspection?.private_key_file],
    ]),
    ['policy.path', config.policy.path],
    ...config.policy.data.map((file, index): [string, string] => [`policy.data[${index}]`, file]),
    ['policy.shadow.path', config.policy.shadow?.path],
    ...(config.policy.shadow?.data ?? []).map((file, index): [string, string] => [
      `policy.shadow.data[${index}]`,
      file,
    ]),
    ...config.routes.flatMap(({ upstream, operations }, index): [string, string | undefined][] => [
      [`routes[${index}].operations`, operations],
      [`routes[${index}].upstream.ca_file`, upstream.ca_file],
      [`routes[${index}].upstream.credential.value_file`, upstream.credential?.value_file],
    ]),
    ['doctor.token_file', config.doctor.token_file],
    ['replay.redis.password_file', config.replay.redis?.password_file],
  ];
}

/** Everything but the policy and the catalogues. @throws ConfigError with all that cannot be used */
async function readNamed(config: GatewayConfig, file: string): Promise<void> {
  const found = new NamedFiles(file);
  const { listen, admin } = config;
  for (const [key, path] of filesOf(config)) found.mustExist(key, path);
  if (listen.tls !== undefined) found.read('listen.tls', () => readServerTls(listen.tls as ServerTlsFiles));
  const tls = admin.tls;
  if (tls !== undefined) found.read('admin.tls', () => readServerTls({ ...tls, client_certificates: 'none' }));
  const { api_token_file: token } = admin;
  if (token !== undefined) found.read('admin.api_token_file', () => readBearerToken(token));
  const nonces = config.dpop.nonce_secret_files ?? [];
  found.read('dpop.nonce_secret_files', () => readNonceSecrets(nonces));
  for (const [index, { introspection, jwks_file: keys }] of config.issuers.entries()) {
    const problem = keys !== undefined && existsSync(keys) ? await problemOfKeysFile(keys) : null;
    if (problem !== null) found.problem(`issuers[${index}].jwks_file`, `${keys}: ${problem}`);
    const key = introspection?.private_key_file;
    if (key !== undefined && existsSync(key))
      found.read(`issuers[${index}].introspection.private_key_file`, () => new SigningKeyFile(key));
  }
  found.finish();
}
