/** The one source of time, injected everywhere: milliseconds since the Unix epoch. */
export type Clock = () => number;

/** Whole seconds since the Unix epoch, the unit of JWT claims (RFC 7519 §2, NumericDate). */
export function secondsOf(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}
