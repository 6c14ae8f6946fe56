import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { ReplayClass } from '../kernel/context.ts';
import { createReplayStore } from '../proof/create_store.ts';
import type { ReplayStore } from '../proof/replay_store.ts';

/** The stores of used proofs, one for each class that a route has. */
export type ReplayStores = ReadonlyMap<ReplayClass, ReplayStore>;

/** The parts of the configuration that say how single use is kept. */
export type ReplayConfig = Pick<GatewayConfig, 'replay' | 'dpop' | 'routes'>;

/** Makes and starts the stores that the routes need. @throws Error that says what was read, expected, and what to do */
export async function startReplayStores(config: ReplayConfig, clock: Clock): Promise<ReplayStores> {
  const stores = new Map<ReplayClass, ReplayStore>();
  try {
    for (const route of config.routes) {
      const kind = route.replay ?? config.replay.store;
      if (stores.has(kind)) continue;
      const store = await createReplayStore(kind, config, clock);
      stores.set(kind, store);
      await store.start();
    }
    return stores;
  } catch (error) {
    await closeReplayStores(stores);
    throw error;
  }
}

/** Ends connections and timers. */
export async function closeReplayStores(stores: ReplayStores): Promise<void> {
  for (const store of stores.values()) await store.close();
}
