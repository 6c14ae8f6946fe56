/**
 * One command for all claims of a turn, each decided atomically and as if it had come alone. KEYS: the epoch's, which lives as long as the
 * data (after FLUSHALL or a restart without persistence it is gone or another in the same instant as the used proofs), then the proofs'.
 * ARGV: the epoch as we know it, then for each proof the milliseconds to live. Answers -1 for another epoch, else 1 (first) or 0: a number for one proof, a list for more.
 */
const CLAIM = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local answers = {}
for i = 2, #KEYS do
  answers[i - 1] = redis.call('SET', KEYS[i], '1', 'NX', 'PX', ARGV[i]) and 1 or 0
end
return #answers == 1 and answers[1] or answers`;

/** Claims in one command at most: Redis serves nobody else while it runs. */
const MOST_CLAIMS = 64;

/** One claim, on its way into a batch. */
export interface QueuedClaim {
  /** Part of the keys that one node of a cluster holds; empty without a cluster. */
  readonly bucket: string;
  /** What the epoch of the bucket must be. */
  readonly epoch: string;
  readonly epochKey: string;
  readonly key: string;
  readonly lifeMs: number;
}

/** Sends a script, how many keys there are, the keys and the arguments. Rejects when it is not known what became of it. */
export type SendScript = (script: string, keys: number, ...rest: string[]) => Promise<unknown>;

/**
 * Gathers the claims of one turn of the event loop: they leave in one command with the turn's end, since a command for each costs, here and
 * in Redis, several times what the claim itself does. A claim that is alone leaves alone, as soon.
 */
export class ClaimBatches {
  readonly #send: SendScript;
  /** One for each bucket, and hardly ever more than a few. An array, since a Map that is emptied each turn leaves all it held to the collector of the old generation. */
  #open: Batch[] = [];

  constructor(send: SendScript) {
    this.#send = send;
  }

  /** Redis's answer for this claim: 1, 0 or -1. Rejects, for every claim of the command, when there is none. */
  add(claim: QueuedClaim): Promise<unknown> {
    let batch = this.#open.findLast((open) => open.takes(claim));
    if (batch === undefined) {
      if (this.#open.length === 0) setImmediate(() => this.#leaveAll());
      batch = new Batch(claim);
      this.#open.push(batch);
    }
    return batch.add(claim);
  }

  #leaveAll(): void {
    const batches = this.#open;
    this.#open = [];
    for (const batch of batches) this.#leave(batch);
  }

  #leave(batch: Batch): void {
    this.#send(CLAIM, batch.size + 1, ...batch.words()).then(
      (reply) => batch.answer(reply),
      (error) => batch.fail(error),
    );
  }
}

class Batch {
  readonly #bucket: string;
  readonly #epoch: string;
  readonly #keys: string[];
  readonly #lives: string[] = [];
  readonly #waiting: { resolve(reply: unknown): void; reject(error: unknown): void }[] = [];

  constructor({ bucket, epoch, epochKey }: QueuedClaim) {
    this.#bucket = bucket;
    this.#epoch = epoch;
    this.#keys = [epochKey];
  }

  get size(): number {
    return this.#waiting.length;
  }

  takes({ bucket, epoch }: QueuedClaim): boolean {
    return this.#bucket === bucket && this.#epoch === epoch && this.size < MOST_CLAIMS;
  }

  add({ key, lifeMs }: QueuedClaim): Promise<unknown> {
    this.#keys.push(key);
    this.#lives.push(String(lifeMs));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  words(): string[] {
    return [...this.#keys, this.#epoch, ...this.#lives];
  }

  answer(reply: unknown): void {
    for (const [index, { resolve }] of this.#waiting.entries()) {
      resolve(Array.isArray(reply) ? reply[index] : reply);
    }
  }

  fail(error: unknown): void {
    for (const { reject } of this.#waiting) reject(error);
  }
}
