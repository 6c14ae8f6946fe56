/** An object of a policy's answer, as JSON.parse makes it. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a JSON value is an object: not null, not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether an object has no member but the given ones. */
export function hasOnly(value: JsonObject, members: readonly string[]): boolean {
  for (const name of Object.keys(value)) if (!members.includes(name)) return false;
  return true;
}

/** Whether an object has exactly the given members. */
export function hasExactly(value: JsonObject, members: readonly string[]): boolean {
  return Object.keys(value).length === members.length && hasOnly(value, members);
}
