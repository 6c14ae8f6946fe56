import { createHash, randomUUID } from 'node:crypto';
import type { Store } from './store.ts';

/** What a request uses up. */
export interface Use {
  readonly kind: 'assertion' | 'workload' | 'proof';
  /** Whose it is, so that nobody can use up another's identifiers. */
  readonly owner: string;
  readonly id: string;
  /** Seconds since the Unix epoch: until then the same could be accepted again. */
  readonly until: number;
  /** Present: good again for the same user, such as the key of its first use. */
  readonly by?: string;
}

/** Claims uses, one after the other, in one atomic step each. @returns the first that was used before; null when none was */
export async function claimUses(store: Store, uses: readonly Use[]): Promise<Use | null> {
  for (const use of uses) {
    const value = use.by ?? randomUUID();
    const stands = await store.insert({ kind: 'used', id: idOf(use), value, until: Math.ceil(use.until) });
    if (stands !== value) return use;
  }
  return null;
}

/** A digest, so that every entry has the same size and holds nothing of what was sent. */
function idOf({ kind, owner, id }: Use): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, owner, id]))
    .digest('base64url');
}
