import { createRequire } from 'node:module';
import process from 'node:process';
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Clock } from '../kernel/clock.ts';
import { showable } from './showable.ts';

/** The program's log: what the operator reads. Records of requests are not written here but by stage 6. */
export type Log = Logger;

/** How the log is written. */
export interface LogOptions {
  readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
  /** Lines for people instead of JSON. Absent: when standard error is a terminal. */
  readonly pretty?: boolean;
  /** Milliseconds since the Unix epoch. Absent: the system's. */
  readonly clock?: Clock;
  /** Absent: standard error, since standard output is where records may go. */
  readonly destination?: DestinationStream;
}

const STDERR = 2;

/**
 * Makes the program's log. Every line, fields of child logs included, passes the one list of what never leaves (redact.ts) and is made a
 * single line, so nothing that came from outside can forge one.
 */
export function createLog(options: LogOptions): Log {
  const clock = options.clock ?? Date.now;
  const output = options.destination ?? standardError();
  const pretty = options.pretty ?? (options.destination === undefined && isatty(STDERR));
  const print = pretty ? prettyPrinter() : (line: LogLine) => `${JSON.stringify(line)}\n`;
  return pino(
    {
      level: options.level,
      base: { pid: process.pid },
      timestamp: () => `,"time":"${new Date(clock()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError, error: describeError },
    },
    { write: (line) => output.write(print(showable(JSON.parse(line)) as LogLine)) },
  );
}

type LogLine = Readonly<Record<string, unknown>>;

/** Levels of causes that are told of an error. */
const CAUSES = 4;
const FRAMES = 12;

/** An error as it may be logged: class, code, message, and where it happened; other members may hold anything and stay out. */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  // The first lines of a stack repeat the message.
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return {
    type: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code: String(code) }),
    stack: frames.slice(0, FRAMES).map((line) => line.trim()),
    ...(error.cause === undefined || depth >= CAUSES ? {} : { cause: describeError(error.cause, depth + 1) }),
  };
}

/** Written at once, so that the last words before an exit are not lost. */
function standardError(): DestinationStream {
  const stream = pino.destination({ fd: STDERR, sync: true });
  // When nobody reads standard error any more, there is nobody to tell; the gateway must not end for it.
  stream.on('error', () => undefined);
  return stream;
}

/** Loaded on demand: a gateway in production does not carry it. Not as a transport, which would be a thread of its own. */
function prettyPrinter(): (line: LogLine) => string {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
  return prettyFactory({
    colorize: process.env['NO_COLOR'] === undefined,
    ignore: 'pid',
    translateTime: 'HH:MM:ss',
  }) as (line: LogLine) => string;
}
