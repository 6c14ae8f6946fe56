import { statSync } from 'node:fs';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import { isLoopback } from '../config/values.ts';
import { databaseOf } from './store.ts';

/** What a configuration of the authorization server allows and whoever runs it should know. */
export function authServerWarnings(config: AuthServerConfig): string[] {
  return [
    ...ofTheServer(config),
    ...config.workload_issuers
      .filter((one) => one.allow_insecure)
      .map(
        ({ issuer }) =>
          `the keys of ${issuer} may come over http (allow_insecure): whoever changes them on the way is any job`,
      ),
    ...renamable(config).map(
      (where) => `${where} goes by the name of a repository, which may change hands: add repository_id`,
    ),
    ...withoutRights(config).map(
      (where) => `${where} may have neither scopes nor authorization_details: its clients get no token`,
    ),
    ...unreachable(config),
  ];
}

function ofTheServer({
  listen,
  signing_keys_file: keys,
  signing_keys: rotation,
  ...config
}: AuthServerConfig): string[] {
  const warnings: string[] = [];
  if (listen.tls === undefined && !isLoopback(listen.address)) {
    warnings.push('listen.allow_plaintext: tokens cross the network unencrypted unless something in front ends TLS');
  }
  if (config.issuer?.startsWith('http:') === true && !isLoopback(new URL(config.issuer).hostname)) {
    warnings.push('issuer uses http: whoever is on the way can answer in its place (RFC 8414 §2 wants https)');
  }
  if (rotation.rotate_after_seconds === 0) {
    warnings.push('signing_keys.rotate_after_seconds is 0: the signing key is never renewed');
  }
  const own = { storage: config.storage, signing_keys_file: keys };
  for (const [key, file] of [
    ['signing_keys_file', keys],
    ['storage.database_file', databaseOf(own)],
  ] as const) {
    if (key === 'storage.database_file' && config.storage.redis !== undefined) continue;
    const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
    if ((mode & 0o077) !== 0) warnings.push(`${key}: others may read ${file}; chmod 600 ${file}`);
  }
  return warnings;
}

/** Where a repository is known by its name alone. */
function renamable({ clients, registration, workload_issuers: issuers }: AuthServerConfig): string[] {
  const known = (names: readonly string[]) =>
    names.some((name) => /^(repository|project|pipeline)(_owner)?_id$/.test(name));
  const byName = (entry: { issuer: string; claims: object; job: object }, more: readonly string[] = []) => {
    const conditions = issuers.find((one) => one.issuer === entry.issuer)?.conditions ?? {};
    const names = [entry.claims, entry.job, conditions].flatMap((one) => Object.keys(one)).concat(more);
    return names.some((name) => name === 'repository' || name === 'project_path') && !known(names);
  };
  return [
    ...clients.filter(({ workloads }) => workloads.some((one) => byName(one))).map((one) => `client ${one.client_id}`),
    ...(registration?.workloads ?? [])
      .filter((one) => byName(one, one.identity_claims))
      .map(({ name }) => `registration of workloads ${name}`),
  ];
}

function withoutRights({ clients, registration }: AuthServerConfig): string[] {
  const { initial_access_tokens: tokens = [], workloads = [] } = registration ?? {};
  const all = [
    ...clients.map((one) => ({ where: `client ${one.client_id}`, ...one })),
    ...[...tokens, ...workloads].map((one) => ({ where: `registration ${one.name}`, ...one })),
  ];
  return all
    .filter(({ scopes, authorization_details: details }) => scopes.length + details.length === 0)
    .map(({ where }) => where);
}

/** Resource servers whose tokens nobody can get: most likely a misspelt identifier. */
function unreachable({ clients, registration, resource_servers: servers }: AuthServerConfig): string[] {
  const holders = [...clients, ...(registration?.initial_access_tokens ?? []), ...(registration?.workloads ?? [])];
  const reachable = new Set(holders.flatMap(({ resources }) => resources));
  return servers.flatMap(({ client_id: id, resources }) =>
    resources
      .filter((resource) => !reachable.has(resource))
      .map((resource) => `resource server ${id}: no client may have tokens for ${resource}`),
  );
}
