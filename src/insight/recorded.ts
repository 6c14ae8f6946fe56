import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { isObject } from '../policy/shape.ts';

/** A decision as it stands in a record file. */
export interface RecordedDecision {
  readonly input: unknown;
  /** What the policy answered then; undefined where it answered nothing. */
  readonly result?: unknown;
  /** The policy that decided. */
  readonly revision?: string;
  /** JSON pointers of what is not as it was. */
  readonly masked: readonly string[];
}

/**
 * Finds a decision in a file of records, one JSON document on a line, by its id.
 * @throws Error where it is not there, or says nothing of what the policy saw
 */
export async function findRecorded(file: string, id: string): Promise<RecordedDecision> {
  const stream = createReadStream(file, 'utf8');
  const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
  try {
    for await (const line of lines) {
      // Most lines are others' decisions: they need not be parsed.
      if (!line.includes(id)) continue;
      const record = parse(line);
      if (record !== null && record['decision_id'] === id) return readRecord(record, id);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new Error(`${file}: there is no such file`);
    throw error;
  } finally {
    lines.close();
    stream.destroy();
  }
  throw new Error(`${file} has no decision ${id}`);
}

function parse(line: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : null;
  } catch {
    // The last line may be under way.
    return null;
  }
}

function readRecord(record: Readonly<Record<string, unknown>>, id: string): RecordedDecision {
  const { input, result, bundles, masked, erased } = record;
  if (input === undefined) {
    const why =
      Array.isArray(erased) && erased.includes('/input') ? 'it was too large for the record' : 'no policy was asked';
    throw new Error(`decision ${id} was recorded without the input of the policy: ${why}`);
  }
  const bundle = isObject(bundles) ? Object.values(bundles)[0] : undefined;
  const revision = isObject(bundle) ? bundle['revision'] : undefined;
  return {
    input,
    result,
    ...(typeof revision === 'string' ? { revision } : {}),
    masked: Array.isArray(masked) ? masked.map(String) : [],
  };
}
