import type { Clients } from './clients.ts';
import { fits, type Speaker } from './workload_rule.ts';

/**
 * The one configured client without a key of its own that a workload identity token speaks for, by what the token says before it is
 * verified. Null where none fits, or several, so that the client must name itself.
 */
export function clientOfAssertion(said: Speaker | null, clients: Clients): string | null {
  if (said === null) return null;
  const found = [...clients.values()].filter(
    ({ method, workloads }) => method === 'none' && workloads.some((rule) => fits(rule, said)),
  );
  return found.length === 1 ? (found[0]?.clientId ?? null) : null;
}
