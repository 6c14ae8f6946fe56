import { parseDocument } from 'yaml';
import { isNestedDeeper } from './nesting.ts';
import { readPolicyText } from './policy_text.ts';
import { isObject, type JsonObject } from './shape.ts';

/** Bytes of one file of data. */
const DATA_LIMIT_BYTES = 134_217_728;
/** YAML is read some hundred times slower than JSON. */
const YAML_LIMIT_BYTES = 4_194_304;

/**
 * Reads a file of data for policies, JSON or YAML by its name, as the object that it must be. Numbers that JSON.parse would change are
 * refused, since a policy would compare with something else than what is written there.
 * @throws Error that names the file, the place and what to do
 */
export async function readDataFile(file: string): Promise<JsonObject> {
  const yaml = /\.ya?ml$/i.test(file);
  const text = await readPolicyText(file, yaml ? YAML_LIMIT_BYTES : DATA_LIMIT_BYTES);
  const value = yaml ? parseYaml(text, file) : parseJson(text, file);
  if (isNestedDeeper(value)) throw new Error(`${file} is nested too deeply`);
  if (!isObject(value)) throw new Error(`${file} is not an object: data has names at its top`);
  const problem = problemIn(value, '');
  if (problem !== null) throw new Error(`${file}: ${problem}`);
  return value;
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is not JSON: ${(error as Error).message}`);
  }
}

function parseYaml(text: string, file: string): unknown {
  const document = parseDocument(text, { version: '1.2', uniqueKeys: true, stringKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`${file} is not YAML: ${error.message.split('\n')[0]}`);
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (thrown) {
    throw new Error(`${file} is not YAML: ${(thrown as Error).message}`);
  }
}

/** The first thing that a policy would see differently, with its JSON pointer; null where there is none. */
function problemIn(value: unknown, pointer: string): string | null {
  if (typeof value === 'string') return value.isWellFormed() ? null : `${pointer} has half a surrogate pair`;
  if (typeof value === 'number') return problemOfNumber(value, pointer);
  if (typeof value !== 'object' || value === null) return null;
  for (const [name, member] of Object.entries(value)) {
    const place = `${pointer}/${name}`;
    if (name === '__proto__' || !name.isWellFormed()) return `${place} cannot be a name`;
    const problem = problemIn(member, place);
    if (problem !== null) return problem;
  }
  return null;
}

function problemOfNumber(value: number, pointer: string): string | null {
  if (!Number.isFinite(value)) return `${pointer} is not a number that JSON has`;
  if (Number.isInteger(value) && !Number.isSafeInteger(value))
    return `${pointer} has too many digits: write it as a text in quotes`;
  return null;
}
