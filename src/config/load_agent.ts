import { dirname, resolve } from 'node:path';
import { type AgentConfig, agentSchema } from './agent_schema.ts';
import { resolvePaths } from './load.ts';
import { ConfigError, keyOf } from './problems.ts';
import { readYamlFile } from './yaml_file.ts';

/**
 * Reads and validates the agent's configuration file, as `loadGatewayConfig` does for the gateway's.
 * @throws ConfigError which names every problem with file, line and key
 */
export function loadAgentConfig(
  path: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): AgentConfig {
  return resolvePaths(readYamlFile(path, agentSchema, { environment }), dirname(resolve(path)));
}

/**
 * Makes a configuration from a value, such as one made of flags; paths are relative to `directory`.
 * @param source what problems are told of, such as `flags`
 * @throws ConfigError
 */
export function parseAgentConfig(value: unknown, source: string, directory: string = process.cwd()): AgentConfig {
  const result = agentSchema.safeParse(value);
  if (result.success) return resolvePaths(result.data, directory);
  throw new ConfigError(
    result.error.issues.map(({ path, message }) => ({
      file: source,
      line: null,
      column: null,
      key: keyOf(path),
      message: message.replace(/^Invalid input: /, ''),
    })),
  );
}
