import type { Clock } from '../kernel/clock.ts';
import { createReplayStore, type ReplayStoreConfig } from '../proof/create_store.ts';
import type { ReplayStore } from '../proof/replay_store.ts';

/** Makes and starts the store of used proofs that the configuration names. @throws Error that says what was read, expected, and what to do */
export async function startReplayStore(config: ReplayStoreConfig, clock: Clock): Promise<ReplayStore> {
  const store = await createReplayStore(config, clock);
  try {
    await store.start();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}
