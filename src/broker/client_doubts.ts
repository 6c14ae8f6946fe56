import type { Clock } from '../kernel/clock.ts';

interface Doubt {
  readonly at: number;
  readonly delay: number;
}

/** Milliseconds until a client that is refused again is registered again, doubled up to the most. */
const DELAY_MS = { first: 60_000, most: 3_600_000 } as const;

/**
 * Which clients the authorization server said it does not know. One that is refused is registered again once; one that is refused still is left
 * alone for a while, since every registration leaves a client behind.
 */
export class ClientDoubts {
  readonly #byWorkflow = new Map<string, Doubt>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The client was refused. @returns whether something is to be done about it now */
  raise(workflow: string): boolean {
    const now = this.#clock();
    const before = this.#byWorkflow.get(workflow);
    if (before !== undefined && now < before.at + before.delay) return false;
    const delay = before === undefined ? DELAY_MS.first : Math.min(before.delay * 2, DELAY_MS.most);
    this.#byWorkflow.set(workflow, { at: now, delay });
    return true;
  }

  /** The client was taken, or is no more. */
  clear(workflow: string): void {
    this.#byWorkflow.delete(workflow);
  }
}
