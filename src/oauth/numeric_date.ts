/** 9999-12-31T23:59:59Z: what lies beyond is not seconds (milliseconds, for instance, which would make a token live for millennia). */
const MAX_NUMERIC_DATE = 253_402_300_799;

/** Whether a value is a time as claims give it: seconds since the Unix epoch, fractions allowed (RFC 7519 §2, NumericDate). */
export function isNumericDate(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= MAX_NUMERIC_DATE;
}
