import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PolicyModule, readPolicyFolder, readPolicyTests } from '../policy/folder.ts';

/** A folder of policies as its author works on it: what the gateway would compile, and the tests beside it. */
export interface PolicyProject {
  readonly folder: string;
  /** Paths below the folder, with `/`. */
  readonly modules: readonly PolicyModule[];
  readonly tests: readonly PolicyModule[];
  /** The base document, `data` in Rego. */
  readonly data: Readonly<Record<string, unknown>>;
}

/**
 * Reads a folder of policies with its tests.
 * @param dataFiles merged over the data of the folder, as `policy.data` of the gateway's configuration
 * @throws Error that names the file and says what to do
 */
export async function readProject(folder: string, dataFiles: readonly string[] = []): Promise<PolicyProject> {
  const { modules, data } = await readPolicyFolder(folder, dataFiles);
  return { folder, modules, tests: await readPolicyTests(folder), data };
}

/** The schema that comes with this version; both `src/insight/` and `dist/insight/` lie two folders below the package. */
const OWN_SCHEMA = new URL('../../policies/schema/input.schema.json', import.meta.url);

/**
 * The JSON Schema of the input document: `schema/input.schema.json` of the folder where there is one, since a policy may have been
 * written for another version, else the one that comes with this version.
 */
export function inputSchemaOf(folder: string): object {
  const file = join(folder, 'schema/input.schema.json');
  const text = readFileSync(existsSync(file) ? file : OWN_SCHEMA, 'utf8');
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    throw new Error(`${file} is not JSON: ${(error as Error).message}`);
  }
}
