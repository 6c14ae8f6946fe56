import { type Link, LinkedList } from './linked_list.ts';
import { type Enrolled, Roster } from './roster.ts';

/** What waits of one of those it belongs to; it has a turn while something does. */
interface Lane<T> extends Enrolled {
  readonly name: string;
  readonly items: LinkedList<T>;
  turn: Link<Lane<T>> | null;
}

/**
 * What waits, in a lane for each of those it belongs to: everybody has a turn before anybody has a second one, so that a flood from one side
 * waits behind itself. In a lane, first come, first served. Everything costs the same however much waits.
 */
export class FairQueue<T> {
  readonly #lanes = new Map<string, Lane<T>>();
  /** Lanes in which something waits: the first has its turn next. */
  readonly #turns = new LinkedList<Lane<T>>();
  /** The same by length. */
  readonly #byLength: Roster<Lane<T>>[] = [];
  #longest = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Puts an item at the end of a lane. @returns where it stands, for `delete` */
  push(name: string, item: T): Link<T> {
    const lane = this.#lanes.get(name) ?? this.#open(name);
    const link = lane.items.push(item);
    this.#size++;
    this.#measure(lane, lane.items.size - 1);
    return link;
  }

  /** Takes the item whose turn it is; undefined: nothing waits. */
  shift(): T | undefined {
    const lane = this.#turns.first?.item;
    const link = lane?.items.first;
    if (lane === undefined || !link) return undefined;
    this.#take(lane, link);
    // Behind all others.
    if (lane.turn !== null && this.#turns.delete(lane.turn)) lane.turn = this.#turns.push(lane);
    return link.item;
  }

  /** Takes an item out of its lane, if it still is in there. */
  delete(name: string, link: Link<T>): void {
    const lane = this.#lanes.get(name);
    if (lane !== undefined) this.#take(lane, link);
  }

  /** Takes the last item of a longest lane, for one that comes to `name`; undefined when that would not be shorter with it. */
  yieldTo(name: string): T | undefined {
    const own = this.#lanes.get(name)?.items.size ?? 0;
    if (this.#longest <= own + 1) return undefined;
    const lane = this.#byLength[this.#longest]?.any();
    const last = lane?.items.last;
    if (lane === undefined || !last) return undefined;
    this.#take(lane, last);
    return last.item;
  }

  #open(name: string): Lane<T> {
    const lane: Lane<T> = { name, items: new LinkedList(), turn: null, place: -1 };
    this.#lanes.set(name, lane);
    lane.turn = this.#turns.push(lane);
    return lane;
  }

  #take(lane: Lane<T>, link: Link<T>): void {
    if (!lane.items.delete(link)) return;
    this.#size--;
    this.#measure(lane, lane.items.size + 1);
    if (lane.items.size > 0 || lane.turn === null) return;
    this.#lanes.delete(lane.name);
    this.#turns.delete(lane.turn);
    lane.turn = null;
  }

  /** Notes that a lane has become one longer or shorter. */
  #measure(lane: Lane<T>, before: number): void {
    const { size } = lane.items;
    const others = this.#byLength[before];
    others?.delete(lane);
    if (size > 0) {
      this.#byLength[size] ??= new Roster();
      this.#byLength[size].add(lane);
    }
    // When the last of the longest becomes shorter, it is one of those that are the longest now.
    if (size > this.#longest || (before === this.#longest && others?.size === 0)) this.#longest = size;
  }
}
