import type { AdminAnswer, AdminApi } from '../admin/api.ts';
import { BundleSet } from '../bundle/bundle_set.ts';
import { Discovery } from '../bundle/discovery.ts';
import { readVerification } from '../bundle/keys.ts';
import type { BundleSource } from '../bundle/source.ts';
import type { BundleState } from '../bundle/state.ts';
import { discoveredBundles } from '../config/discovered_bundles.ts';
import type { BundleConfig, DiscoveryConfig, PolicyConfig } from '../config/policy_schema.ts';
import type { ServiceConfig } from '../config/service_schema.ts';
import type { Service } from '../control_plane/service.ts';
import { StatusReports } from '../control_plane/status.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { type PolicyWatch, watchPolicyFiles } from '../policy/watch.ts';
import { createServices, makeBundleSource, readDataFiles, storeOf } from './bundle_sources.ts';
import { PolicyHolder } from './policy_holder.ts';
import type { PolicySource, PolicySourceParts } from './policy_source.ts';
import { statusReport } from './policy_status.ts';
import { packageVersion } from './version.ts';

/** Bytes of a discovery bundle once unpacked. */
const DISCOVERY_BYTES = 16_777_216;

/** The policy's settings with the bundles that it is made of. */
export type BundlePolicyConfig = Omit<PolicyConfig, 'bundles'> & { readonly bundles: readonly BundleConfig[] };

/**
 * Gets the bundles of the configuration, makes a policy of them and renews it. What was kept of an earlier run will do to start with.
 * @throws Error when there is no usable policy within the time that the configuration gives
 */
export async function startBundlePolicy(
  config: BundlePolicyConfig,
  services: readonly ServiceConfig[],
  parts: PolicySourceParts,
): Promise<PolicySource> {
  const policy = new BundlePolicy(config, services, parts);
  try {
    await policy.start();
    return policy;
  } catch (error) {
    await policy.close();
    throw error;
  }
}

class BundlePolicy implements PolicySource {
  readonly #config: BundlePolicyConfig;
  readonly #parts: PolicySourceParts;
  readonly #set: BundleSet;
  readonly #services: ReadonlyMap<string, Service>;
  #sources: readonly BundleSource[];
  #discovery: Discovery | null = null;
  /** Why the discovery bundle says nothing usable; null when it does. */
  #undiscovered: string | null = null;
  #holder: PolicyHolder | null = null;
  #dataWatch: PolicyWatch | null = null;
  #reports: StatusReports | null = null;
  /** Called when there is a policy for the first time. */
  #started: () => void = () => undefined;

  constructor(config: BundlePolicyConfig, services: readonly ServiceConfig[], parts: PolicySourceParts) {
    this.#config = config;
    this.#parts = parts;
    const { entrypoint, rollback } = config;
    const own = config.bundles.map(({ name }) => name);
    this.#set = new BundleSet(own, {
      entrypoint,
      rollback,
      readData: () => readDataFiles(config.data),
      activate: (make, about) => this.#activate(make, about),
      onRefused: (name, why) => this.#holder?.refuse(name, why),
    });
    const { status } = config;
    const names = new Set([...config.bundles.map(({ service }) => service), status?.service]);
    const discovers = config.discovery !== undefined;
    this.#services = createServices(services, (name) => discovers || names.has(name), parts.clock);
    this.#sources = config.bundles.map((bundle) => this.#sourceOf(bundle));
    if (config.discovery !== undefined) this.#discovery = this.#makeDiscovery(config.discovery, services);
    const service = status === undefined ? undefined : this.#services.get(status.service);
    if (service !== undefined) {
      const { log } = parts;
      const report = () => statusReport(this.bundles());
      this.#reports = new StatusReports({ service, partition: status?.partition, status: report, log });
    }
  }

  get holder(): PolicyHolder {
    if (this.#holder === null) throw new Error('there is no policy yet');
    return this.#holder;
  }

  /** Which bundles there are, and the one way past `rollback: refuse` without another configuration. */
  readonly api: AdminApi = {
    '/bundles': { maxBodyBytes: 0, methods: { GET: () => ({ status: 200, value: { bundles: this.bundles() } }) } },
    '/rollback/': { maxBodyBytes: 0, methods: { POST: ({ path }) => this.#allowRollBack(path) } },
  };

  readonly bundles = (): readonly BundleState[] => this.#sources.map((source) => source.state());

  async start(): Promise<void> {
    const { data, watch, bundles, start_timeout_seconds: seconds } = this.#config;
    if (watch && data.length > 0) this.#dataWatch = watchPolicyFiles(data, () => void this.rebuild());
    await this.#dataWatch?.ready;
    const begun = new Promise<void>((resolve) => {
      this.#started = resolve;
    });
    await Promise.all(this.#sources.map((source) => source.start()));
    await this.#discovery?.start();
    if (this.#holder !== null) return;
    // A file does not get better by waiting; a service may be starting too.
    const files = bundles.every(({ service }) => service === undefined);
    if (files && this.#discovery === null) throw new Error(this.#whyNot());
    this.#parts.log.warn({ seconds, why: this.#whyNot() }, 'waiting for the bundles of the policy');
    await this.#within(begun, seconds * 1000);
  }

  async rebuild(): Promise<boolean> {
    this.#discovery?.look();
    const why = await this.#set.reassemble();
    await Promise.all(this.#sources.map((source) => source.look()));
    return why === null && this.#sources.every((source) => source.state().problem === null);
  }

  async close(): Promise<void> {
    this.#dataWatch?.close();
    // First, since it starts sources.
    await this.#discovery?.close();
    await Promise.all(this.#sources.map((source) => source.close()));
    await this.#reports?.close();
    for (const [, service] of this.#services) service.close();
  }

  #makeDiscovery(config: DiscoveryConfig, services: readonly ServiceConfig[]): Discovery {
    const { keys, persistence_folder: folder, rollback } = this.#config;
    const verification = readVerification(config.signing, keys);
    const frame = { services, keyIds: keys.map(({ id }) => id), signed: config.signing !== undefined };
    return new Discovery(config, {
      service: this.#services.get(config.service) as Service,
      rules: { unpackedBytes: DISCOVERY_BYTES, verification },
      store: storeOf(folder, this.#parts.keep),
      rollback,
      labels: { app: 'sallyport', version: packageVersion(), ...config.labels },
      clock: this.#parts.clock,
      use: (value) => this.#reconfigure(discoveredBundles(value, frame)),
      note: (problem) => this.#noteDiscovery(problem),
      log: this.#parts.log,
    });
  }

  /** Said, and counted, once for each new problem. */
  #noteDiscovery(problem: string | null): void {
    const known = problem === this.#undiscovered;
    this.#undiscovered = problem;
    if (problem === null || known) this.#holder?.note('discovery', problem);
    else {
      const { log } = this.#parts;
      log.error({ why: problem }, 'the discovery bundle could not be renewed; the bundles stay as they are');
      this.#holder?.refuse('discovery', problem);
    }
  }

  /** Other bundles make up the policy from now on. Those that stay as they are go on; the policy in force stays until the others are there. */
  async #reconfigure(configs: readonly BundleConfig[]): Promise<void> {
    const known = new Map(this.#sources.map((source) => [source.signature, source]));
    const next = configs.map((config) => known.get(JSON.stringify(config)) ?? this.#sourceOf(config));
    const fresh = next.filter((source) => !this.#sources.includes(source));
    const gone = this.#sources.filter((source) => !next.includes(source));
    await Promise.all(gone.map((source) => source.close()));
    this.#sources = next;
    const why = await this.#set.reassemble(configs.map(({ name }) => name));
    await Promise.all(fresh.map((source) => source.start()));
    if (why !== null) throw new Error(why);
  }

  async #allowRollBack(path: string): Promise<AdminAnswer> {
    const name = path.slice('/rollback/'.length);
    if (!this.#set.allowRollBack(name)) return { status: 404, value: { error: 'there is no bundle of this name' } };
    this.#parts.log.warn({ bundle: name }, 'the next bundle of this name may be older than the one in use');
    await this.#sources.find((source) => source.name === name)?.look();
    return { status: 202 };
  }

  #sourceOf(bundle: BundleConfig): BundleSource {
    const { clock, log, keep } = this.#parts;
    return makeBundleSource(bundle, {
      config: { ...this.#config, bundles: [...this.#config.bundles] },
      services: this.#services,
      set: this.#set,
      clock,
      log,
      keep,
      onEvent: ({ name, problem }) => {
        this.#holder?.note(name, problem);
        this.#reports?.changed();
      },
    });
  }

  /** The first policy starts the holder; each further one goes through it. */
  async #activate(make: () => Promise<PolicyArtifact>, about: string): Promise<string | null> {
    if (this.#holder !== null) return this.#holder.tryReplace(make, about);
    try {
      this.#holder = await PolicyHolder.start(await make(), this.#parts);
      this.#started();
      return null;
    } catch (error) {
      // Whatever is kept of earlier runs may be the part that does not fit: every service is asked for the whole again.
      for (const source of this.#sources) source.forget();
      return (error as Error).message;
    }
  }

  async #within(begun: Promise<void>, ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(this.#whyNot())), ms);
    });
    try {
      await Promise.race([begun, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #whyNot(): string {
    const problems = this.bundles().map(({ name, problem, revision }) => {
      return `  ${name}: ${problem ?? (revision === null ? 'has not come yet' : 'is there')}`;
    });
    if (this.#undiscovered !== null) problems.push(`  ${this.#undiscovered}`);
    return `there is no policy to start with:\n${problems.join('\n')}`;
  }
}
