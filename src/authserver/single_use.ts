import { createHash, randomUUID } from 'node:crypto';
import { type Store, StoreUnavailable } from './store.ts';

/** What a request uses up. */
export interface Use {
  readonly kind: 'assertion' | 'workload' | 'proof';
  /** Whose it is, so that nobody can use up another's identifiers. */
  readonly owner: string;
  readonly id: string;
  /** Seconds since the Unix epoch: until then the same could be accepted again. */
  readonly until: number;
  /** When it was made, at the earliest; seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Present: good again for the same user, such as the key of its first use. */
  readonly by?: string;
}

/** Seconds that what is good once may be dated ahead, and that clocks of servers may differ. */
export const AHEAD = 10;

/**
 * Claims uses, one after the other, in one atomic step each. Rejects with `StoreUnavailable` where one could have been used before the store
 * lost its memory: what was made since is good at once. @returns the first that was used before; null when none was
 */
export async function claimUses(store: Store, uses: readonly Use[]): Promise<Use | null> {
  for (const use of uses) {
    const value = use.by ?? randomUUID();
    const stands = await store.insert({ kind: 'used', id: idOf(use), value, until: Math.ceil(use.until) });
    if (stands !== value) return use;
  }
  const lostAt = uses.length === 0 ? Number.NEGATIVE_INFINITY : await store.lostAt();
  if (uses.some(({ issuedAt }) => issuedAt <= lostAt + AHEAD)) {
    throw new StoreUnavailable('what was used before the storage lost its memory cannot be told');
  }
  return null;
}

/** A digest, so that every entry has the same size and holds nothing of what was sent. */
function idOf({ kind, owner, id }: Use): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, owner, id]))
    .digest('base64url');
}
