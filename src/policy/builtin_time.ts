import { integerOf, RegoNumber, type RegoValue } from './rego_value.ts';

const NS_PER_MS = 1_000_000n;
const NS_PER_SECOND = 1_000_000_000n;
const SMALLEST_INT64 = -(2n ** 63n);
const LARGEST_INT64 = 2n ** 63n - 1n;
const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** What Go's time.Parse takes for RFC 3339: also an hour of one digit, and a comma before the fraction. */
const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})T(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?(?:Z|([+-])(\d{2}):(\d{2}))$/;

/** `time.now_ns`: the request's time in nanoseconds; fractions of a nanosecond are dropped. */
export function nowNs(nowMs: number): bigint {
  const wholeMs = Math.floor(nowMs);
  return BigInt(wholeMs) * NS_PER_MS + BigInt(Math.floor((nowMs - wholeMs) * 1e6));
}

function daysIn(month: number, year: number): number {
  return new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
}

/** `time.parse_rfc3339_ns`: undefined where Go cannot parse the text, or the time does not fit into 64 bits. */
export function parseRfc3339Ns(text: string): bigint | undefined {
  const parts = RFC3339.exec(text);
  if (parts === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1, 7).map(Number);
  const [fraction = '', sign = '+', zoneHour = '0', zoneMinute = '0'] = parts.slice(7);
  if (month < 1 || month > 12 || day < 1 || day > daysIn(month, year)) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  // Go allows 24 hours and 60 minutes in an offset.
  if (Number(zoneHour) > 24 || Number(zoneMinute) > 60) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const offsetMs = (Number(zoneHour) * 60 + Number(zoneMinute)) * 60_000 * (sign === '-' ? -1 : 1);
  const ns = BigInt(date.getTime() - offsetMs) * NS_PER_MS + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  return ns < SMALLEST_INT64 || ns > LARGEST_INT64 ? undefined : ns;
}

/** A time as a calendar and a clock in some zone show it; the month counts from 1. */
interface LocalTime {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

/** Between these, in seconds, OPA's zone data and this machine's were found to agree: 1970 to 2100. */
const ZONES_AGREE = { from: 0, to: 4_102_444_800 };

/** Formats by zone; the names can come from outside, so there is an end to them. */
const formats = new Map<string, Intl.DateTimeFormat>();
const FORMATS_LIMIT = 200;

/** Undefined where Go's zone database has no such name: there the case of letters counts. */
function formatOf(zone: string): Intl.DateTimeFormat | undefined {
  const known = formats.get(zone);
  if (known !== undefined) return known;
  if (!/^[A-Z][\w+/-]*$/.test(zone)) return undefined;
  let format: Intl.DateTimeFormat;
  try {
    const numeric = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric' } as const;
    format = new Intl.DateTimeFormat('en-GB', { ...numeric, second: 'numeric', hourCycle: 'h23', timeZone: zone });
  } catch {
    return undefined;
  }
  const { timeZone } = format.resolvedOptions();
  if (timeZone !== zone && timeZone.toLowerCase() === zone.toLowerCase()) return undefined;
  if (formats.size >= FORMATS_LIMIT) formats.clear();
  formats.set(zone, format);
  return format;
}

function inZone(seconds: number, zone: string): LocalTime | undefined {
  if (zone === 'Local') throw new Error('time zone "Local": decisions do not depend on the machine');
  const format = formatOf(zone);
  if (format === undefined) return undefined;
  if (seconds < ZONES_AGREE.from || seconds >= ZONES_AGREE.to) {
    throw new Error(`time zone "${zone}": known from 1970 to 2100 only`);
  }
  const parts = new Map(format.formatToParts(seconds * 1000).map(({ type, value }) => [type, Number(value)]));
  const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
  const date = { year: part('year'), month: part('month'), day: part('day') };
  return { ...date, hour: part('hour'), minute: part('minute'), second: part('second') };
}

function inUtc(seconds: number): LocalTime {
  const time = new Date(seconds * 1000);
  const date = { year: time.getUTCFullYear(), month: time.getUTCMonth() + 1, day: time.getUTCDate() };
  return { ...date, hour: time.getUTCHours(), minute: time.getUTCMinutes(), second: time.getUTCSeconds() };
}

/** Reads `ns`, `[ns]`, `[ns, zone]` or `[ns, zone, layout]`; the layout, which is for formatting, must be a string. */
function localTime(time: RegoValue | undefined): LocalTime | undefined {
  const [ns, zone = '', layout = ''] = Array.isArray(time) ? (time as readonly RegoValue[]) : [time];
  const value = ns instanceof RegoNumber ? integerOf(ns) : undefined;
  if (value === undefined || value < SMALLEST_INT64 || value > LARGEST_INT64) return undefined;
  if (typeof zone !== 'string' || typeof layout !== 'string') return undefined;
  const remainder = value % NS_PER_SECOND;
  const seconds = Number((value - remainder) / NS_PER_SECOND) - (remainder < 0n ? 1 : 0);
  return zone === '' || zone === 'UTC' ? inUtc(seconds) : inZone(seconds, zone);
}

/** `time.clock`: hour, minute, second. */
export function clockOf(time: RegoValue | undefined): readonly number[] | undefined {
  const local = localTime(time);
  return local && [local.hour, local.minute, local.second];
}

/** `time.date`: year, month from 1, day of the month. */
export function dateOf(time: RegoValue | undefined): readonly number[] | undefined {
  const local = localTime(time);
  return local && [local.year, local.month, local.day];
}

/** `time.weekday`: the English name of the day. */
export function weekdayOf(time: RegoValue | undefined): string | undefined {
  const local = localTime(time);
  return local && WEEKDAYS[new Date(Date.UTC(local.year, local.month - 1, local.day)).getUTCDay()];
}
