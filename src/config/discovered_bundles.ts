import { z } from 'zod';
import { type BundleConfig, bundle } from './policy_schema.ts';
import type { ServiceConfig } from './service_schema.ts';

/** What of OPA's configuration a discovery bundle may say here; members for other plugins of OPA are passed over. */
const discovered = z.object({
  bundles: z.record(
    z.string(),
    z.strictObject({
      service: z.string(),
      resource: z.string().optional(),
      persist: z.boolean().optional(),
      polling: z
        .strictObject({
          min_delay_seconds: z.int().optional(),
          max_delay_seconds: z.int().optional(),
          long_polling_timeout_seconds: z.int().optional(),
        })
        .default({}),
      signing: z.strictObject({ keyid: z.string().optional(), scope: z.string().optional() }).optional(),
      size_limit_bytes: z.int().optional(),
    }),
  ),
});

/** What stays as the file of the gateway says: where services are, and which keys count. */
export interface DiscoveryFrame {
  readonly services: readonly ServiceConfig[];
  readonly keyIds: readonly string[];
  /** Whether the discovery bundle itself is signed: then no bundle that it names may be unsigned. */
  readonly signed: boolean;
}

/** The bundles that a discovery bundle names, in the form of OPA's configuration. @throws Error that says which member is wrong */
export function discoveredBundles(value: unknown, { services, keyIds, signed }: DiscoveryFrame): BundleConfig[] {
  const read = discovered.safeParse(value);
  if (!read.success) throw new Error(`the discovered configuration is not usable: ${z.prettifyError(read.error)}`);
  const names = Object.keys(read.data.bundles).sort();
  if (names.length === 0) throw new Error('the discovered configuration names no bundles');
  return names.map((name) => {
    const { service, resource, polling, signing, size_limit_bytes: size } = read.data.bundles[name] as Discovered;
    const minimum = polling.min_delay_seconds;
    const made = bundle.safeParse({
      name,
      service,
      resource,
      polling: {
        min_seconds: minimum,
        max_seconds: polling.max_delay_seconds,
        long_polling_seconds: polling.long_polling_timeout_seconds,
      },
      signing: signing && { key: signing.keyid, scope: signing.scope },
      size_limit_bytes: size,
    });
    if (!made.success) throw new Error(`the discovered bundle ${name} is not usable: ${z.prettifyError(made.error)}`);
    const problem = problemOf(made.data, { services, keyIds, signed });
    if (problem !== null) throw new Error(`the discovered bundle ${name} ${problem}`);
    return made.data;
  });
}

type Discovered = z.output<typeof discovered>['bundles'][string];

function problemOf(
  { service, signing, polling }: BundleConfig,
  { services, keyIds, signed }: DiscoveryFrame,
): string | null {
  if (!services.some(({ name }) => name === service)) return `is of the service ${service}, which is not configured`;
  if (signed && signing === undefined) return 'is not signed, and the discovery bundle is';
  if (signing !== undefined && keyIds.length === 0) return 'is signed, and policy.keys is empty';
  if (signing?.key !== undefined && !keyIds.includes(signing.key))
    return `is signed with the key ${signing.key}, which is not configured`;
  return polling.min_seconds > polling.max_seconds ? 'is polled with a minimum above the maximum' : null;
}
