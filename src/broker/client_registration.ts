import { readFileSync } from 'node:fs';
import type { JWK } from 'jose';
import type { BrokerConfig } from '../config/broker_schema.ts';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';
import { deleteClient, type RegistrationOutcome, registerClient, updateClient } from '../oauth/registration.ts';
import { generatePrivateJwk } from '../oauth/signing_key.ts';
import { jwkThumbprint } from '../oauth/thumbprint.ts';
import type { Log } from '../telemetry/log.ts';
import { clientMetadataOf, digestOf } from './client_metadata.ts';
import type { ClientState, ClientStates } from './client_state.ts';
import type { AuthorizationServer } from './server.ts';

/** What clients are registered with. */
export interface RegistrationParts {
  readonly config: Pick<BrokerConfig, 'authorization_server' | 'keys'>;
  readonly server: AuthorizationServer;
  readonly states: ClientStates;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Brings one client to where it should be: registered (RFC 7591), changed when the ceiling or the key changes (RFC 7592 §2.2), deleted with
 * its workflow (§2.3). The state is on the disk before a key is registered, so that no crash leaves a client whose key is lost. Each step
 * returns what is wrong, or null.
 */
export class ClientRegistration {
  readonly #parts: RegistrationParts;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
  }

  /** A client of another authorization server is none. */
  stateOf(name: string): ClientState | undefined {
    const state = this.#parts.states.get(name);
    return state?.issuer === this.#parts.config.authorization_server.issuer ? state : undefined;
  }

  async keep(workflow: WorkflowConfig): Promise<string | null> {
    const { issuer, registration } = this.#parts.config.authorization_server;
    if (registration === undefined)
      return 'the workflow names no client, and authorization_server.registration is not configured';
    const state = this.stateOf(workflow.name);
    if (state === undefined || state.clientId === '') return this.#register(workflow, state);
    await this.#rotate(state);
    const metadata = this.#metadataOf(workflow, state);
    const digest = digestOf(metadata);
    if (state.registered === digest) {
      await this.#parts.states.settle();
      return null;
    }
    if (state.management === null) return this.#unmanaged(workflow, state, digest);
    const outcome = await updateClient({ ...state, management: state.management }, metadata, this.#calls());
    if (outcome.kind !== 'gone') return this.#registered(state, outcome, digest);
    this.#parts.log.warn(
      { workflow: workflow.name, issuer, client_id: state.clientId },
      'the client is gone; it is registered again',
    );
    state.clientId = '';
    return this.#register(workflow, state);
  }

  async remove(name: string): Promise<string | null> {
    const { states, log, config } = this.#parts;
    const state = states.get(name);
    if (state === undefined) return null;
    if (state.management !== null && state.issuer === config.authorization_server.issuer) {
      const outcome = await deleteClient(state.management, this.#calls());
      if (outcome.kind === 'not_allowed') {
        // Its keys end here, and nobody can be that client any more.
        log.warn(
          { workflow: name, client_id: state.clientId },
          'the server lets nobody delete its clients; the keys of the client are destroyed, delete it there',
        );
      } else if (outcome.kind !== 'gone') return outcome.problem;
    }
    states.delete(name);
    await states.save();
    log.info({ workflow: name, client_id: state.clientId }, 'the client of a workflow that is gone was deleted');
    return null;
  }

  /** A client that nobody can change is registered anew only when its server does not know it any more. */
  async #unmanaged(workflow: WorkflowConfig, state: ClientState, digest: string): Promise<string | null> {
    if (state.registered === '') {
      state.clientId = '';
      return this.#register(workflow, state);
    }
    this.#parts.log.warn(
      { workflow: workflow.name },
      'the server lets nobody change its clients; the change applies in the broker only',
    );
    state.registered = digest;
    await this.#parts.states.save();
    return null;
  }

  async #register(workflow: WorkflowConfig, before: ClientState | undefined): Promise<string | null> {
    const { config, server, states, clock, log } = this.#parts;
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
    if (before?.attempted === true) {
      log.warn(
        { workflow: workflow.name, kid: before.signs },
        'a registration had no known outcome: the server may hold a client with this key, which is destroyed now, so that nobody can be that client; delete it there',
      );
    }
    const state = { ...blank(workflow.name, issuer), ...(await freshKey(clock)), attempted: true };
    const metadata = this.#metadataOf(workflow, state);
    states.set(state);
    try {
      await states.save();
    } catch (error) {
      state.attempted = false; // Nothing was sent.
      throw error;
    }
    const outcome = await registerClient({ endpoint, token, metadata }, this.#calls());
    return this.#registered(state, outcome, digestOf(metadata));
  }

  async #registered(state: ClientState, outcome: RegistrationOutcome, digest: string): Promise<string | null> {
    const { states, log } = this.#parts;
    if (outcome.kind === 'gone') return 'the server does not know the client';
    if (outcome.kind !== 'registered') {
      // What was refused is not there.
      if (outcome.kind === 'refused') state.attempted = false;
      return outcome.problem;
    }
    const { client } = outcome;
    const isNew = state.clientId === '';
    state.clientId = client.clientId;
    state.management = client.management;
    state.registered = digest;
    state.attempted = false;
    const newest = state.keys.at(-1)?.kid;
    if (newest !== undefined) state.signs = newest; // Now that the server knows it.
    await states.save();
    log.info(
      { workflow: state.workflow, client_id: state.clientId },
      isNew ? 'a client was registered for the workflow' : 'the client of the workflow was changed',
    );
    return null;
  }

  /** A new key is added first, signs once it is registered, and the one before goes after the overlap. */
  async #rotate(state: ClientState): Promise<void> {
    const { config, clock, states } = this.#parts;
    const age = clock() - state.rotatedAt;
    if (state.management === null) return;
    if (state.keys.length > 1 && state.signs === state.keys.at(-1)?.kid && age >= config.keys.overlap_seconds * 1000) {
      state.keys = state.keys.slice(-1);
    } else if (state.keys.length === 1 && age >= config.keys.rotate_after_seconds * 1000) {
      state.keys = [...state.keys, await newKey()];
      state.rotatedAt = clock();
    } else return;
    await states.save();
  }

  #metadataOf(workflow: WorkflowConfig, state: ClientState) {
    const file = this.#parts.config.authorization_server.registration?.software_statement_file;
    return clientMetadataOf(workflow, state.keys, file === undefined ? null : readFileSync(file, 'utf8').trim());
  }

  #calls() {
    const { timeout_ms: timeoutMs, allow_insecure: allowInsecure } = this.#parts.config.authorization_server;
    return { timeoutMs, allowInsecure };
  }
}

function blank(workflow: string, issuer: string): Omit<ClientState, 'keys' | 'signs' | 'rotatedAt'> {
  return { workflow, issuer, clientId: '', management: null, registered: '', attempted: false };
}

async function freshKey(clock: Clock): Promise<Pick<ClientState, 'keys' | 'signs' | 'rotatedAt'>> {
  const key = await newKey();
  return { keys: [key], signs: key.kid, rotatedAt: clock() };
}

async function newKey(): Promise<JWK & { kid: string }> {
  const jwk = await generatePrivateJwk();
  return { ...jwk, kid: jwkThumbprint(jwk as Parameters<typeof jwkThumbprint>[0]) };
}
