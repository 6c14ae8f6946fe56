/** What can stand in one roster at a time. */
export interface Enrolled {
  /** Where it stands, for the roster alone; -1: in none. */
  place: number;
}

/**
 * What is under way at the moment, in no order. A Set would do, but for its cost to the garbage collector: each time it makes room it leaves
 * its table behind, and once that lies in the old generation, all that was in it stays in memory until the next full collection
 * (docs/decisions/0062-what-outlives-a-request.md).
 */
export class Roster<Member extends Enrolled> {
  readonly #members: Member[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(member: Member): void {
    if (member.place !== -1) throw new Error('it stands in a roster already');
    member.place = this.#members.length;
    this.#members.push(member);
  }

  /** Does nothing for what is not in it. */
  delete(member: Member): void {
    const { place } = member;
    if (this.#members[place] !== member) return;
    member.place = -1;
    const last = this.#members.pop() as Member;
    if (last === member) return;
    last.place = place;
    this.#members[place] = last;
  }

  /** One of those that are in it; undefined: there is none. */
  any(): Member | undefined {
    return this.#members.at(-1);
  }

  /** Those that are in it now; it may change meanwhile. */
  all(): Member[] {
    return [...this.#members];
  }
}
