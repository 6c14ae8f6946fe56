import { Pace, type Turn } from '../kernel/pace.ts';

/** A second's refusals, divided by this, may go out at once: few, since those who are let through wait for as long as these take. */
const AT_ONCE = 15;
/** How long one waits at most, in milliseconds, and how many may. */
const ROOM = { waitMs: 1000, maxWaiting: 4096 } as const;
/** Milliseconds after a request that was let through in which refusals make room for others like it. */
const AFTERWARDS_MS = 1000;

/** What a refusal goes out on: a connection, or a stream of one. It says once when it is gone. */
export interface Line {
  once(event: 'close', listener: () => void): unknown;
  off(event: 'close', listener: () => void): unknown;
}

/**
 * How fast refusals go out. Who is refused and sends again and again, as fast as it is answered, would take the time of those who are let
 * through: so, while there are such, refusals beyond a rate wait a moment, those of different callers in turn. Nobody who is let through
 * ever waits here, and where everybody is refused nobody does.
 */
export class RefusalPace {
  readonly #pace: Pace;
  /** Requests that are let through at the moment: answers that last, and WebSockets, have the same right as short ones. */
  #underWay = 0;
  #lastAt = Number.NEGATIVE_INFINITY;
  #stopped = false;

  /** @param perSecond refusals that go out in a second while requests are let through too */
  constructor(perSecond: number) {
    this.#pace = new Pace({ ...ROOM, perSecond, burst: Math.ceil(perSecond / AT_ONCE) });
  }

  /** Refusals that wait. */
  get waiting(): number {
    return this.#pace.waiting;
  }

  /** A request is let through. */
  begin(): void {
    this.#underWay++;
  }

  /** It is over. @param now of `performance.now()` */
  end(now: number): void {
    this.#underWay--;
    this.#lastAt = now;
  }

  /** Until the turn of a refusal, or the end of what it would go out on; null: it is now. @param caller who is refused */
  turn(caller: string, line: Line): Promise<void> | null {
    if (this.#stopped) return null;
    if (this.#underWay === 0 && performance.now() - this.#lastAt > AFTERWARDS_MS) return null;
    const turn = this.#pace.turn(caller);
    return turn === null ? null : wait(turn, line);
  }

  /** From now on nothing waits. */
  stop(): void {
    this.#stopped = true;
    this.#pace.dismiss();
  }
}

/** A caller that is gone takes no turn from others. */
async function wait(turn: Turn, line: Line): Promise<void> {
  const gone = () => turn.leave();
  line.once('close', gone);
  await turn.came;
  line.off('close', gone);
}
