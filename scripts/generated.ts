/**
 * Writes the files that are generated from the sources, or with `--check` compares them and exits 1 when one is stale.
 * Run by `npm run generate` and `npm run check`.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { advisoriesPage } from './generate/advisories.ts';
import { agentPage, agentSchema } from './generate/agent.ts';
import {
  authServerPage,
  authServerSchema,
  brokerPage,
  brokerSchemaFile,
  configurationPage,
  configurationSchema,
  workflowsSchemaFile,
} from './generate/configuration.ts';
import { conformancePage } from './generate/conformance.ts';
import { faultsPage } from './generate/faults.ts';
import { metricsPage } from './generate/metrics.ts';
import { policyPage } from './generate/policy.ts';
import { policyInputJsonSchema, policyInputPage } from './generate/policy_input.ts';
import { reasonsPage } from './generate/reasons.ts';

const ROOT = new URL('../', import.meta.url);

const FILES: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/reference/reasons.md': reasonsPage,
  'docs/reference/configuration.md': configurationPage,
  'docs/reference/configuration.schema.json': configurationSchema,
  'docs/reference/authserver.md': authServerPage,
  'docs/reference/authserver.schema.json': authServerSchema,
  'docs/reference/agent.md': agentPage,
  'docs/reference/agent.schema.json': agentSchema,
  'docs/reference/broker.md': brokerPage,
  'docs/reference/broker.schema.json': brokerSchemaFile,
  'docs/reference/workflows.schema.json': workflowsSchemaFile,
  'docs/reference/metrics.md': metricsPage,
  'docs/reference/policy.md': policyPage,
  'docs/reference/conformance.md': conformancePage,
  'docs/reference/advisories.md': advisoriesPage,
  'docs/reference/faults.md': faultsPage,
  'docs/reference/policy_input.md': policyInputPage,
  'policies/schema/input.schema.json': policyInputJsonSchema,
};

const checking = process.argv.includes('--check');
const stale: string[] = [];
for (const [path, make] of Object.entries(FILES)) {
  const file = new URL(path, ROOT);
  const text = await make();
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
  stale.push(path);
  if (checking) continue;
  mkdirSync(dirname(file.pathname), { recursive: true });
  writeFileSync(file, text);
  console.log(`wrote ${path}`);
}
if (checking && stale.length > 0) {
  console.error(`out of date: ${stale.join(', ')}; run npm run generate`);
  process.exitCode = 1;
}
