import { dirname, resolve } from 'node:path';
import { type BrokerConfig, brokerSchema } from './broker_schema.ts';
import { resolvePaths } from './load.ts';
import { findWorkflowProblems } from './workflow_rules.ts';
import { type WorkflowConfig, workflowsSchema } from './workflows_schema.ts';
import { readYamlFile } from './yaml_file.ts';

/**
 * Reads and validates the broker's configuration file, as `loadGatewayConfig` does for the gateway's.
 * @throws ConfigError which names every problem with file, line and key
 */
export function loadBrokerConfig(
  path: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): BrokerConfig {
  return resolvePaths(readYamlFile(path, brokerSchema, { environment }), dirname(resolve(path)));
}

/** Makes a configuration from a value, such as one built by a program; paths are relative to `directory`. @throws ZodError */
export function parseBrokerConfig(value: unknown, directory: string = process.cwd()): BrokerConfig {
  return resolvePaths(brokerSchema.parse(value), directory);
}

/**
 * Reads and validates the file of workflows against the broker's configuration; paths in it are relative to it.
 * @throws ConfigError which names every problem with file, line and key
 */
export function loadWorkflows(
  path: string,
  broker: Pick<BrokerConfig, 'workload_issuers' | 'authorization_server'>,
): readonly WorkflowConfig[] {
  const schema = workflowsSchema.superRefine(({ workflows }, context) => {
    for (const { path: at, message } of findWorkflowProblems(workflows, broker)) {
      context.addIssue({ code: 'custom', path: ['workflows', ...at], message });
    }
  });
  return resolvePaths(readYamlFile(path, schema), dirname(resolve(path))).workflows;
}
