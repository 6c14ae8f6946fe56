import { join } from 'node:path';
import { readDataFile } from './data_file.ts';
import { mergeData, nestData } from './data_merge.ts';
import { listPolicyFiles } from './policy_files.ts';
import { readPolicyText } from './policy_text.ts';
import type { JsonObject } from './shape.ts';

/** One Rego file: its path below the folder, with `/`, and its text. */
export interface PolicyModule {
  readonly path: string;
  readonly text: string;
}

/** A policy in source form: what the compiler and the engine need. */
export interface PolicySource {
  readonly modules: readonly PolicyModule[];
  /** The base document, `data` in Rego. */
  readonly data: JsonObject;
}

/** Bytes of one Rego file. */
const MODULE_LIMIT_BYTES = 1_048_576;
/** Bytes of all Rego files together. */
const MODULES_LIMIT = 16_777_216;

/**
 * Reads a folder of Rego: all `*.rego` below it but tests, and `data.json` or `data.yaml` of each folder, which stands in `data` under the
 * folder's path, as in OPA's bundles; two files that say
 * something of one place are an error there. Then `dataFiles`, JSON or YAML, are merged in at the top, one after the other, and win over
 * what is there already.
 * @throws Error that names the file and says what to do
 */
export async function readPolicyFolder(folder: string, dataFiles: readonly string[] = []): Promise<PolicySource> {
  const files = await listPolicyFiles(folder);
  if (files.modules.length === 0)
    throw new Error(`${folder} has no .rego files: start with a copy of the folder policies`);
  const modules = await readModules(folder, files.modules);
  return { modules, data: await readData(folder, files.data, dataFiles) };
}

/**
 * Reads the tests of a folder of Rego: all `*_test.rego` below it. The gateway never compiles them.
 * @throws Error that names the file and says what to do
 */
export async function readPolicyTests(folder: string): Promise<readonly PolicyModule[]> {
  return readModules(folder, (await listPolicyFiles(folder)).tests);
}

async function readModules(folder: string, paths: readonly string[]): Promise<readonly PolicyModule[]> {
  const modules: PolicyModule[] = [];
  let size = 0;
  for (const path of paths) {
    const text = await readPolicyText(join(folder, path), MODULE_LIMIT_BYTES);
    size += text.length;
    if (size > MODULES_LIMIT) throw new Error(`${folder} has more than ${MODULES_LIMIT} characters of Rego`);
    modules.push({ path, text });
  }
  return modules;
}

async function readData(folder: string, paths: readonly string[], dataFiles: readonly string[]): Promise<JsonObject> {
  let data: JsonObject = {};
  for (const path of paths) {
    const file = join(folder, path);
    const nested = nestData(await readDataFile(file), path.split('/').slice(0, -1));
    data = mergeData(data, nested, (pointer) => {
      throw new Error(`${file} says something of data${pointer}, and so does another file of ${folder}`);
    });
  }
  for (const file of dataFiles) data = mergeData(data, await readDataFile(file), () => undefined);
  return data;
}
