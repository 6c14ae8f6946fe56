import { dirname, resolve } from 'node:path';
import { type GatewayConfig, gatewaySchema } from './schema.ts';
import { readYamlFile } from './yaml_file.ts';

/**
 * Reads and validates the gateway's configuration file: strict, whole, with environment variables put in and relative paths made absolute.
 * @throws ConfigError which names every problem with file, line and key
 */
export function loadGatewayConfig(
  file: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): GatewayConfig {
  return resolvePaths(readYamlFile(file, gatewaySchema, { environment }), dirname(resolve(file)));
}

/** Makes a configuration from a value, such as one built by a program; paths are relative to `directory`. @throws ZodError */
export function parseGatewayConfig(value: unknown, directory: string = process.cwd()): GatewayConfig {
  return resolvePaths(gatewaySchema.parse(value), directory);
}

/** Keys without the suffix `_file` whose value is a path all the same. */
const PATHS = new Set([
  'policy.path',
  'policy.data',
  'policy.bundles.file',
  'policy.shadow.path',
  'policy.shadow.data',
  'policy.shadow.bundles.file',
  'policy.persistence_folder',
  'routes.operations',
  'audit.sinks.path',
  'dpop.nonce_secret_files',
  'issuance_policy.path',
  'issuance_policy.data',
  'state_folder',
]);

/** Objects whose members the user names: none of them is a path. */
const FREE = /\.(authorization_details|claims|conditions)$/;

/** Relative paths are relative to the configuration file. */
export function resolvePaths<T>(value: T, directory: string, key = ''): T {
  if (FREE.test(key)) return value;
  if (typeof value === 'string') {
    return (key.endsWith('_file') || PATHS.has(key) ? resolve(directory, value) : value) as T;
  }
  if (Array.isArray(value)) return value.map((item: unknown) => resolvePaths(item, directory, key)) as T;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, member]: [string, unknown]) => {
    const path = key === '' ? name : `${key}.${name}`;
    return [name, resolvePaths(member, directory, path)];
  });
  return Object.fromEntries(entries) as T;
}
