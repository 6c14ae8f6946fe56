import { createHash } from 'node:crypto';
import { sprintf } from './builtin_sprintf.ts';
import { clockOf, dateOf, nowNs, parseRfc3339Ns, weekdayOf } from './builtin_time.ts';
import { canonicalText, RegoObject, RegoSet, type RegoValue } from './rego_value.ts';

/** What a built-in function knows besides its arguments. */
export interface BuiltinContext {
  /** The request's own time, in milliseconds since 1970. */
  readonly nowMs: number;
}

/** What a built-in function returns: a JSON value, with bigint for exact integers. Undefined is Rego's undefined. */
export type BuiltinResult = null | boolean | string | number | bigint | readonly BuiltinResult[] | undefined;

/**
 * A built-in function. It returns undefined where OPA reports an error (a malformed date, say), as OPA itself does
 * unless told to be strict. It throws where it cannot give OPA's answer: the evaluation then fails, and so refuses.
 */
export type Builtin = (context: BuiltinContext, ...operands: RegoValue[]) => BuiltinResult;

/** Operands are checked as OPA does: one of another type is an error there, and so undefined here. */
function onStrings(run: (...operands: string[]) => BuiltinResult): Builtin {
  return (_context, ...operands) =>
    operands.every((operand) => typeof operand === 'string') ? run(...(operands as string[])) : undefined;
}

function stringList(value: RegoValue | undefined): readonly string[] | undefined {
  if (typeof value === 'string') return [value];
  const list = value instanceof RegoSet ? value.members : value;
  if (!Array.isArray(list) || !list.every((item) => typeof item === 'string')) return undefined;
  return list;
}

/** `strings.any_prefix_match` and its twin: any string of the first operand has any string of the second as affix. */
function anyAffix(matches: (text: string, affix: string) => boolean): Builtin {
  return (_context, first, second) => {
    const texts = stringList(first);
    const affixes = stringList(second);
    if (texts === undefined || affixes === undefined) return undefined;
    return texts.some((text) => affixes.some((affix) => matches(text, affix)));
  };
}

function countOccurrences(text: string, part: string): number {
  // Go counts the places between characters for an empty text.
  return part === '' ? [...text].length + 1 : text.split(part).length - 1;
}

function isSubset(parent: RegoValue, child: RegoValue): boolean {
  if (parent instanceof RegoObject && child instanceof RegoObject) {
    const known = new Map(parent.entries.map(([key, value]) => [canonicalText(key), value]));
    return child.entries.every(([key, value]) => {
      const counterpart = known.get(canonicalText(key));
      if (counterpart === undefined) return false;
      return canonicalText(counterpart) === canonicalText(value) || isSubset(counterpart, value);
    });
  }
  if (parent instanceof RegoSet && child instanceof RegoSet) return containsAll(parent.members, child.members);
  if (Array.isArray(parent) && Array.isArray(child)) return containsRun(parent, child);
  return false;
}

function containsAll(members: readonly RegoValue[], wanted: readonly RegoValue[]): boolean {
  const known = new Set(members.map(canonicalText));
  return wanted.every((member) => known.has(canonicalText(member)));
}

/**
 * OPA's search for one array inside another, as it is: after a partial match it goes on behind the place where the
 * match began plus one, but from the first wanted item, so every run is found.
 */
function containsRun(items: readonly RegoValue[], wanted: readonly RegoValue[]): boolean {
  const texts = items.map(canonicalText);
  const wantedTexts = wanted.map(canonicalText);
  return (
    texts.some((_, start) => wantedTexts.every((text, index) => text === texts[start + index])) || wanted.length === 0
  );
}

/** OPA compares an array with a set at the top only, not inside objects. */
function arrayHasSet(items: readonly RegoValue[], wanted: RegoSet): boolean {
  const wantedTexts = new Set(wanted.members.map(canonicalText));
  const found = items.map(canonicalText).filter((text) => wantedTexts.has(text));
  if (new Set(found).size < found.length) {
    // OPA counts an item that stands twice in the array twice: to it, [1, 1] has all of {1, 2}.
    throw new Error('object.subset: the array repeats an item; compare sets instead');
  }
  return items.length > 0 && found.length === wantedTexts.size;
}

const objectSubset: Builtin = (_context, parent, child) => {
  if (parent === undefined || child === undefined) return undefined;
  if (Array.isArray(parent) && child instanceof RegoSet) return arrayHasSet(parent, child);
  const comparable =
    (parent instanceof RegoObject && child instanceof RegoObject) ||
    (parent instanceof RegoSet && child instanceof RegoSet) ||
    (Array.isArray(parent) && Array.isArray(child));
  return comparable ? isSubset(parent, child) : undefined;
};

interface Version {
  readonly core: readonly bigint[];
  readonly preRelease: readonly string[];
}

const LARGEST_INT64 = 2n ** 63n - 1n;
const IDENTIFIERS = /^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*$/;

function cut(text: string, mark: string): [before: string, after: string | undefined] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function parseVersion(text: string): Version | undefined {
  const [versionText, metadata] = cut(text.replace(/^v/, ''), '+');
  if (metadata !== undefined && !IDENTIFIERS.test(metadata)) return undefined;
  const [coreText, preReleaseText] = cut(versionText, '-');
  if (preReleaseText !== undefined && !IDENTIFIERS.test(preReleaseText)) return undefined;
  const preRelease = preReleaseText?.split('.') ?? [];
  if (preRelease.some((identifier) => /^0\d+$/.test(identifier))) return undefined;
  const parts = coreText.split('.');
  if (parts.length !== 3 || !parts.every((part) => /^(0|[1-9]\d*)$/.test(part))) return undefined;
  const core = parts.map(BigInt);
  return core.every((part) => part <= LARGEST_INT64) ? { core, preRelease } : undefined;
}

function compareIdentifiers(a: string, b: string): number {
  const numericA = /^\d+$/.test(a);
  const numericB = /^\d+$/.test(b);
  if (numericA !== numericB) return numericA ? -1 : 1;
  if (!numericA) return Number(a > b) - Number(a < b);
  // Go's Atoi stops at the largest integer, so beyond it all are equal.
  const [x, y] = [a, b].map((text) => (BigInt(text) > LARGEST_INT64 ? LARGEST_INT64 : BigInt(text))) as [
    bigint,
    bigint,
  ];
  return Number(x > y) - Number(x < y);
}

function compareVersions(a: Version, b: Version): number {
  for (const [index, part] of a.core.entries()) {
    const other = b.core[index] ?? 0n;
    if (part !== other) return part > other ? 1 : -1;
  }
  if (a.preRelease.length === 0 || b.preRelease.length === 0) {
    return Number(a.preRelease.length === 0) - Number(b.preRelease.length === 0);
  }
  for (const [index, identifier] of a.preRelease.entries()) {
    const other = b.preRelease[index];
    if (other === undefined) return 1;
    const order = compareIdentifiers(identifier, other);
    if (order !== 0) return order;
  }
  return a.preRelease.length < b.preRelease.length ? -1 : 0;
}

function semverCompare(a: string, b: string): BuiltinResult {
  const [x, y] = [parseVersion(a), parseVersion(b)];
  return x === undefined || y === undefined ? undefined : compareVersions(x, y);
}

function queryDecode(text: string): BuiltinResult {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    // To OPA this is a text of broken bytes, which nothing outside of OPA can hold.
    throw new Error('urlquery.decode: the decoded text is not UTF-8');
  }
}

function queryEncode(text: string): string {
  const encoded = encodeURIComponent(text).replaceAll('%20', '+');
  return encoded.replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * The built-in functions that OPA's WASM target lacks and the gateway supplies, with results equal to OPA's. A policy
 * may use these and the native ones: `engine/capabilities.json` is made from this list.
 */
export const BUILTINS: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  ['crypto.sha256', onStrings((text) => createHash('sha256').update(text).digest('hex'))],
  ['object.subset', objectSubset],
  ['semver.compare', onStrings(semverCompare)],
  ['semver.is_valid', (_context, text) => typeof text === 'string' && parseVersion(text) !== undefined],
  ['sprintf', (_context, format, operands) => sprintf(format, operands)],
  ['strings.any_prefix_match', anyAffix((text, affix) => text.startsWith(affix))],
  ['strings.any_suffix_match', anyAffix((text, affix) => text.endsWith(affix))],
  ['strings.count', onStrings(countOccurrences)],
  ['time.clock', (_context, time) => clockOf(time)],
  ['time.date', (_context, time) => dateOf(time)],
  ['time.now_ns', (context) => nowNs(context.nowMs)],
  ['time.parse_rfc3339_ns', onStrings(parseRfc3339Ns)],
  ['time.weekday', (_context, time) => weekdayOf(time)],
  ['urlquery.decode', onStrings(queryDecode)],
  ['urlquery.encode', onStrings(queryEncode)],
]);
