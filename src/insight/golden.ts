import { globSync } from 'node:fs';
import { join } from 'node:path';
import { readDataFile } from '../policy/data_file.ts';
import { isObject, type JsonObject } from '../policy/shape.ts';
import type { Example } from './examples.ts';
import type { PolicyProject } from './project.ts';
import { setAt } from './set_at.ts';

/** A decision that must stay as it is. */
export interface GoldenCase extends Example {
  /** The rule that is asked, such as `sallyport/decision`. */
  readonly entrypoint: string;
  /** Codes of the reasons; none: allowed. */
  readonly codes: readonly string[];
}

/** Cases of one file. */
const CASE_LIMIT = 10_000;

/**
 * Reads all `golden.json` below a folder: `{entrypoint, input, cases: [{name, codes, set?, data?}]}`. A case is the input with the values
 * of `set` put at their JSON pointers, and says by which codes it is refused; none: it is allowed. `data`, where it is there, is put into
 * the data of the folder in the same way.
 * @throws Error that names the file and the case
 */
export async function readGolden({ folder, data }: PolicyProject): Promise<readonly GoldenCase[]> {
  const cases: GoldenCase[] = [];
  for (const path of globSync('**/golden.json', { cwd: folder }).sort()) {
    const document = await readDataFile(join(folder, path));
    const { entrypoint, input, cases: rows } = document as Record<string, unknown>;
    const fault = (what: string) => new Error(`${join(folder, path)}: ${what}`);
    if (typeof entrypoint !== 'string' || !isObject(input)) throw fault('entrypoint must be a text, input an object');
    if (!Array.isArray(rows) || rows.length > CASE_LIMIT) throw fault(`cases must be a list of at most ${CASE_LIMIT}`);
    for (const [index, row] of rows.entries()) {
      const problem = problemOf(row);
      if (problem !== null) throw fault(`cases[${index}]: ${problem}`);
      const { name, codes, set = {}, data: changes = {} } = row as GoldenRow;
      cases.push({
        name: `${path}: ${name}`,
        entrypoint,
        codes,
        input: apply(input, set),
        data: apply(data, changes) as JsonObject,
      });
    }
  }
  return cases;
}

interface GoldenRow {
  readonly name: string;
  readonly codes: readonly string[];
  readonly set?: JsonObject;
  readonly data?: JsonObject;
}

function apply(document: JsonObject, changes: JsonObject): unknown {
  return Object.entries(changes).reduce<unknown>(
    (changed, [pointer, value]) => setAt(changed, pointer, value),
    document,
  );
}

function problemOf(row: unknown): string | null {
  if (!isObject(row)) return 'must be an object';
  const { name, codes, set = {}, data = {}, ...unknown } = row;
  const [other] = Object.keys(unknown);
  if (other !== undefined) return `has an unknown member ${other}`;
  if (typeof name !== 'string') return 'name must be a text';
  if (!Array.isArray(codes) || !codes.every((code) => typeof code === 'string')) return 'codes must be a list of texts';
  if (!isObject(set) || !isObject(data)) return 'set and data must be objects of JSON pointers';
  return null;
}

/** Codes of the reasons of an answer, sorted; none where it allows; `no_answer` where it is none. */
export function codesOf(answer: unknown): readonly string[] {
  if (!isObject(answer) || typeof answer['allow'] !== 'boolean') return ['no_answer'];
  if (answer['allow']) return [];
  const reasons = Array.isArray(answer['reasons']) ? (answer['reasons'] as unknown[]) : [];
  return reasons.map((reason) => (isObject(reason) ? String(reason['code']) : 'no_code')).sort();
}
