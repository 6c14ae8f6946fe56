import { promises as fs } from 'node:fs';
import type { BundleConfig } from '../config/policy_schema.ts';
import type { Service } from '../control_plane/service.ts';
import type { Clock } from '../kernel/clock.ts';
import { type PolicyWatch, watchPolicyFiles } from '../policy/watch.ts';
import type { Log } from '../telemetry/log.ts';
import { type BundleSet, type OfferOutcome, revisionOf } from './bundle_set.ts';
import { BundleDownload, type DownloadOutcome } from './download.ts';
import type { BundleRules } from './read.ts';
import { writeSnapshot } from './snapshot.ts';
import { type BundleState, type MutableBundleState, newBundleState } from './state.ts';
import type { BundleStore } from './store.ts';

/** What a source of one bundle is made with. */
export interface BundleSourceParts {
  readonly set: BundleSet;
  readonly rules: BundleRules;
  /** The service that the bundle comes from; null where it is a file. */
  readonly service: Service | null;
  /** Where bundles of services are kept; null: nowhere. */
  readonly store: BundleStore | null;
  /** Whether a file is looked at again when it changes. */
  readonly watch: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** Told after each thing that happened to the bundle. */
  readonly onEvent: (state: BundleState) => void;
}

/** Where one bundle comes from: offers each new one to the set, and knows what became of it. */
export class BundleSource {
  readonly #config: BundleConfig;
  readonly #parts: BundleSourceParts;
  readonly #state: MutableBundleState;
  #download: BundleDownload | null = null;
  #watch: PolicyWatch | null = null;

  constructor(config: BundleConfig, parts: BundleSourceParts) {
    this.#config = config;
    this.#parts = parts;
    this.#state = newBundleState(config.name);
  }

  get name(): string {
    return this.#config.name;
  }

  /** Its whole configuration: another one of the same name is another source. */
  get signature(): string {
    return JSON.stringify(this.#config);
  }

  state(): BundleState {
    return this.#state;
  }

  /** Takes what there is (the file, or what was kept of the service), then begins to look for something new. */
  async start(): Promise<void> {
    const { file } = this.#config;
    if (file === undefined) {
      const etag = await this.#restore();
      this.#download = this.#makeDownload(etag);
      this.#download.start();
      return;
    }
    if (this.#parts.watch) this.#watch = watchPolicyFiles([file], () => void this.#readFile(file));
    // Watched before it is read, so that no change falls between.
    await this.#watch?.ready;
    await this.#readFile(file);
  }

  /** Looks now, whatever the time. */
  async look(): Promise<void> {
    if (this.#config.file !== undefined) await this.#readFile(this.#config.file);
    else this.#download?.hurry();
  }

  /** What is in use may not be what the service gave last: the next answer must be a whole bundle. */
  forget(): void {
    this.#download?.forget();
  }

  async close(): Promise<void> {
    this.#watch?.close();
    await this.#download?.close();
  }

  get #resource(): string {
    return this.#config.resource ?? `bundles/${this.#config.name}`;
  }

  get #origin(): string {
    return this.#parts.service?.urlOf(this.#resource) ?? '';
  }

  #makeDownload(etag: string): BundleDownload {
    const { polling, size_limit_bytes: maxBytes } = this.#config;
    const service = this.#parts.service as Service;
    const deltas = this.#parts.rules.verification === undefined;
    const take = (outcome: DownloadOutcome) => this.#takeDownload(outcome);
    return new BundleDownload({ service, resource: this.#resource, polling, maxBytes, deltas, take }, etag);
  }

  async #readFile(file: string): Promise<void> {
    this.#state.lastRequest = this.#parts.clock();
    try {
      const { size } = await fs.stat(file);
      const { size_limit_bytes: limit } = this.#config;
      if (size > limit) throw new Error(`it has ${size} bytes; at most ${limit} are read`);
      const bytes = await fs.readFile(file);
      this.#state.lastSuccessfulRequest = this.#state.lastDownload = this.#parts.clock();
      this.#note(await this.#parts.set.offer(this.name, { bytes, rules: this.#parts.rules }), bytes.length);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      this.#fail(`${file} cannot be read: ${code === 'ENOENT' ? 'there is no such file' : message}`);
    }
    this.#parts.onEvent(this.#state);
  }

  async #takeDownload(outcome: DownloadOutcome): Promise<boolean> {
    const now = this.#parts.clock();
    this.#state.lastRequest = now;
    this.#state.counts[outcome.kind]++;
    if (outcome.kind === 'failed') {
      this.#state.httpStatus = outcome.status;
      this.#fail(outcome.problem);
      this.#parts.onEvent(this.#state);
      return false;
    }
    this.#state.lastSuccessfulRequest = now;
    this.#state.httpStatus = outcome.kind === 'fresh' ? 200 : 304;
    const good = outcome.kind === 'fresh' ? await this.#takeFresh(outcome) : true;
    if (good) this.#recover();
    this.#parts.onEvent(this.#state);
    return good;
  }

  async #takeFresh({ bytes, etag }: Extract<DownloadOutcome, { kind: 'fresh' }>): Promise<boolean> {
    this.#state.lastDownload = this.#parts.clock();
    const taken = await this.#parts.set.offer(this.name, { bytes, rules: this.#parts.rules });
    this.#note(taken, bytes.length);
    if (taken.ok) await this.#keep(taken, { bytes, etag });
    return taken.ok;
  }

  #note(outcome: OfferOutcome, size: number): void {
    if (!outcome.ok) {
      this.#state.refusals++;
      this.#fail(`the bundle was refused: ${outcome.why}`);
      return;
    }
    this.#state.revision = revisionOf(outcome);
    this.#state.type = outcome.type;
    this.#state.size = size;
    this.#state.activations++;
    this.#state.lastActivation = this.#parts.clock();
    this.#recover();
    const bundle = { bundle: this.name, revision: this.#state.revision, type: outcome.type };
    this.#parts.log.info(
      bundle,
      outcome.live ? 'the bundle is in use' : 'the bundle waits for others to make a policy',
    );
  }

  /** Said once for each new problem; the counts tell how often it came again. */
  #fail(problem: string): void {
    if (problem !== this.#state.problem) {
      const { name: bundle } = this;
      this.#parts.log.error({ bundle, why: problem }, 'the bundle could not be renewed; what was in use stays');
    }
    this.#state.problem = problem;
  }

  #recover(): void {
    this.#state.problem = null;
  }

  /** Takes what was kept of the service in an earlier run. @returns its ETag; empty where nothing could be used */
  async #restore(): Promise<string> {
    const { store, set, rules } = this.#parts;
    try {
      const kept = (await store?.load(this.name, this.#origin)) ?? null;
      if (kept === null) return '';
      const { bytes, superseded, etag } = kept;
      const taken = await set.offer(this.name, { bytes, rules, superseded });
      this.#note(taken, bytes.length);
      return taken.ok ? etag : '';
    } catch (error) {
      this.#fail((error as Error).message);
      return '';
    } finally {
      this.#parts.onEvent(this.#state);
    }
  }

  /** What changes made of a bundle is kept whole, without an ETag: nobody else has it in this form. */
  async #keep({ type, bundle, superseded }: Taken, came: { bytes: Uint8Array; etag: string }): Promise<void> {
    const { store, log } = this.#parts;
    if (store === null) return;
    try {
      const { bytes, etag } = type === 'snapshot' ? came : { bytes: await writeSnapshot(bundle), etag: '' };
      await store.save(this.name, this.#origin, { bytes, etag, superseded });
    } catch (error) {
      log.error({ err: error, bundle: this.name }, 'the bundle could not be kept for a restart');
    }
  }
}

type Taken = Extract<OfferOutcome, { ok: true }>;
