import type { Adapter, AdapterPayload } from 'oidc-provider';

/** Keeps what an oidc-provider issues for as long as a test lasts. */
export function inMemoryAdapter(): Adapter {
  const kept = new Map<string, AdapterPayload>();
  return {
    find: async (id) => kept.get(id),
    upsert: async (id, payload) => void kept.set(id, payload),
    destroy: async (id) => void kept.delete(id),
    findByUid: async () => undefined,
    findByUserCode: async () => undefined,
    consume: async () => undefined,
    revokeByGrantId: async () => undefined,
  };
}
