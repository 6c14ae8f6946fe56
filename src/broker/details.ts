import { isDeepStrictEqual } from 'node:util';

/** One item of authorization_details (RFC 9396 §2). */
export type Detail = Readonly<Record<string, unknown>> & { readonly type: string };

/** Members that only ever narrow an item (RFC 9396 §2.2): a ceiling without one says nothing about it. */
const NARROWING: ReadonlySet<string> = new Set(['locations', 'actions', 'datatypes', 'identifier', 'privileges']);

/** Items that a narrowed request has at most: one item asked for may meet several of the ceiling. */
const MOST_ITEMS = 100;

/**
 * What of a request lies within a ceiling, item by item: the item itself where one item of the ceiling covers the whole of it, else what it
 * has in common with each item of the ceiling. Items stand alone (RFC 9396 §2): parts of two never add up to one.
 */
export function narrowDetails(ceiling: readonly Detail[], asked: readonly Detail[]): Detail[] {
  const narrowed: Detail[] = [];
  for (const item of asked) {
    const common = ceiling.map((limit) => meet(limit, item)).filter((part) => part !== null);
    const whole = common.some((part) => isDeepStrictEqual(part, item));
    for (const part of whole ? [item] : common) {
      if (!narrowed.some((known) => isDeepStrictEqual(known, part))) narrowed.push(part);
    }
  }
  return narrowed.slice(0, MOST_ITEMS);
}

/** What two items allow both; null when that is nothing. A member that a job adds and the ceiling does not know is not within it. */
export function meet(limit: Detail, asked: Detail): Detail | null {
  const common: Record<string, unknown> = {};
  for (const name of Object.keys(asked)) {
    const value = Object.hasOwn(limit, name) ? meetMember(name, limit[name], asked[name]) : asked[name];
    if (value === undefined || (!Object.hasOwn(limit, name) && !NARROWING.has(name))) return null;
    common[name] = value;
  }
  for (const name of Object.keys(limit)) if (!Object.hasOwn(asked, name)) common[name] = limit[name];
  return common as Detail;
}

/**
 * Whether a granted item allows nothing that another does not. Members that the other does not have may have been added (RFC 9396 §7.1);
 * those that narrow it must still be there.
 */
export function liesWithin(limit: Detail, item: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(limit).every(
    (name) => Object.hasOwn(item, name) && isDeepStrictEqual(meetMember(name, limit[name], item[name]), item[name]),
  );
}

/** Undefined: nothing in common. */
function meetMember(name: string, limit: unknown, asked: unknown): unknown {
  if (name === 'identifier') return meetIdentifier(limit, asked);
  if (NARROWING.has(name) && Array.isArray(limit) && Array.isArray(asked)) {
    const both = asked.filter((value: unknown) => limit.some((other: unknown) => isDeepStrictEqual(value, other)));
    return both.length === 0 ? undefined : both;
  }
  return isDeepStrictEqual(limit, asked) ? asked : undefined;
}

/** By segment: `projects/p1` holds `projects/p1/builds` and never `projects/p10`. */
function meetIdentifier(limit: unknown, asked: unknown): unknown {
  if (typeof limit !== 'string' || typeof asked !== 'string') return undefined;
  if (asked === limit || asked.startsWith(`${limit}/`)) return asked;
  return limit.startsWith(`${asked}/`) ? limit : undefined;
}
