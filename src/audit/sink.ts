/** A place that takes records. Calls of `write` never overlap. */
export interface Sink {
  /** Fixed words for metrics and the log, such as `stdout`. */
  readonly name: string;
  /** Appends whole lines; settles when they are in place or it is known that they are not, and never rejects. */
  write(lines: Buffer): Promise<Written>;
  /** Opens the file anew under its name, for log rotation; nothing where there is no file. */
  reopen(): void;
  /** Makes what was written durable and lets go; a write under way ends with an error. */
  close(): Promise<void>;
}

/** How far a write came. */
export interface Written {
  /** Bytes that are in place: always whole lines, so that the rest can be tried again as it is. */
  readonly bytes: number;
  /** Why not all of them; null when they are. */
  readonly error: Error | null;
}

const LINE_FEED = 0x0a;

/** Bytes of the whole lines among the first `end` bytes. */
export function wholeLines(lines: Buffer, end: number): number {
  return end === 0 ? 0 : lines.lastIndexOf(LINE_FEED, end - 1) + 1;
}

/** How many lines there are. */
export function countLines(lines: Buffer): number {
  let count = 0;
  for (let at = lines.indexOf(LINE_FEED); at >= 0; at = lines.indexOf(LINE_FEED, at + 1)) count++;
  return count;
}
