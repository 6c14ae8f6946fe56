import type { JWK } from 'jose';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import { importSigningKey, type SigningKey } from '../oauth/signing_key.ts';
import { ClientDoubts } from './client_doubts.ts';
import { ClientRegistration, type RegistrationParts } from './client_registration.ts';
import { StaticClients, type WorkflowClient } from './static_clients.ts';
import type { Workflows } from './workflows.ts';

/** What the clients are kept with. */
export interface ClientsOptions extends RegistrationParts {
  readonly workflows: Workflows;
}

/** Milliseconds between two looks for what is to be done. */
const LOOK_EVERY_MS = 1000;
/** Milliseconds until a registration that failed is tried again, doubled up to the most. */
const RETRY_MS = { first: 1000, most: 60_000 } as const;
/** Registrations at the same time. */
const AT_ONCE = 8;

interface Retry {
  readonly at: number;
  readonly delay: number;
  readonly problem: string;
}

/**
 * One client and key for each workflow: registered and looked after, or the one that the workflow names.
 */
export class WorkflowClients {
  readonly #options: ClientsOptions;
  readonly #registration: ClientRegistration;
  readonly #static: StaticClients;
  readonly #doubts: ClientDoubts;
  readonly #retries = new Map<string, Retry>();
  readonly #keys = new WeakMap<JWK, Promise<SigningKey>>();
  readonly #timer: NodeJS.Timeout;
  #work: Promise<void> | null = null;
  #closed = false;

  constructor(options: ClientsOptions) {
    this.#options = options;
    this.#registration = new ClientRegistration(options);
    this.#static = new StaticClients(options.log);
    this.#doubts = new ClientDoubts(options.clock);
    options.workflows.onChange(() => {
      this.#retries.clear();
      void this.reconcile();
    });
    this.#timer = setInterval(() => void this.reconcile(), LOOK_EVERY_MS).unref();
  }

  /** The client of a workflow; null when it cannot be had at the moment. */
  async use(workflow: WorkflowConfig): Promise<WorkflowClient | null> {
    if (workflow.client !== undefined) return this.#static.use(workflow.client);
    const state = this.#registration.stateOf(workflow.name);
    const jwk = state?.keys.find(({ kid }) => kid === state.signs);
    if (state === undefined || jwk === undefined || state.clientId === '') return null;
    let key = this.#keys.get(jwk);
    if (key === undefined) {
      key = importSigningKey(jwk);
      this.#keys.set(jwk, key);
    }
    return { clientId: state.clientId, key: await key };
  }

  /** The server refused the client: it was deleted there, or expired. It is registered again, once; see `ClientDoubts`. */
  doubt({ name, client }: WorkflowConfig): void {
    const state = this.#registration.stateOf(name);
    if (client !== undefined || state === undefined || !this.#doubts.raise(name)) return;
    state.registered = '';
    void this.reconcile();
  }

  /** The server took the client. */
  trust({ name }: WorkflowConfig): void {
    this.#doubts.clear(name);
  }

  /** What stands in the way of each workflow, by its name. */
  get problems(): ReadonlyMap<string, string> {
    return new Map([...this.#retries].map(([name, { problem }]) => [name, problem]));
  }

  /** How many workflows have a client. */
  get usable(): number {
    const { workflows } = this.#options;
    return workflows.all.filter(
      ({ name, client }) => client !== undefined || (this.#registration.stateOf(name)?.clientId ?? '') !== '',
    ).length;
  }

  /** Does what is to be done; one run at a time. Never rejects. */
  reconcile(): Promise<void> {
    this.#work ??= this.#run()
      .catch((error: unknown) => this.#options.log.error({ err: error }, 'the clients could not be looked after'))
      .finally(() => {
        this.#work = null;
      });
    return this.#work;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#work;
  }

  async #run(): Promise<void> {
    const { workflows, states, clock, server } = this.#options;
    if (server.endpoints === null) return;
    const now = clock();
    const names = new Set([...workflows.all.map(({ name }) => name), ...states.all.map(({ workflow }) => workflow)]);
    const due = [...names].filter((name) => (this.#retries.get(name)?.at ?? 0) <= now);
    const next = due.values();
    const worker = async () => {
      for (const name of next) if (!this.#closed) await this.#look(name);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  /** Brings one client to where it should be. */
  async #look(name: string): Promise<void> {
    const workflow = this.#options.workflows.find(name);
    const isRegistered = workflow !== undefined && workflow.client === undefined;
    // One that fails unexpectedly, such as on a full disk, keeps nobody else from being looked after.
    const problem = await (isRegistered ? this.#registration.keep(workflow) : this.#registration.remove(name)).catch(
      (error: unknown) => (error as Error).message,
    );
    if (problem === null) {
      this.#retries.delete(name);
      return;
    }
    const delay = Math.min((this.#retries.get(name)?.delay ?? RETRY_MS.first / 2) * 2, RETRY_MS.most);
    if (this.#retries.get(name)?.problem !== problem) {
      this.#options.log.error({ workflow: name, problem }, 'the client of the workflow cannot be looked after');
    }
    this.#retries.set(name, { at: this.#options.clock() + delay, delay, problem });
  }
}
