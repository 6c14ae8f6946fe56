import { RegoNumber, RegoObject, RegoSet, type RegoValue, sortedEntries, sortedMembers } from './rego_value.ts';

/**
 * `sprintf` with Go's rules, as OPA uses them: numbers are int64, big integers or float64, strings are strings, any
 * other value is its Rego text. Supported are the verbs v, s, d, q, t, x, X, o, b, f, F and g with the flags `+`, `-`,
 * space and `0`, width and precision. What else Go knows (`%e`, `%c`, `%U`, `%T`, `%p`, `#`, `*`, argument numbers)
 * throws, so that nothing is decided on a text that OPA would have written differently.
 */
export function sprintf(format: RegoValue | undefined, operands: RegoValue | undefined): string | undefined {
  if (typeof format !== 'string' || !Array.isArray(operands)) return undefined;
  const values = (operands as readonly RegoValue[]).map(toArgument);
  let used = 0;
  const text = format.replace(DIRECTIVE, (source, flags: string, width = '', precision, verb: string) => {
    if (verb === '') return '%!(NOVERB)';
    if (verb === '%') return '%';
    const directive = readDirective(source, flags, width, precision, verb);
    const argument = values[used];
    if (argument === undefined) return `%!${verb}(MISSING)`;
    used += 1;
    return render(directive, argument);
  });
  const extra = values.slice(used).map((argument) => `${goType(argument)}=${plainText(argument)}`);
  return extra.length > 0 ? `${text}%!(EXTRA ${extra.join(', ')})` : text;
}

const DIRECTIVE = /%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d*))?([\s\S]?)/gu;
const UNSUPPORTED_VERBS = new Set(['e', 'E', 'G', 'c', 'U', 'T', 'p', 'O', '[', 'w']);
const LARGEST_WIDTH = 10_000;
const SMALLEST_INT64 = -(2n ** 63n);
const LARGEST_INT64 = 2n ** 63n - 1n;

type Argument =
  | { readonly kind: 'integer'; readonly value: bigint }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string };

interface Directive {
  readonly source: string;
  readonly verb: string;
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
}

function unsupported(source: string): Error {
  return new Error(`sprintf: "${source}" is not available in the gateway`);
}

function readDirective(source: string, flags: string, width: string, precision: string | undefined, verb: string) {
  const precisionValue = precision === undefined ? undefined : Number(precision);
  const tooLarge = Number(width) > LARGEST_WIDTH || (precisionValue ?? 0) > LARGEST_WIDTH;
  const star = width === '*' || precision === '*';
  if (star || tooLarge || flags.includes('#') || UNSUPPORTED_VERBS.has(verb)) throw unsupported(source);
  return { source, verb, flags, width: Number(width), precision: precisionValue } satisfies Directive;
}

function toArgument(value: RegoValue): Argument {
  if (typeof value === 'string') return { kind: 'string', value };
  if (!(value instanceof RegoNumber)) return { kind: 'string', value: regoText(value) };
  if (!/[.eE]/.test(value.text)) return { kind: 'integer', value: BigInt(value.text) };
  const float = Number(value.text);
  return Number.isFinite(float) ? { kind: 'float', value: float } : { kind: 'string', value: value.text };
}

function isBig(value: bigint): boolean {
  return value < SMALLEST_INT64 || value > LARGEST_INT64;
}

function goType(argument: Argument): string {
  if (argument.kind === 'integer') return isBig(argument.value) ? '*big.Int' : 'int64';
  return argument.kind === 'float' ? 'float64' : 'string';
}

/** What `%v` writes. */
function plainText(argument: Argument): string {
  return argument.kind === 'float' ? shortestFloat(argument.value) : String(argument.value);
}

function render(directive: Directive, argument: Argument): string {
  const rendered =
    argument.kind === 'string' ? renderString(directive, argument.value) : renderNumber(directive, argument);
  if (rendered !== undefined) return rendered;
  // A verb that does not fit is a mistake that Go writes into the text.
  if (directive.source !== `%${directive.verb}`) throw unsupported(directive.source);
  return `%!${directive.verb}(${goType(argument).replace('*', '')}=${plainText(argument)})`;
}

function renderString({ source, verb, flags, width, precision }: Directive, value: string): string | undefined {
  const cut = precision === undefined ? value : [...value].slice(0, precision).join('');
  let text: string;
  if (verb === 's' || verb === 'v') text = cut;
  else if (verb === 'q' && !flags.includes('+')) text = goQuote(cut);
  else if ((verb === 'x' || verb === 'X') && precision === undefined && !flags.includes(' ')) {
    const hex = Buffer.from(value).toString('hex');
    text = verb === 'x' ? hex : hex.toUpperCase();
  } else if (verb === 'q' || verb === 'x' || verb === 'X') throw unsupported(source);
  else return undefined;
  return pad(text, width, flags);
}

function pad(text: string, width: number, flags: string): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes('-')) return text + ' '.repeat(missing);
  return (flags.includes('0') ? '0' : ' ').repeat(missing) + text;
}

function renderNumber(directive: Directive, argument: Exclude<Argument, { kind: 'string' }>): string | undefined {
  const { verb, width, precision } = directive;
  // Go reads `%+v` as another way to print structures; its big integers do not.
  const structural = verb === 'v' && !(argument.kind === 'integer' && isBig(argument.value));
  const flags = structural ? directive.flags.replaceAll('+', '') : directive.flags;
  const digits =
    argument.kind === 'integer' ? integerDigits(directive, argument.value) : floatDigits(directive, argument.value);
  if (digits === undefined) return undefined;
  const negative =
    argument.kind === 'integer' ? argument.value < 0n : argument.value < 0 || Object.is(argument.value, -0);
  const sign = negative ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '';
  const zeros = flags.includes('0') && !flags.includes('-') && (argument.kind === 'float' || precision === undefined);
  if (zeros) return sign + digits.padStart(width - sign.length, '0');
  return pad(sign + digits, width, flags.replaceAll('0', ''));
}

const BASES: Readonly<Record<string, number>> = { v: 10, d: 10, b: 2, o: 8, x: 16, X: 16 };

function integerDigits({ source, verb, precision }: Directive, value: bigint): string | undefined {
  const big = isBig(value);
  if (verb === 'q' && !big) throw unsupported(source);
  const base = big && verb === 's' ? 10 : BASES[verb];
  if (base === undefined) return undefined;
  if (precision === 0 && value === 0n) throw unsupported(source);
  const digits = (value < 0n ? -value : value).toString(base);
  return (verb === 'X' ? digits.toUpperCase() : digits).padStart(precision ?? 0, '0');
}

function floatDigits({ source, verb, precision }: Directive, value: number): string | undefined {
  if (verb === 'f' || verb === 'F') return fixedFloat(Math.abs(value), precision ?? 6);
  if (verb === 'x' || verb === 'X' || verb === 'b') throw unsupported(source);
  if (verb !== 'v' && verb !== 'g') return undefined;
  if (precision !== undefined) throw unsupported(source);
  return shortestFloat(Math.abs(value));
}

/** The fewest digits that name the number, with an exponent below 1e-4 and from 1e6 on. */
function shortestFloat(value: number): string {
  const [mantissa = '', exponentText = '0'] = value.toExponential().split('e');
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 6) {
    const digits = String(Math.abs(exponent)).padStart(2, '0');
    return `${Object.is(value, -0) ? '-' : ''}${mantissa}e${exponent < 0 ? '-' : '+'}${digits}`;
  }
  if (Object.is(value, -0)) return '-0';
  return exponent < 0 ? value.toFixed(mantissa.replace(/[-.]/g, '').length - 1 - exponent) : String(value);
}

/** Exact decimal digits, rounded half to even as Go does; `toFixed` rounds halves up. */
function fixedFloat(value: number, precision: number): string {
  let denominator = 1n;
  let scaled = value;
  while (!Number.isInteger(scaled)) {
    scaled *= 2;
    denominator *= 2n;
  }
  const numerator = BigInt(scaled) * 10n ** BigInt(precision);
  let rounded = numerator / denominator;
  const twice = (numerator % denominator) * 2n;
  if (twice > denominator || (twice === denominator && rounded % 2n === 1n)) rounded += 1n;
  const digits = String(rounded).padStart(precision + 1, '0');
  return precision === 0 ? digits : `${digits.slice(0, -precision)}.${digits.slice(-precision)}`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '"': '\\"',
  '\\': '\\\\',
};

/** A Go string literal: what Go takes for printable stays, everything else is escaped. */
function goQuote(text: string): string {
  const quoted = [...text].map((character) => {
    const escaped = ESCAPES[character];
    if (escaped !== undefined) return escaped;
    if (/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(character)) return character;
    const code = (character.codePointAt(0) ?? 0).toString(16);
    if (code.length <= 2 && (character < ' ' || character === '\x7f')) return `\\x${code.padStart(2, '0')}`;
    return code.length <= 4 ? `\\u${code.padStart(4, '0')}` : `\\U${code.padStart(8, '0')}`;
  });
  return `"${quoted.join('')}"`;
}

/** A value as Rego source. */
function regoText(value: RegoValue): string {
  if (typeof value === 'string') return goQuote(value);
  if (value instanceof RegoNumber) return value.text;
  if (value instanceof RegoSet)
    return value.members.length === 0 ? 'set()' : `{${sortedMembers(value).map(regoText).join(', ')}}`;
  if (value instanceof RegoObject) {
    return `{${sortedEntries(value)
      .map(([key, entry]) => `${regoText(key)}: ${regoText(entry)}`)
      .join(', ')}}`;
  }
  if (Array.isArray(value)) return `[${value.map(regoText).join(', ')}]`;
  return String(value);
}
