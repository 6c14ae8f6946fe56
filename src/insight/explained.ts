import { readDataFile } from '../policy/data_file.ts';
import { isObject } from '../policy/shape.ts';
import type { Change } from './mutations.ts';

/** A denial that may become an allow, and why that is meant. */
export interface Explanation {
  /** JSON pointer below `/input` or `/data`; a segment `*` stands for any. */
  readonly path: string;
  readonly change: Change;
  readonly because: string;
  /** The rule that it is about; absent: each one. */
  readonly entrypoint?: string;
}

/**
 * Reads explained flips: `{flips: [{path, change, because, entrypoint?}]}`, JSON or YAML.
 * @throws Error that names the file and the entry
 */
export async function readExplanations(file: string): Promise<readonly Explanation[]> {
  const { flips, ...unknown } = (await readDataFile(file)) as Record<string, unknown>;
  if (!Array.isArray(flips) || Object.keys(unknown).length > 0)
    throw new Error(`${file}: expected one member, flips: a list`);
  for (const [index, flip] of flips.entries()) {
    const problem = problemOf(flip);
    if (problem !== null) throw new Error(`${file}: flips[${index}]: ${problem}`);
  }
  return flips as readonly Explanation[];
}

function problemOf(flip: unknown): string | null {
  if (!isObject(flip)) return 'must be an object';
  const { path, change, because, entrypoint = '', ...unknown } = flip;
  const [other] = Object.keys(unknown);
  if (other !== undefined) return `has an unknown member ${other}`;
  if (typeof entrypoint !== 'string') return 'entrypoint must be a text, such as sallyport/decision';
  if (typeof path !== 'string' || !/^\/(input|data)\//.test(path)) return 'path must begin with /input/ or /data/';
  if (change !== 'removed' && change !== 'nulled') return 'change must be removed or nulled';
  return typeof because === 'string' && because.trim() !== '' ? null : 'because must say why this is meant';
}

/** Whether an explanation is about a change of a path. */
export function explains(explanation: Explanation, path: string, change: Change): boolean {
  if (explanation.change !== change) return false;
  const [wanted, given] = [explanation.path.split('/'), path.split('/')];
  return wanted.length === given.length && wanted.every((part, index) => part === '*' || part === given[index]);
}
