import type { AdminView } from '../admin/admin.ts';
import { createFamilyMetrics } from '../telemetry/metrics.ts';
import { type AuthServerCounts, authserverFamilies } from './authserver_metrics.ts';
import type { Store } from './store.ts';

/** What the admin port of an authorization server is made of. */
export interface ViewParts {
  readonly version: string;
  readonly issuer: string;
  readonly listening: string;
  readonly store: Store;
  readonly counts: AuthServerCounts;
  /** What is known of the keys of workload issuers. */
  readonly workloads: { health(): readonly { readonly issuer: string; readonly state: string }[] };
  stopping(): boolean;
}

/** What the admin port shows. Ready: the storage answers, without which nothing is issued. Keys of one workload issuer that are away keep nobody else from tokens. */
export function viewOf(parts: ViewParts): AdminView {
  const { counts, store } = parts;
  const metrics = createFamilyMetrics(parts.version, authserverFamilies(counts));
  const askStorage = async (): Promise<string | null> => {
    // A read, whatever it finds; and whether the last writes may be gone, so that it is noticed while nobody asks for a token.
    const problem = await Promise.all([store.get('secret', 'dpop_nonce'), store.lostAt()]).then(
      () => null,
      (error: Error) => error.message,
    );
    counts.storageUp = problem === null;
    return problem;
  };
  return {
    live: () => true,
    ready: async () => {
      const problem = await askStorage();
      const health = parts.workloads.health();
      const stopping = parts.stopping();
      const checks = [
        { name: 'storage', ok: problem === null, detail: problem ?? 'answers' },
        {
          name: 'workload_issuers',
          ok: health.length === 0 || health.some(({ state }) => state !== 'unavailable'),
          detail: health.map(({ issuer, state }) => `${issuer}: ${state}`).join('; ') || 'none',
        },
        { name: 'running', ok: !stopping, detail: stopping ? 'stopping' : 'running' },
      ];
      return { ready: checks.every(({ ok }) => ok), origin: parts.issuer, listening: parts.listening, checks };
    },
    metrics: async () => {
      await askStorage();
      return metrics.render();
    },
  };
}
