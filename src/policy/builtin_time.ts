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

/**
 * The second in which a time lies, in UTC. OPA also takes `[ns, zone, layout]`; zones other than UTC depend on the
 * machine's zone database there, so they are no part of what a policy may use here.
 */
function secondOf(time: RegoValue | undefined): Date | undefined {
  const [ns, zone] = Array.isArray(time) ? (time as readonly RegoValue[]) : [time];
  if (zone !== undefined && zone !== '' && zone !== 'UTC') {
    if (typeof zone !== 'string') return undefined;
    throw new Error(`time zone "${zone}": a policy in the gateway knows UTC only`);
  }
  const value = ns instanceof RegoNumber ? integerOf(ns) : undefined;
  if (value === undefined || value < SMALLEST_INT64 || value > LARGEST_INT64) return undefined;
  const remainder = value % NS_PER_SECOND;
  const seconds = (value - remainder) / NS_PER_SECOND - (remainder < 0n ? 1n : 0n);
  return new Date(Number(seconds) * 1000);
}

/** `time.clock`: hour, minute, second in UTC. */
export function clockOf(time: RegoValue | undefined): readonly number[] | undefined {
  const date = secondOf(time);
  return date && [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
}

/** `time.date`: year, month from 1, day of the month in UTC. */
export function dateOf(time: RegoValue | undefined): readonly number[] | undefined {
  const date = secondOf(time);
  return date && [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()];
}

/** `time.weekday`: the English name of the day in UTC. */
export function weekdayOf(time: RegoValue | undefined): string | undefined {
  const date = secondOf(time);
  return date && WEEKDAYS[date.getUTCDay()];
}
