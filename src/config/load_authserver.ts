import { dirname, resolve } from 'node:path';
import { type ClientKeys, clientKeys } from './authserver_clients.ts';
import { type AuthServerConfig, authServerSchema } from './authserver_schema.ts';
import { resolvePaths } from './load.ts';
import { readYamlFile } from './yaml_file.ts';

/**
 * Reads and validates the authorization server's configuration file, as `loadGatewayConfig` does for the gateway's.
 * @throws ConfigError which names every problem with file, line and key
 */
export function loadAuthServerConfig(
  path: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): AuthServerConfig {
  return resolvePaths(readYamlFile(path, authServerSchema, { environment }), dirname(resolve(path)));
}

/** Makes a configuration from a value, such as one built by a program; paths are relative to `directory`. @throws ZodError */
export function parseAuthServerConfig(value: unknown, directory: string = process.cwd()): AuthServerConfig {
  return resolvePaths(authServerSchema.parse(value), directory);
}

/** Reads a client's public keys from a file. @throws ConfigError */
export function readClientKeys(path: string): ClientKeys {
  return readYamlFile(path, clientKeys);
}
