import type { Clock } from '../kernel/clock.ts';

/** Where stage 2 tells what its operator should know; a pino logger is one. */
export interface TokenLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** What is reported, and where. */
export interface OutageLogOptions {
  readonly log: TokenLog | undefined;
  readonly clock: Clock;
  /** Stand in each line. */
  readonly fields: object;
  /** What works or does not, at the start of each line. */
  readonly subject: string;
}

/** Milliseconds between two lines at least: what fails now and then does not fill the log. */
const INTERVAL_MS = 10_000;

/** Logs when something that is asked for all the time stops working, for another reason, or works again. */
export class OutageLog {
  readonly #options: OutageLogOptions;
  #told: string | null = null;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(options: OutageLogOptions) {
    this.#options = options;
  }

  /** `problem`: in our words, null when it worked. */
  report(problem: string | null): void {
    const { log, clock, fields, subject } = this.#options;
    if (problem === this.#told) return;
    const now = clock();
    if (Math.abs(now - this.#toldAt) < INTERVAL_MS) return;
    this.#told = problem;
    this.#toldAt = now;
    if (problem === null) log?.info(fields, `${subject} works again`);
    else log?.warn({ ...fields, problem }, `${subject} fails`);
  }
}
