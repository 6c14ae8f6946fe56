/** Header fields as node:http and http-proxy take them; the spelling of the first occurrence is kept. */
export type FieldMap = Record<string, string | string[]>;

/** Names and values in turn as a map, repetitions gathered under one name. */
export function fieldMap(headers: readonly string[]): FieldMap {
  const spelling = new Map<string, string>();
  const map: FieldMap = Object.create(null);
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    const lower = name.toLowerCase();
    const first = spelling.get(lower);
    const present = first === undefined ? undefined : map[first];
    if (first === undefined || present === undefined) {
      spelling.set(lower, name);
      map[name] = value;
    } else {
      map[first] = typeof present === 'string' ? [present, value] : [...present, value];
    }
  }
  return map;
}
