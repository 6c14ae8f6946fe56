import { type Clock, secondsOf } from '../kernel/clock.ts';
import { makeProof } from '../oauth/dpop_proof.ts';
import type { SigningKey } from '../oauth/signing_key.ts';

/** Milliseconds that another clock may be away from this machine's; further away it is not followed. */
const MAXIMUM_OFFSET_MS = 300_000;
/** RFC 9449 §8.1: a nonce is made of NQCHAR. */
const NONCE = /^[\x21\x23-\x5b\x5d-\x7e]{1,1024}$/;

/** What an answer said, and between which moments of this machine's clock it was made, in milliseconds. */
export interface AnswerSeen {
  readonly nonce: string | null;
  readonly date: string | null;
  readonly sentAt: number;
  readonly receivedAt: number;
}

/** A proof to be made; its nonce and its time come from the memory. */
export interface ProofFor {
  readonly key: SigningKey;
  readonly method: string;
  /** Absolute URL. */
  readonly url: string;
  readonly accessToken?: string;
}

/**
 * What is known of one server in one role: the nonce that it gave last (RFC 9449 §8, §9: those of authorization server and resource server
 * are kept apart), and how far its clock is from this machine's, by its `Date`.
 */
export class ServerMemory {
  readonly #clock: Clock;
  readonly #onSkew: (seconds: number) => void;
  #nonce: string | undefined;
  #offsetMs = 0;
  #complained = false;

  /** `onSkew` is told once when the clocks are too far apart to be brought together: seconds that the server is ahead. */
  constructor(clock: Clock, onSkew: (seconds: number) => void = () => undefined) {
    this.#clock = clock;
    this.#onSkew = onSkew;
  }

  /** Whether the server gave a nonce already. */
  get hasNonce(): boolean {
    return this.#nonce !== undefined;
  }

  /** Milliseconds since the Unix epoch, by the server's clock as far as it is known. */
  readonly clock: Clock = () => this.#clock() + this.#offsetMs;

  /** Milliseconds that the server's clock is ahead of this machine's. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  /** Learns from an answer. @returns whether it gave a nonce that the next proof will carry */
  learn({ nonce, date, sentAt, receivedAt }: AnswerSeen): boolean {
    if (date !== null) this.#learnTime(Date.parse(date), sentAt, receivedAt);
    if (nonce === null || !NONCE.test(nonce)) return false;
    this.#nonce = nonce;
    return true;
  }

  /** Makes a proof for one attempt. */
  prove({ key, method, url, accessToken }: ProofFor): Promise<string> {
    return makeProof({
      privateKey: key.privateKey,
      publicJwk: key.publicJwk,
      alg: key.alg,
      method,
      url,
      clock: this.clock,
      ...(accessToken === undefined ? {} : { accessToken }),
      ...(this.#nonce === undefined ? {} : { nonce: this.#nonce }),
    });
  }

  /** `Date` names the second in which the answer was made, at some moment between sending and receiving: an offset within these bounds is kept. */
  #learnTime(dateMs: number, sentAt: number, receivedAt: number): void {
    if (Number.isNaN(dateMs)) return;
    const least = dateMs - receivedAt;
    const most = dateMs + 999 - sentAt;
    if (least > most || (this.#offsetMs >= least && this.#offsetMs <= most)) return;
    const offset = this.#offsetMs < least ? least : most;
    if (Math.abs(offset) <= MAXIMUM_OFFSET_MS) this.#offsetMs = offset;
    else if (!this.#complained) {
      this.#complained = true;
      this.#onSkew(secondsOf(offset));
    }
  }
}
