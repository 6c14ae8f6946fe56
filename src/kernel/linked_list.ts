/** Where an item stands in a list, by which it is taken out again. */
export interface Link<T> {
  readonly item: T;
  /** For the list alone; null: it stands in none. */
  list: LinkedList<T> | null;
  previous: Link<T> | null;
  next: Link<T> | null;
}

/**
 * Items in the order of coming, each of which can be taken out at any time; everything here costs the same however long the list is. In a
 * Set, what was taken out in front is walked over again each time the first is asked for, and the last cannot be asked for.
 */
export class LinkedList<T> {
  #first: Link<T> | null = null;
  #last: Link<T> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Link<T> | null {
    return this.#first;
  }

  get last(): Link<T> | null {
    return this.#last;
  }

  /** Puts an item at the end. */
  push(item: T): Link<T> {
    const link: Link<T> = { item, list: this, previous: this.#last, next: null };
    if (this.#last === null) this.#first = link;
    else this.#last.next = link;
    this.#last = link;
    this.#size++;
    return link;
  }

  /** Takes an item out. @returns false: it does not stand here */
  delete(link: Link<T>): boolean {
    if (link.list !== this) return false;
    const { previous, next } = link;
    if (previous === null) this.#first = next;
    else previous.next = next;
    if (next === null) this.#last = previous;
    else next.previous = previous;
    // What was taken out holds nothing of what is still in.
    link.list = null;
    link.previous = null;
    link.next = null;
    this.#size--;
    return true;
  }
}
