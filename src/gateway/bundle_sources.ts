import type { BundleSet } from '../bundle/bundle_set.ts';
import { readVerification } from '../bundle/keys.ts';
import { BundleSource } from '../bundle/source.ts';
import type { BundleState } from '../bundle/state.ts';
import { type BundleStore, createBundleStore, openBundleStore } from '../bundle/store.ts';
import type { BundleConfig, PolicyConfig } from '../config/policy_schema.ts';
import type { ServiceConfig } from '../config/service_schema.ts';
import { createService, type Service } from '../control_plane/service.ts';
import type { Clock } from '../kernel/clock.ts';
import { readDataFile } from '../policy/data_file.ts';
import { mergeData } from '../policy/data_merge.ts';
import type { Log } from '../telemetry/log.ts';

/** What the sources of a policy's bundles share. */
export interface BundleSourcesParts {
  readonly config: PolicyConfig;
  readonly services: ReadonlyMap<string, Service>;
  readonly set: BundleSet;
  readonly clock: Clock;
  readonly log: Log;
  /** Told after each thing that happened to a bundle. */
  readonly onEvent: (state: BundleState) => void;
  readonly keep?: boolean | undefined;
}

/** Where bundles are kept; null where the configuration names no folder. `keep` false: what lies there is read only. */
export function storeOf(folder: string | undefined, keep = true): BundleStore | null {
  if (folder === undefined) return null;
  return keep ? createBundleStore(folder) : openBundleStore(folder);
}

/** Where one bundle of a policy comes from. @throws Error that names a key's file that cannot be used */
export function makeBundleSource(bundle: BundleConfig, parts: BundleSourcesParts): BundleSource {
  const { keys, persistence_folder: folder, watch } = parts.config;
  return new BundleSource(bundle, {
    set: parts.set,
    rules: { unpackedBytes: bundle.unpacked_limit_bytes, verification: readVerification(bundle.signing, keys) },
    service: bundle.service === undefined ? null : (parts.services.get(bundle.service) ?? null),
    store: storeOf(folder, parts.keep),
    watch,
    clock: parts.clock,
    log: parts.log,
    onEvent: parts.onEvent,
  });
}

/** The services of some names. @throws Error that names the file that cannot be used */
export function createServices(
  configs: readonly ServiceConfig[],
  wanted: (name: string) => boolean,
  clock: Clock,
): ReadonlyMap<string, Service> {
  const used = configs.filter(({ name }) => wanted(name));
  return new Map(used.map((service) => [service.name, createService(service, clock)]));
}

/** Data that is merged over that of the bundles, later files over earlier ones. @throws Error that names the file */
export async function readDataFiles(files: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
  let data: Readonly<Record<string, unknown>> = {};
  for (const file of files) data = mergeData(data, await readDataFile(file), () => undefined);
  return data;
}
