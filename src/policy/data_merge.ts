import { isDocument } from './exact_json.ts';
import type { JsonObject } from './shape.ts';

/** Told where two documents say different things of one place, as a JSON pointer. Returning lets the later one win. */
export type OnConflict = (pointer: string) => void;

/** Joins two documents: objects member by member, and of anything else the later one stays. Neither is changed. */
export function mergeData(earlier: JsonObject, later: JsonObject, onConflict: OnConflict, pointer = ''): JsonObject {
  const merged = new Map(Object.entries(earlier));
  for (const [name, value] of Object.entries(later)) {
    const place = `${pointer}/${name}`;
    const present = merged.get(name);
    if (isDocument(present) && isDocument(value)) merged.set(name, mergeData(present, value, onConflict, place));
    else {
      if (present !== undefined) onConflict(place);
      merged.set(name, value);
    }
  }
  return Object.fromEntries(merged);
}

/** Puts a document below a path. */
export function nestData(value: JsonObject, path: readonly string[]): JsonObject {
  return path.reduceRight<JsonObject>((inner, name) => ({ [name]: inner }), value);
}
