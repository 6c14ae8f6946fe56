import type { DiscoveryConfig } from '../config/policy_schema.ts';
import type { Service } from '../control_plane/service.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Log } from '../telemetry/log.ts';
import { refuseOlder, type Superseded, supersede } from './age.ts';
import { type Bundle, BundleRefused } from './bundle.ts';
import { configurationOf } from './configuration.ts';
import { BundleDownload, type DownloadOutcome } from './download.ts';
import { type BundleRules, readBundleFile } from './read.ts';
import type { BundleStore } from './store.ts';

/** What discovery is made with. */
export interface DiscoveryParts {
  readonly service: Service;
  readonly rules: BundleRules;
  readonly store: BundleStore | null;
  readonly rollback: 'refuse' | 'allow';
  /** What the bundle's Rego is told of this gateway. */
  readonly labels: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Takes what the discovery bundle says. @throws Error that says why it cannot be used */
  readonly use: (configuration: unknown) => Promise<void>;
  /** Told what stands in the way of something newer, or null. */
  readonly note: (problem: string | null) => void;
  readonly log: Log;
}

/** The name under which it is kept: no bundle can have it. */
const NAME = '.discovery';
const MAX_BYTES = 33_554_432;

/** A bundle that says which bundles there are, with data or by rules (OPA discovery). */
export class Discovery {
  readonly #config: DiscoveryConfig;
  readonly #parts: DiscoveryParts;
  #download: BundleDownload | null = null;
  #current: { readonly bundle: Bundle; readonly superseded: Superseded } | null = null;

  constructor(config: DiscoveryConfig, parts: DiscoveryParts) {
    this.#config = config;
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const etag = await this.#restore();
    const { resource, polling } = this.#config;
    const { service } = this.#parts;
    const take = (outcome: DownloadOutcome) => this.#take(outcome);
    this.#download = new BundleDownload({ service, resource, polling, maxBytes: MAX_BYTES, deltas: false, take }, etag);
    this.#download.start();
  }

  look(): void {
    this.#download?.hurry();
  }

  async close(): Promise<void> {
    await this.#download?.close();
  }

  get #origin(): string {
    return this.#parts.service.urlOf(this.#config.resource);
  }

  async #take(outcome: DownloadOutcome): Promise<boolean> {
    const { note, store, log } = this.#parts;
    if (outcome.kind === 'unchanged') {
      note(null);
      return true;
    }
    try {
      if (outcome.kind === 'failed') throw new Error(outcome.problem);
      const { bytes, etag } = outcome;
      const superseded = await this.#use(bytes);
      note(null);
      await store
        ?.save(NAME, this.#origin, { bytes, etag, superseded })
        .catch((error: unknown) => log.error({ err: error }, 'the discovery bundle could not be kept for a restart'));
      return true;
    } catch (error) {
      note(`discovery: ${(error as Error).message}`);
      return false;
    }
  }

  async #use(bytes: Uint8Array, kept?: Superseded): Promise<Superseded> {
    const bundle = await readBundleFile(bytes, this.#parts.rules);
    if (bundle.type === 'delta') throw new BundleRefused('content', 'a discovery bundle cannot be a delta bundle');
    const before = this.#current;
    if (before !== null && this.#parts.rollback === 'refuse') refuseOlder(before.bundle, bundle, before.superseded);
    const { labels, clock, use } = this.#parts;
    const decision = this.#config.decision ?? '';
    await use(await configurationOf(bundle, { decision, labels, nowMs: clock() }));
    const known = kept ?? before?.superseded ?? [];
    const superseded = before === null ? known : supersede(known, before.bundle, bundle.revision);
    this.#current = { bundle, superseded };
    return superseded;
  }

  /** @returns the ETag of what was kept; empty where nothing could be used */
  async #restore(): Promise<string> {
    try {
      const kept = (await this.#parts.store?.load(NAME, this.#origin)) ?? null;
      if (kept === null) return '';
      await this.#use(kept.bytes, kept.superseded);
      return kept.etag;
    } catch (error) {
      this.#parts.note(`discovery: ${(error as Error).message}`);
      return '';
    }
  }
}
