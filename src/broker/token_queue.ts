/** Bounds of the queue. */
export interface TokenQueueOptions {
  /** Requests at the same time. */
  readonly connections: number;
  /** Requests that wait at most. */
  readonly limit: number;
  /** Milliseconds that one may wait. */
  readonly timeoutMs: number;
}

/** Nothing was sent: the queue is full, or the server asked to wait for longer than a request may. */
export class QueueBusy extends Error {
  override readonly name = 'QueueBusy';
  /** Seconds. */
  readonly retryAfter: number;

  constructor(why: string, retryAfter: number) {
    super(why);
    this.retryAfter = retryAfter;
  }
}

interface Waiting {
  readonly go: () => void;
  readonly giveUp: (error: QueueBusy) => void;
  readonly timer: NodeJS.Timeout;
}

/** Seconds to wait where nobody says. */
const USUAL_RETRY = 2;

/**
 * Lets so many requests to the authorization server run at the same time; more wait in order, for a bounded time, a bounded number of them.
 * When the server says `Retry-After`, nothing is sent before that (RFC 9110 §10.2.3).
 */
export class TokenQueue {
  readonly #options: TokenQueueOptions;
  readonly #waiting = new Set<Waiting>();
  #running = 0;
  #pausedUntil = 0;
  #wake: NodeJS.Timeout | undefined;

  constructor(options: TokenQueueOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Runs a request in its turn. @throws QueueBusy when its turn would not come in time */
  async run<T>(request: () => Promise<T>): Promise<T> {
    await this.#turn();
    try {
      return await request();
    } finally {
      this.#running--;
      this.#advance();
    }
  }

  /** The server asked not to be asked for so many seconds. */
  pause(seconds: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + seconds * 1000);
    this.#wakeLater();
    // Who cannot wait for so long is told now instead of later.
    if (this.#pauseLeft() <= this.#options.timeoutMs) return;
    for (const one of [...this.#waiting]) this.#dismiss(one, 'the authorization server asked to wait');
  }

  close(): void {
    clearTimeout(this.#wake);
    for (const one of [...this.#waiting]) this.#dismiss(one, 'the broker stops');
  }

  #turn(): Promise<void> | undefined {
    const left = this.#pauseLeft();
    if (left === 0 && this.#running < this.#options.connections) {
      this.#running++;
      return undefined;
    }
    const { limit, timeoutMs } = this.#options;
    if (left > timeoutMs) throw new QueueBusy('the authorization server asked to wait', this.#retryAfter());
    if (this.#waiting.size >= limit) throw new QueueBusy('too many requests wait', this.#retryAfter());
    return new Promise((go, giveUp) => {
      const one: Waiting = {
        go,
        giveUp,
        timer: setTimeout(() => this.#dismiss(one, 'waited for too long'), timeoutMs),
      };
      this.#waiting.add(one);
    });
  }

  /** A timer may be a little early, and must not be the last one then. */
  #wakeLater(): void {
    clearTimeout(this.#wake);
    const wake = () => (this.#pauseLeft() > 0 ? this.#wakeLater() : this.#advance());
    this.#wake = setTimeout(wake, Math.ceil(this.#pauseLeft())).unref();
  }

  #advance(): void {
    for (const one of this.#waiting) {
      if (this.#pauseLeft() > 0 || this.#running >= this.#options.connections) return;
      this.#waiting.delete(one);
      clearTimeout(one.timer);
      this.#running++;
      one.go();
    }
  }

  #dismiss(one: Waiting, why: string): void {
    this.#waiting.delete(one);
    clearTimeout(one.timer);
    one.giveUp(new QueueBusy(why, this.#retryAfter()));
  }

  #pauseLeft(): number {
    return Math.max(0, this.#pausedUntil - performance.now());
  }

  #retryAfter(): number {
    return Math.max(USUAL_RETRY, Math.ceil(this.#pauseLeft() / 1000));
  }
}
