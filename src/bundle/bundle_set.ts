import type { PolicyArtifact } from '../policy/artifact.ts';
import { refuseOlder, type Superseded, supersede } from './age.ts';
import { assemble } from './assemble.ts';
import { type Bundle, type BundleData, type BundleDelta, BundleRefused, shownRevision } from './bundle.ts';
import { applyDelta } from './patch.ts';
import { type BundleRules, readBundleFile } from './read.ts';

/** Puts a policy that `make` yields into use, in place of the one before. @returns null, or why it was not */
export type Activate = (make: () => Promise<PolicyArtifact>, about: string) => Promise<string | null>;

/** What a set of bundles is made with. */
export interface BundleSetParts {
  readonly entrypoint: string;
  /** Reads the data that is merged over that of the bundles. @throws Error that names the file */
  readonly readData: () => Promise<BundleData>;
  readonly activate: Activate;
  /** Told of a bundle that was refused before there was a policy to put into use. */
  readonly onRefused: (name: string, why: string) => void;
  readonly rollback: 'refuse' | 'allow';
}

/** A bundle file that came, and what it must be. */
export interface Offer {
  readonly bytes: Uint8Array;
  readonly rules: BundleRules;
  /** Revisions that were in use before what is in `bytes`; for a bundle that was kept from an earlier run. */
  readonly superseded?: Superseded;
}

/** What became of an offer. */
export type OfferOutcome =
  | {
      readonly ok: true;
      readonly type: 'snapshot' | 'delta';
      readonly bundle: Bundle;
      readonly superseded: Superseded;
      /** Whether it is in use; false while other bundles that belong to the policy are missing. */
      readonly live: boolean;
    }
  | { readonly ok: false; readonly why: string };

interface Member {
  readonly bundle: Bundle;
  readonly superseded: Superseded;
}

/**
 * The bundles that make up the policy together. One that is new is read, checked and put together with the others; only when the whole
 * policy is in use it takes the place of the one before. One after the other.
 */
export class BundleSet {
  readonly #parts: BundleSetParts;
  readonly #mayRollBack = new Set<string>();
  #names: ReadonlySet<string>;
  #members: ReadonlyMap<string, Member> = new Map();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(names: Iterable<string>, parts: BundleSetParts) {
    this.#names = new Set(names);
    this.#parts = parts;
  }

  /** Whether every bundle that belongs to the policy is there. */
  get complete(): boolean {
    return [...this.#names].every((name) => this.#members.has(name));
  }

  /** Takes a bundle into use, if the policy that it makes can be used. */
  offer(name: string, offer: Offer): Promise<OfferOutcome> {
    return this.#inTurn(() => this.#take(name, offer));
  }

  /** Puts the bundles together again: their own data, or which ones belong to the policy, changed. @returns null, or why not */
  reassemble(names: Iterable<string> = this.#names): Promise<string | null> {
    return this.#inTurn(async () => {
      this.#names = new Set(names);
      if (!this.complete) return null;
      const kept = new Map([...this.#members].filter(([name]) => this.#names.has(name)));
      const why = await this.#activate(kept, 'bundles');
      if (why === null) this.#members = kept;
      return why;
    });
  }

  /** Lets the next bundle of a name be older than the one in use, once. @returns whether there is a bundle of that name */
  allowRollBack(name: string): boolean {
    if (!this.#names.has(name)) return false;
    this.#mayRollBack.add(name);
    return true;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #take(name: string, offer: Offer): Promise<OfferOutcome> {
    try {
      const read = await readBundleFile(offer.bytes, offer.rules);
      const before = this.#members.get(name);
      const bundle = wholeBundle(read, before?.bundle);
      if (before !== undefined) this.#refuseOlder(name, before, bundle);
      const known = offer.superseded ?? before?.superseded ?? [];
      const superseded = before === undefined ? known : supersede(known, before.bundle, bundle.revision);
      const members = new Map(this.#members).set(name, { bundle, superseded });
      const live = [...this.#names].every((one) => members.has(one));
      if (live) {
        const wanted = new Map([...members].filter(([one]) => this.#names.has(one)));
        const why = await this.#activate(wanted, name);
        if (why !== null) return { ok: false, why };
      }
      this.#members = members;
      this.#mayRollBack.delete(name);
      return { ok: true, type: read.type, bundle, superseded, live };
    } catch (error) {
      const why = (error as Error).message;
      this.#parts.onRefused(name, why);
      return { ok: false, why };
    }
  }

  #refuseOlder(name: string, before: Member, next: Bundle): void {
    if (this.#parts.rollback === 'allow' || this.#mayRollBack.has(name)) return;
    refuseOlder(before.bundle, next, before.superseded);
  }

  #activate(members: ReadonlyMap<string, Member>, about: string): Promise<string | null> {
    const { entrypoint, readData, activate } = this.#parts;
    // In the order of the configuration, so that the same bundles make the same policy.
    const bundles = new Map([...this.#names].map((name) => [name, (members.get(name) as Member).bundle]));
    return activate(async () => assemble(bundles, { entrypoint, data: await readData() }), about);
  }
}

function wholeBundle(read: Bundle | BundleDelta, before: Bundle | undefined): Bundle {
  if (read.type === 'snapshot') return read;
  if (before === undefined)
    throw new BundleRefused('content', 'it is a delta bundle, and there is nothing that it changes');
  return applyDelta(before, read);
}

/** The revision of a bundle as it is shown, and kept for status reports. */
export function revisionOf(outcome: Extract<OfferOutcome, { ok: true }>): string {
  return shownRevision(outcome.bundle);
}
