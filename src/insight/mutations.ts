/** What is done to one path of a document. */
export type Change = 'removed' | 'nulled';

/** A document that lacks something. */
export interface Mutation {
  /** JSON pointer of what it lacks; `*` stands for the place in a list. */
  readonly path: string;
  readonly change: Change;
  readonly value: unknown;
}

/** A document with each of its paths in turn left out, and made null. A path that is null already is only left out. */
export function mutationsOf(document: unknown): readonly Mutation[] {
  return pathsOf(document).flatMap(({ keys, path, value }): Mutation[] => {
    const removed: Mutation = { path, change: 'removed', value: replaceAt(document, keys, undefined) };
    return value === null ? [removed] : [removed, { path, change: 'nulled', value: replaceAt(document, keys, null) }];
  });
}

/** A document with the value of one leaf replaced by another of the same type. */
export interface Variation {
  readonly path: string;
  readonly value: unknown;
}

/** A text that no list, table or comparison knows. */
const OTHER_TEXT = 'no such value \u2205';
const LARGE_NUMBER = 9_007_199_254_740_991;

/** A document with each of its leaves in turn made another value of its type: what a caller might say instead. */
export function variationsOf(document: unknown): readonly Variation[] {
  return pathsOf(document).flatMap(({ keys, path, value }) =>
    otherValues(value).map((other) => ({ path, value: replaceAt(document, keys, other) })),
  );
}

function otherValues(value: unknown): readonly unknown[] {
  switch (typeof value) {
    case 'string':
      return [OTHER_TEXT];
    case 'boolean':
      return [!value];
    case 'number':
      return [LARGE_NUMBER, -LARGE_NUMBER];
    default:
      return [];
  }
}

interface Place {
  readonly keys: readonly string[];
  readonly path: string;
  readonly value: unknown;
}

function pathsOf(document: unknown, above: Pick<Place, 'keys' | 'path'> = { keys: [], path: '' }): Place[] {
  if (typeof document !== 'object' || document === null) return [];
  return Object.entries(document).flatMap(([key, value]) => {
    // RFC 6901 §3.
    const name = Array.isArray(document) ? '*' : key.replaceAll('~', '~0').replaceAll('/', '~1');
    const place = { keys: [...above.keys, key], path: `${above.path}/${name}`, value };
    return [place, ...pathsOf(value, place)];
  });
}

/** A copy with another value at a path, or without it where the value is undefined. */
function replaceAt(document: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value;
  if (Array.isArray(document)) {
    return document.flatMap((item: unknown, index) => {
      if (String(index) !== key) return [item];
      const replaced = replaceAt(item, rest, value);
      return replaced === undefined ? [] : [replaced];
    });
  }
  const entries = Object.entries(document as object).flatMap(([name, member]): [string, unknown][] => {
    if (name !== key) return [[name, member]];
    const replaced = replaceAt(member, rest, value);
    return replaced === undefined ? [] : [[name, replaced]];
  });
  return Object.fromEntries(entries);
}
