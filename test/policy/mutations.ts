/** A document that lacks something, and what that is. */
export interface Mutation {
  readonly label: string;
  readonly value: unknown;
}

/** A document with each of its parts in turn made null, and left out. */
export function mutations(document: unknown, pointer = ''): Mutation[] {
  if (typeof document !== 'object' || document === null) return [];
  const keys = Object.keys(document);
  return keys.flatMap((key) => {
    const path = `${pointer}/${key}`;
    const child = (document as Record<string, unknown>)[key];
    return [
      ...(child === null ? [] : [{ label: `null ${path}`, value: replaced(document, key, null) }]),
      { label: `removed ${path}`, value: replaced(document, key, undefined) },
      ...mutations(child, path).map(({ label, value }) => ({ label, value: replaced(document, key, value) })),
    ];
  });
}

/** A copy with one member replaced, or without it where the value is undefined. */
function replaced(document: object, key: string, value: unknown): unknown {
  if (Array.isArray(document)) {
    return document.flatMap((item: unknown, index) =>
      String(index) !== key ? [item] : value === undefined ? [] : [value],
    );
  }
  const { [key]: _, ...rest } = document as Record<string, unknown>;
  return value === undefined ? rest : { ...document, [key]: value };
}
