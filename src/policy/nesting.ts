/** Levels of nesting in anything that goes into a policy or comes out of one: an evaluation recurses, and its stack is small. */
export const NESTING_LIMIT = 64;

/** Whether a JSON value has more levels of objects and arrays than `limit`. Goes no deeper than that. */
export function isNestedDeeper(value: unknown, limit: number = NESTING_LIMIT): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (limit === 0) return true;
  const members = Array.isArray(value) ? value : Object.values(value);
  for (const member of members) if (isNestedDeeper(member, limit - 1)) return true;
  return false;
}
