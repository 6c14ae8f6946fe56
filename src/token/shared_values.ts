import { LRUCache } from 'lru-cache';
import { deepFreeze } from './freeze.ts';

const MAX_VALUES = 10_000;
const MAX_CHARACTERS = 4_194_304;

/**
 * Keeps one copy of what many remembered tokens say in the same words, such as the scopes and authorization_details of one workflow: with
 * 100,000 tokens that is most of their memory. Takes values made from JSON, and freezes them. Bounded; what is not kept is not shared.
 */
export class SharedValues {
  readonly #values = new LRUCache<string, object>({
    max: MAX_VALUES,
    maxSize: MAX_CHARACTERS,
    sizeCalculation: (_, text) => text.length,
  });

  /** A frozen value equal to this one: an earlier one where there is one. */
  share<T extends object>(value: T): T {
    const text = JSON.stringify(value);
    const earlier = this.#values.get(text);
    // Equal texts come from equal values, of whatever claim.
    if (earlier !== undefined) return earlier as T;
    this.#values.set(text, deepFreeze(value));
    return value;
  }
}
