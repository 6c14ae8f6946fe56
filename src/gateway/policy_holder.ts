import type { Clock } from '../kernel/clock.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { activatePolicy, type LoadedPolicy } from '../policy/load.ts';
import type { Log } from '../telemetry/log.ts';

/** What is known of the policy's life, for readiness and metrics. */
export interface PolicyStatus {
  readonly revision: string;
  /** Milliseconds since the Unix epoch. */
  readonly activatedAt: number;
  readonly activations: number;
  readonly failures: number;
  /** Why the newest change was not taken; null when the newest one is live. */
  readonly pendingFailure: string | null;
}

/**
 * The one reference to the live policy. A new one is built and tried whole, then takes its place between two requests; when anything
 * about it fails, the old one stays and the reason is kept.
 */
export class PolicyHolder {
  readonly #clock: Clock;
  readonly #log: Log;
  #live: LoadedPolicy;
  #activatedAt: number;
  #activations = 1;
  #failures = 0;
  /** Why the newest change was not taken, by what changed. */
  readonly #problems = new Map<string, string>();
  #turn: Promise<unknown> = Promise.resolve();
  #onReplaced: () => void = () => undefined;

  private constructor(live: LoadedPolicy, { clock, log }: { clock: Clock; log: Log }) {
    this.#live = live;
    this.#clock = clock;
    this.#log = log;
    this.#activatedAt = clock();
  }

  /** Tries the first policy. @throws Error when it cannot be used: without a policy nothing starts */
  static async start(artifact: PolicyArtifact, parts: { clock: Clock; log: Log }): Promise<PolicyHolder> {
    return new PolicyHolder(await activatePolicy(artifact), parts);
  }

  readonly live = (): LoadedPolicy => this.#live;

  /** Calls `listener` each time another policy has taken the place of the live one. There is one listener. */
  onReplaced(listener: () => void): void {
    this.#onReplaced = listener;
  }

  /**
   * Puts the policy that `make` yields in place of the live one, if it can be used. One after the other, so that an older one never
   * overtakes a newer one. @returns whether it is live now
   */
  async replace(make: () => Promise<PolicyArtifact>): Promise<boolean> {
    return (await this.tryReplace(make, 'policy')) === null;
  }

  /**
   * The same for one of several things that a policy is made of.
   * @param about which one; a failure is shown until something newer about the same is live
   * @returns null when it is live now, or why it is not
   */
  tryReplace(make: () => Promise<PolicyArtifact>, about: string): Promise<string | null> {
    const turn = this.#turn.then(() => this.#replaceNow(make, about));
    this.#turn = turn;
    return turn;
  }

  async #replaceNow(make: () => Promise<PolicyArtifact>, about: string): Promise<string | null> {
    try {
      const artifact = await make();
      if (artifact.revision !== this.#live.revision) {
        this.#live = await activatePolicy(artifact);
        this.#activatedAt = this.#clock();
        this.#activations++;
        this.#log.info({ revision: this.#live.revision, bundles: artifact.bundles }, 'the policy was replaced');
        this.#onReplaced();
      }
      this.#problems.delete(about);
      return null;
    } catch (error) {
      const why = (error as Error).message;
      this.#failures++;
      this.#problems.set(about, why);
      this.#log.error({ revision: this.#live.revision, why }, 'the new policy was refused; the old one stays');
      return why;
    }
  }

  /** Counts a change that was refused before there was a policy to try. @param about as of `tryReplace` */
  refuse(about: string, why: string): void {
    this.#failures++;
    this.note(about, why);
    this.#log.error({ revision: this.#live.revision, why }, 'the new policy was refused; the old one stays');
  }

  /** Shows what stands in the way of something newer, or, with null, that nothing does. @param about as of `tryReplace` */
  note(about: string, why: string | null): void {
    if (why === null) this.#problems.delete(about);
    else this.#problems.set(about, why);
  }

  status(): PolicyStatus {
    return {
      revision: this.#live.revision,
      activatedAt: this.#activatedAt,
      activations: this.#activations,
      failures: this.#failures,
      pendingFailure: this.#problems.size === 0 ? null : [...this.#problems.values()].join('; '),
    };
  }
}
