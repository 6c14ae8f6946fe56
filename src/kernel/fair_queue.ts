/**
 * What waits, in a lane for each of those it belongs to: everybody has a turn before anybody has a second one, so that a flood from one side
 * waits behind itself. In a lane, first come, first served.
 */
export class FairQueue<T> {
  readonly #lanes = new Map<string, Set<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Puts an item, which waits nowhere yet, at the end of a lane. */
  push(lane: string, item: T): void {
    const items = this.#lanes.get(lane);
    if (items === undefined) this.#lanes.set(lane, new Set([item]));
    else items.add(item);
    this.#size++;
  }

  /** Takes the item whose turn it is; undefined: nothing waits. */
  shift(): T | undefined {
    for (const [lane, items] of this.#lanes) {
      this.#lanes.delete(lane);
      for (const item of items) {
        this.#size--;
        items.delete(item);
        if (items.size > 0) this.#lanes.set(lane, items); // Behind all others.
        return item;
      }
    }
    return undefined;
  }

  /** Takes an item out of its lane, if it is in there. */
  delete(lane: string, item: T): void {
    const items = this.#lanes.get(lane);
    if (items?.delete(item) !== true) return;
    this.#size--;
    if (items.size === 0) this.#lanes.delete(lane);
  }

  /** Takes the last item of the longest lane, for one that comes to `lane`; undefined when that is itself the longest. */
  yieldTo(lane: string): T | undefined {
    let longest: [string, Set<T>] | undefined;
    for (const entry of this.#lanes) if (longest === undefined || entry[1].size > longest[1].size) longest = entry;
    const own = this.#lanes.get(lane)?.size ?? 0;
    if (longest === undefined || longest[1].size <= own + 1) return undefined;
    const last = [...longest[1]].at(-1) as T;
    this.delete(longest[0], last);
    return last;
  }
}
