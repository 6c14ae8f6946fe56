import { readFileSync } from 'node:fs';
import type { JWK } from 'jose';
import type { BrokerConfig } from '../config/broker_schema.ts';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';
import { deleteClient, type RegistrationOutcome, registerClient, updateClient } from '../oauth/registration.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../oauth/signing_key.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { jwkThumbprint } from '../oauth/thumbprint.ts';
import type { Log } from '../telemetry/log.ts';
import { clientMetadataOf, digestOf } from './client_metadata.ts';
import type { ClientState, ClientStates } from './client_state.ts';
import type { AuthorizationServer } from './server.ts';
import type { Workflows } from './workflows.ts';

/** How a workflow authenticates at the authorization server. */
export interface WorkflowClient {
  readonly clientId: string;
  readonly key: SigningKey;
}

/** What the clients are kept with. */
export interface ClientsOptions {
  readonly config: Pick<BrokerConfig, 'authorization_server' | 'keys'>;
  readonly workflows: Workflows;
  readonly server: AuthorizationServer;
  readonly states: ClientStates;
  readonly clock: Clock;
  readonly log: Log;
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
 * One client and key for each workflow: registered (RFC 7591), changed when the ceiling or the key changes (RFC 7592 §2.2), deleted with the
 * workflow (§2.3); or the one that the workflow names. The state is on the disk before a key is registered, so that no crash leaves a client
 * whose key is lost.
 */
export class WorkflowClients {
  readonly #options: ClientsOptions;
  readonly #retries = new Map<string, Retry>();
  readonly #files = new Map<string, SigningKeyFile>();
  readonly #keys = new WeakMap<JWK, Promise<SigningKey>>();
  readonly #timer: NodeJS.Timeout;
  #work: Promise<void> | null = null;
  #closed = false;

  constructor(options: ClientsOptions) {
    this.#options = options;
    options.workflows.onChange(() => {
      this.#retries.clear();
      void this.reconcile();
    });
    this.#timer = setInterval(() => void this.reconcile(), LOOK_EVERY_MS).unref();
  }

  /** The client of a workflow; null when it cannot be had at the moment. */
  async use(workflow: WorkflowConfig): Promise<WorkflowClient | null> {
    if (workflow.client !== undefined) return this.#static(workflow.client);
    const state = this.#stateOf(workflow.name);
    const jwk = state?.keys.find(({ kid }) => kid === state.signs);
    if (state === undefined || jwk === undefined || state.clientId === '') return null;
    let key = this.#keys.get(jwk);
    if (key === undefined) {
      key = importSigningKey(jwk);
      this.#keys.set(jwk, key);
    }
    return { clientId: state.clientId, key: await key };
  }

  /** The server does not know the client: it was deleted there, or expired. It is registered again. */
  doubt(workflow: string): void {
    const state = this.#stateOf(workflow);
    if (state === undefined) return;
    state.registered = '';
    void this.reconcile();
  }

  /** What stands in the way of each workflow, by its name. */
  get problems(): ReadonlyMap<string, string> {
    return new Map([...this.#retries].map(([name, { problem }]) => [name, problem]));
  }

  /** How many workflows have a client. */
  get usable(): number {
    const { workflows } = this.#options;
    return workflows.all.filter(
      ({ name, client }) => client !== undefined || (this.#stateOf(name)?.clientId ?? '') !== '',
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
    const problem = await (workflow === undefined || workflow.client !== undefined
      ? this.#remove(name)
      : this.#keep(workflow));
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

  /** @returns what is wrong, or null */
  async #keep(workflow: WorkflowConfig): Promise<string | null> {
    const {
      authorization_server: { issuer, registration },
    } = this.#options.config;
    if (registration === undefined)
      return 'the workflow names no client, and authorization_server.registration is not configured';
    const state = this.#stateOf(workflow.name);
    if (state === undefined || state.clientId === '') return this.#register(workflow, state);
    const rotated = await this.#rotate(state);
    if (rotated !== null) return rotated;
    const metadata = this.#metadataOf(workflow, state);
    const digest = digestOf(metadata);
    if (state.registered === digest) return null;
    if (state.management === null) return this.#unmanaged(workflow, state, digest);
    const outcome = await updateClient({ ...state, management: state.management }, metadata, this.#calls());
    if (outcome.kind === 'gone') {
      this.#options.log.warn(
        { workflow: workflow.name, issuer, client_id: state.clientId },
        'the client is gone; it is registered again',
      );
      state.clientId = '';
      return this.#register(workflow, state);
    }
    return this.#registered(state, outcome, digest);
  }

  /** A client that nobody can change is registered anew only when its server does not know it any more. */
  async #unmanaged(workflow: WorkflowConfig, state: ClientState, digest: string): Promise<string | null> {
    if (state.registered === '') {
      state.clientId = '';
      return this.#register(workflow, state);
    }
    this.#options.log.warn(
      { workflow: workflow.name },
      'the server lets nobody change its clients; the change applies in the broker only',
    );
    state.registered = digest;
    await this.#options.states.save();
    return null;
  }

  async #register(workflow: WorkflowConfig, before: ClientState | undefined): Promise<string | null> {
    const { config, server, states, clock } = this.#options;
    const endpoint = server.endpoints?.registration ?? null;
    if (endpoint === null)
      return 'the authorization server has no registration endpoint: name a client for the workflow';
    const { issuer, registration } = config.authorization_server;
    let token: string | null;
    try {
      const file = registration?.initial_access_token_file;
      token = file === undefined ? null : readBearerToken(file);
    } catch (error) {
      return (error as Error).message;
    }
    const key = await newKey();
    const state: ClientState = before ?? {
      workflow: workflow.name,
      issuer,
      clientId: '',
      management: null,
      keys: [],
      signs: '',
      rotatedAt: 0,
      registered: '',
    };
    Object.assign(state, { keys: [key], signs: key.kid, rotatedAt: clock(), management: null });
    states.set(state);
    await states.save();
    const metadata = this.#metadataOf(workflow, state);
    const outcome = await registerClient({ endpoint, token, metadata }, this.#calls());
    return this.#registered(state, outcome, digestOf(metadata));
  }

  async #registered(state: ClientState, outcome: RegistrationOutcome, digest: string): Promise<string | null> {
    if (outcome.kind === 'gone') return 'the server does not know the client';
    if (outcome.kind !== 'registered') return outcome.problem;
    const { client } = outcome;
    const isNew = state.clientId === '';
    state.clientId = client.clientId;
    state.management = client.management;
    state.registered = digest;
    const newest = state.keys.at(-1)?.kid;
    if (newest !== undefined) state.signs = newest; // Now that the server knows it.
    await this.#options.states.save();
    this.#options.log.info(
      { workflow: state.workflow, client_id: state.clientId },
      isNew ? 'a client was registered for the workflow' : 'the client of the workflow was changed',
    );
    return null;
  }

  /** A new key is added first, signs once it is registered, and the one before goes after the overlap. */
  async #rotate(state: ClientState): Promise<string | null> {
    const { config, clock, states } = this.#options;
    const age = clock() - state.rotatedAt;
    if (state.management === null) return null;
    if (state.keys.length > 1 && state.signs === state.keys.at(-1)?.kid && age >= config.keys.overlap_seconds * 1000) {
      state.keys = state.keys.slice(-1);
    } else if (state.keys.length === 1 && age >= config.keys.rotate_after_seconds * 1000) {
      state.keys = [...state.keys, await newKey()];
      state.rotatedAt = clock();
    } else return null;
    await states.save();
    return null;
  }

  async #remove(name: string): Promise<string | null> {
    const { states, log } = this.#options;
    const state = states.get(name);
    if (state === undefined) return null;
    if (state.management !== null && state.issuer === this.#options.config.authorization_server.issuer) {
      const failure = await deleteClient(state.management, this.#calls());
      if (failure !== null) return failure.problem;
    }
    states.delete(name);
    await states.save();
    log.info({ workflow: name, client_id: state.clientId }, 'the client of a workflow that is gone was deleted');
    return null;
  }

  async #static({
    client_id: clientId,
    private_key_file: file,
  }: NonNullable<WorkflowConfig['client']>): Promise<WorkflowClient | null> {
    try {
      let key = this.#files.get(file);
      if (key === undefined) {
        key = new SigningKeyFile(file, (problem) =>
          this.#options.log.error({ problem }, 'the new key of a client was refused; the old one stays'),
        );
        this.#files.set(file, key);
      }
      return { clientId, key: await key.current() };
    } catch (error) {
      this.#options.log.error({ err: error, client_id: clientId }, 'the key of a client cannot be used');
      return null;
    }
  }

  /** A client of another authorization server is none. */
  #stateOf(name: string): ClientState | undefined {
    const state = this.#options.states.get(name);
    return state?.issuer === this.#options.config.authorization_server.issuer ? state : undefined;
  }

  #metadataOf(workflow: WorkflowConfig, state: ClientState) {
    const file = this.#options.config.authorization_server.registration?.software_statement_file;
    return clientMetadataOf(workflow, state.keys, file === undefined ? null : readFileSync(file, 'utf8').trim());
  }

  #calls() {
    const { timeout_ms: timeoutMs, allow_insecure: allowInsecure } = this.#options.config.authorization_server;
    return { timeoutMs, allowInsecure };
  }
}

async function newKey(): Promise<JWK> {
  const jwk = await generatePrivateJwk();
  return { ...jwk, kid: jwkThumbprint(jwk as Parameters<typeof jwkThumbprint>[0]) };
}
