/** A copy of a document with a value put at a JSON pointer (RFC 6901); objects on the way are made where there are none. */
export function setAt(document: unknown, pointer: string, value: unknown): unknown {
  const keys = pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  return put(document, keys, value);
}

function put(document: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value;
  if (Array.isArray(document)) {
    const copy: unknown[] = [...document];
    const index = key === '-' ? copy.length : Number(key);
    if (!Number.isInteger(index) || index > copy.length) throw new Error(`a list has no item ${key}`);
    copy[index] = put(copy[index], rest, value);
    return copy;
  }
  const members = typeof document === 'object' && document !== null ? (document as Record<string, unknown>) : {};
  const present = Object.hasOwn(members, key) ? members[key] : undefined;
  return Object.fromEntries([...Object.entries(members), [key, put(present, rest, value)]]);
}
