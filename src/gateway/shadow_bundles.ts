import { BundleSet } from '../bundle/bundle_set.ts';
import type { BundleSource } from '../bundle/source.ts';
import type { ServiceConfig } from '../config/service_schema.ts';
import type { Service } from '../control_plane/service.ts';
import { type PolicyWatch, watchPolicyFiles } from '../policy/watch.ts';
import { createServices, makeBundleSource, readDataFiles } from './bundle_sources.ts';
import type { BundlePolicyConfig } from './policy_bundles.ts';
import type { PolicySourceParts } from './policy_source.ts';
import type { Shadow } from './shadow.ts';

/** What the candidate's bundles are made with. */
export interface CandidateBundlesParts extends PolicySourceParts {
  readonly shadow: Shadow;
  readonly services: readonly ServiceConfig[];
}

/**
 * The bundles of a candidate: got, verified, kept and renewed as those of the live policy are. Nobody waits for them, and what goes wrong
 * is told of the candidate only.
 */
export class CandidateBundles {
  readonly #set: BundleSet;
  readonly #services: ReadonlyMap<string, Service>;
  readonly #sources: readonly BundleSource[];
  readonly #dataWatch: PolicyWatch | null;

  /** @throws Error that names the file of a key or a credential that cannot be used */
  constructor(config: BundlePolicyConfig, { shadow, services, clock, log }: CandidateBundlesParts) {
    const { bundles, entrypoint, rollback, data, watch } = config;
    this.#set = new BundleSet(
      bundles.map(({ name }) => name),
      {
        entrypoint,
        rollback,
        readData: () => readDataFiles(data),
        activate: (make, about) => shadow.tryReplace(make, about),
        onRefused: (name, why) => shadow.refuse(name, why),
      },
    );
    const names = new Set(bundles.map(({ service }) => service));
    this.#services = createServices(services, (name) => names.has(name), clock);
    const parts = {
      config: { ...config, bundles: [...bundles] },
      services: this.#services,
      set: this.#set,
      clock,
      log: log.child({ of: 'candidate' }),
      onEvent: ({ name, problem }: { name: string; problem: string | null }) => shadow.note(name, problem),
    };
    this.#sources = bundles.map((bundle) => makeBundleSource(bundle, parts));
    this.#dataWatch = watch && data.length > 0 ? watchPolicyFiles(data, () => void this.rebuild()) : null;
  }

  async start(): Promise<void> {
    await this.#dataWatch?.ready;
    await Promise.all(this.#sources.map((source) => source.start()));
  }

  /** Looks for something new. @returns whether nothing stands in its way, as far as is known */
  async rebuild(): Promise<boolean> {
    const why = await this.#set.reassemble();
    await Promise.all(this.#sources.map((source) => source.look()));
    return why === null && this.#sources.every((source) => source.state().problem === null);
  }

  async close(): Promise<void> {
    this.#dataWatch?.close();
    await Promise.all(this.#sources.map((source) => source.close()));
    for (const [, service] of this.#services) service.close();
  }
}
