/**
 * Rego values as they are: sets are no arrays, keys of objects need not be strings, and numbers keep their digits.
 * JSON, which opa-wasm hands to built-in functions, loses all three.
 */
export type RegoValue = null | boolean | string | RegoNumber | RegoSet | RegoObject | readonly RegoValue[];

/** A number, by its spelling. */
export class RegoNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A set; its members are distinct and in no particular order. */
export class RegoSet {
  readonly members: readonly RegoValue[];

  constructor(members: readonly RegoValue[]) {
    this.members = members;
  }
}

/** An object; its keys are distinct and in no particular order. */
export class RegoObject {
  readonly entries: readonly (readonly [key: RegoValue, value: RegoValue])[];

  constructor(entries: readonly (readonly [key: RegoValue, value: RegoValue])[]) {
    this.entries = entries;
  }
}

const STRING = /"(?:[^"\\]|\\.)*"/y;
const NUMBER = /-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const SEPARATOR = /[,:] ?/y;
const WORD = /null|true|false|set\(\)/y;

/**
 * Reads what a WASM policy's `opa_value_dump` writes: JSON, with sets as `{1, 2}` and `set()`, and any value as a key.
 * Throws on anything else, which would be a defect of the policy's runtime.
 */
export function parseRegoValue(text: string): RegoValue {
  let at = 0;

  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };

  const sequence = (close: string, item: () => void): void => {
    at += 1;
    while (text[at] !== close) {
      item();
      if (text[at] === ',') take(SEPARATOR);
      else if (text[at] !== close) throw new SyntaxError(`"${close}" expected at ${at}`);
    }
    at += 1;
  };

  const array = (): RegoValue => {
    const items: RegoValue[] = [];
    sequence(']', () => items.push(value()));
    return items;
  };

  const setOrObject = (): RegoValue => {
    const members: RegoValue[] = [];
    const entries: [RegoValue, RegoValue][] = [];
    sequence('}', () => {
      const first = value();
      if (text[at] === ':') {
        take(SEPARATOR);
        entries.push([first, value()]);
      } else {
        members.push(first);
      }
    });
    return members.length > 0 ? new RegoSet(members) : new RegoObject(entries);
  };

  const value = (): RegoValue => {
    const next = text[at];
    if (next === '[') return array();
    if (next === '{') return setOrObject();
    if (next === '"') {
      const literal = take(STRING);
      if (literal !== undefined) return JSON.parse(literal) as string;
    }
    const word = take(WORD);
    if (word === 'set()') return new RegoSet([]);
    if (word !== undefined) return JSON.parse(word) as null | boolean;
    const number = take(NUMBER);
    if (number !== undefined) return new RegoNumber(number);
    throw new SyntaxError(`a value expected at ${at}`);
  };

  const result = value();
  if (at !== text.length) throw new SyntaxError(`the end expected at ${at}`);
  return result;
}

/** A text that is the same for two values exactly when Rego calls them equal: `1` and `1.0` are. */
export function canonicalText(value: RegoValue): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (value instanceof RegoNumber) return canonicalNumber(value.text);
  if (value instanceof RegoSet) return `<${value.members.map(canonicalText).sort().join()}>`;
  if (value instanceof RegoObject) {
    const entries = value.entries.map(([key, entry]) => `${canonicalText(key)}:${canonicalText(entry)}`);
    return `{${entries.sort().join()}}`;
  }
  return `[${value.map(canonicalText).join()}]`;
}

/** Rego's order of values, in which it lists sets and objects: by type, then by value. */
export function compareValues(a: RegoValue, b: RegoValue): number {
  const [left, right] = [rank(a), rank(b)];
  if (left !== right) return left - right;
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (a instanceof RegoNumber && b instanceof RegoNumber) return compareNumbers(a.text, b.text);
  const [x, y] = [flatten(a), flatten(b)];
  for (const [index, item] of x.slice(0, y.length).entries()) {
    const order = compareValues(item, y[index] ?? null);
    if (order !== 0) return order;
  }
  return x.length - y.length;
}

function rank(value: RegoValue): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') return value ? 2 : 1;
  if (value instanceof RegoNumber) return 3;
  if (typeof value === 'string') return 4;
  if (value instanceof RegoSet) return 7;
  return value instanceof RegoObject ? 6 : 5;
}

/** What a composite value is compared by, in order. */
function flatten(value: RegoValue): readonly RegoValue[] {
  if (value instanceof RegoSet) return sortedMembers(value);
  if (value instanceof RegoObject) return sortedEntries(value).flat();
  return Array.isArray(value) ? value : [];
}

/** The members of a set in Rego's order. */
export function sortedMembers(set: RegoSet): readonly RegoValue[] {
  return [...set.members].sort(compareValues);
}

/** The entries of an object in Rego's order of their keys. */
export function sortedEntries(object: RegoObject): RegoObject['entries'] {
  return [...object.entries].sort(([a], [b]) => compareValues(a, b));
}

function compareNumbers(a: string, b: string): number {
  if (Number(a) !== Number(b)) return Number(a) < Number(b) ? -1 : 1;
  const [x, y] = [integerOf(new RegoNumber(a)), integerOf(new RegoNumber(b))];
  return x === undefined || y === undefined || x === y ? 0 : x < y ? -1 : 1;
}

/** Spells a decimal number as `<digits>e<exponent>` without zeros at either end of the digits. */
function canonicalNumber(text: string): string {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
  const sign = mantissa.startsWith('-') ? '-' : '';
  const [whole = '', fraction = ''] = mantissa.replace('-', '').split('.');
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const trimmed = digits.replace(/0+$/, '');
  if (trimmed === '') return '0e0';
  return `${sign}${trimmed}e${Number(exponent) - fraction.length + digits.length - trimmed.length}`;
}

/** The number as an integer, or undefined where it has a fraction. Bounded: an exponent above 1,000 is undefined. */
export function integerOf(number: RegoNumber): bigint | undefined {
  const [digits = '', exponent = ''] = canonicalNumber(number.text).split('e');
  const zeros = Number(exponent);
  if (zeros < 0 || zeros > 1_000) return undefined;
  return BigInt(digits) * 10n ** BigInt(zeros);
}
