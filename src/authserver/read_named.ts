import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import { NamedFiles } from '../config/named_files.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';
import { readServerTls } from '../net/tls.ts';
import { problemOfKeysFile } from '../oauth/key_loader.ts';
import { connectionOptions } from '../redis/redis_options.ts';
import { keysOf } from './clients.ts';
import type { DescribedAuthServer } from './describe.ts';
import { checkCeiling, type DetailType, loadDetailTypes } from './detail_types.ts';
import { readSigningKeys } from './signing_keys.ts';
import { databaseOf } from './store.ts';

/** What was read of everything that a configuration of the authorization server names. */
export interface ReadNamed {
  /** Signing keys that are there already. */
  readonly keys: number;
  /** Revision of the issuance policy; empty where there is none. */
  readonly revision: string;
}

/** Reads all of it, and tells all that cannot be used. @throws ConfigError */
export async function readNamed({ config, file, compilePolicy }: DescribedAuthServer): Promise<ReadNamed> {
  const found = new NamedFiles(file);
  const { listen, admin, signing_keys_file: keysFile, issuance_policy: policy } = config;
  if (listen.tls !== undefined) found.read('listen.tls', () => readServerTls(listen.tls as Tls));
  if (admin?.tls !== undefined) {
    const tls = { ...admin.tls, client_certificates: 'none' as const };
    found.read('admin.tls', () => readServerTls(tls));
  }
  if (admin !== undefined && admin.port !== 0 && admin.port === listen.port && admin.address === listen.address) {
    found.problem('admin.port', 'is the port of listen, too; give each its own');
  }
  found.mustBeFolder('signing_keys_file', dirname(keysFile));
  const keys = await found.readLater('signing_keys_file', () => readSigningKeys(keysFile));
  await readStorage(found, config);
  readTypesAndCeilings(found, config);
  readClientKeys(found, config);
  await readIssuers(found, config);
  let revision = '';
  if (policy !== undefined) {
    const there = found.mustExist('issuance_policy.path', policy.path);
    for (const [index, path] of policy.data.entries()) found.mustBeFile(`issuance_policy.data[${index}]`, path);
    if (there) revision = (await found.readLater('issuance_policy.path', compilePolicy)) ?? '';
  }
  found.finish();
  return { keys: keys?.keys.length ?? 0, revision };
}

type Tls = NonNullable<AuthServerConfig['listen']['tls']>;

async function readStorage(found: NamedFiles, config: AuthServerConfig): Promise<void> {
  const { redis } = config.storage;
  if (redis !== undefined) {
    const { password_file, tls } = redis;
    const named = {
      password_file,
      ...Object.fromEntries(Object.entries(tls ?? {}).map(([key, path]) => [`tls.${key}`, path])),
    };
    for (const [key, path] of Object.entries(named))
      if (key.endsWith('_file')) found.mustBeFile(`storage.redis.${key}`, path);
    found.read('storage.redis', () => void connectionOptions(redis));
    return;
  }
  const database = databaseOf(config);
  // Elsewhere it lies beside the signing keys.
  if (config.storage.database_file !== undefined) found.mustBeFolder('storage.database_file', dirname(database));
  if (!existsSync(database)) return; // Made at the first start.
  const { SqliteStore } = await import('./store_sqlite.ts');
  found.read('storage.database_file', () => SqliteStore.inspect(database));
}

/** Each type by itself, so that one that cannot be read does not hide the others; ceilings once all types are known. */
function readTypesAndCeilings(found: NamedFiles, config: AuthServerConfig): void {
  const { authorization_details_types: configured, clients, registration } = config;
  const types = new Map<string, DetailType>();
  for (const [index, entry] of configured.entries()) {
    const key = `authorization_details_types[${index}].${entry.schema_file === undefined ? 'type' : 'schema_file'}`;
    const read = found.read(key, () => loadDetailTypes([entry]));
    for (const [name, type] of read ?? []) types.set(name, type);
  }
  if (types.size < configured.length) return;
  const holders = {
    clients,
    'registration.initial_access_tokens': registration?.initial_access_tokens ?? [],
    'registration.workloads': registration?.workloads ?? [],
  };
  for (const [list, entries] of Object.entries(holders)) {
    for (const [index, { authorization_details: details }] of entries.entries()) {
      const key = `${list}[${index}].authorization_details`;
      found.read(key, () => checkCeiling(types, details, key));
    }
  }
}

function readClientKeys(
  found: NamedFiles,
  { clients, resource_servers: servers, registration }: AuthServerConfig,
): void {
  for (const [index, client] of clients.entries()) {
    const key = client.certificate_file === undefined ? 'jwks_file' : 'certificate_file';
    found.read(`clients[${index}].${key}`, () => keysOf(client));
  }
  for (const [index, server] of servers.entries()) {
    found.read(`resource_servers[${index}].jwks_file`, () => keysOf(server));
  }
  for (const [index, { token_file: file }] of (registration?.initial_access_tokens ?? []).entries()) {
    found.read(`registration.initial_access_tokens[${index}].token_file`, () => readBearerToken(file));
  }
}

/** Keys in files; those of a network are not asked for. */
async function readIssuers(
  found: NamedFiles,
  { workload_issuers: issuers, registration }: AuthServerConfig,
): Promise<void> {
  const lists = {
    workload_issuers: issuers,
    'registration.software_statements.issuers': registration?.software_statements?.issuers ?? [],
  };
  for (const [list, entries] of Object.entries(lists)) {
    for (const [index, { jwks_file: file }] of entries.entries()) {
      const key = `${list}[${index}].jwks_file`;
      const problem = found.mustExist(key, file) ? await problemOfKeysFile(file) : null;
      if (problem !== null) found.problem(key, `${file}: ${problem}`);
    }
  }
}
