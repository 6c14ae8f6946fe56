import { isDeepStrictEqual } from 'node:util';
import { type Output, styled } from '../../src/demo/words.ts';

/** A step that did not go as it must; the story ends there. */
export class NotAsExpected extends Error {}

/** What is over sooner is not worth a line. */
const SHORTEST_MS = 10;

/** Tells what is played, step by step: what was sent, what came back, how long it took. */
export class Story {
  readonly #output: Output;
  readonly #stop: AbortSignal;
  #number = 0;

  constructor(output: Output, stop: AbortSignal) {
    this.#output = output;
    this.#stop = stop;
  }

  line(text = ''): void {
    this.#output.line(text);
  }

  bold(text: string): void {
    this.#output.line(styled(this.#output, 'bold', text));
  }

  /** Plays one step, and says how long it took when one had to wait. @throws what the step throws; the reason of `stop` */
  async step<Result>(title: string, play: () => Promise<Result>): Promise<Result> {
    this.#stop.throwIfAborted();
    this.line();
    this.bold(`${++this.#number}. ${title}`);
    const started = performance.now();
    const result = await play();
    const took = performance.now() - started;
    if (took >= SHORTEST_MS) this.row('took', styled(this.#output, 'dim', duration(took)));
    return result;
  }

  /** A row below a step. An empty name continues the row before. */
  row(name: string, text: string): void {
    this.#output.line(`   ${styled(this.#output, 'dim', name.padEnd(9))} ${text}`);
  }

  good(name: string, text: string): void {
    this.row(name, styled(this.#output, 'green', text));
  }

  bad(name: string, text: string): void {
    this.row(name, styled(this.#output, 'red', text));
  }

  /** @throws NotAsExpected when what was seen is not what must be */
  expect(what: string, seen: unknown, must: unknown): void {
    if (isDeepStrictEqual(seen, must)) return;
    throw new NotAsExpected(`${what}: expected ${JSON.stringify(must)}, and it was ${JSON.stringify(seen)}`);
  }

  /** @throws NotAsExpected when it does not hold */
  ensure(what: string, holds: boolean): void {
    if (!holds) throw new NotAsExpected(`this must be, and is not: ${what}`);
  }
}

/** Milliseconds as people read them. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
