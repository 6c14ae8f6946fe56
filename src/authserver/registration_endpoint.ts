import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RegistrationConfig } from '../config/authserver_registration.ts';
import { type MetadataProblem, readClientMetadata } from '../config/client_metadata.ts';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import { type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import type { Log } from '../telemetry/log.ts';
import type { ClientDirectory, StoredClient } from './client_directory.ts';
import type { DetailTypes } from './detail_types.ts';
import { sendError, sendJson } from './endpoints.ts';
import { readBody } from './form.ts';
import { ENDPOINTS } from './metadata.ts';
import { type MadeClient, makeRegisteredClient, type RegistrationFacts } from './registered_client.ts';
import type { Admission, AdmissionRefused, Registrars } from './registrars.ts';
import { claimUses } from './single_use.ts';
import type { SoftwareStatements } from './software_statement.ts';
import { type Store, StoreUnavailable } from './store.ts';
import { usesOf } from './subject.ts';

/** What clients are registered with. */
export interface RegistrationParts {
  readonly config: RegistrationConfig;
  readonly issuer: string;
  readonly registrars: Registrars;
  readonly statements: SoftwareStatements | null;
  readonly clients: ClientDirectory;
  readonly types: DetailTypes;
  readonly store: Store;
  readonly certificates: RegistrationFacts['certificates'];
  readonly clock: Clock;
  readonly log: Log;
}

const MAX_BYTES = 131_072;
/** Keys of a workload that registered several times: runs that overlap each have their own. */
const MAX_KEYS = 10;

/** A refusal: the status, the code of RFC 7591 §3.2.2 or RFC 6750 §3.1, and fixed words. */
class Refused extends Error {
  readonly status: number;
  readonly error: string;

  constructor(status: number, error: string, description: string) {
    super(description);
    this.status = status;
    this.error = error;
  }
}

/** Registers clients (RFC 7591), and lets each see, change and remove itself (RFC 7592). */
export class RegistrationEndpoint {
  readonly #parts: RegistrationParts;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
  }

  /** RFC 7591 §3. */
  register(request: IncomingMessage, response: ServerResponse): Promise<void> {
    return this.#answer(response, async () => {
      const admission = await this.#admit(request);
      const said = await this.#readMetadata(request);
      const { registrar, workload } = admission;
      const clientId = workload?.clientId ?? `dc_${randomBytes(18).toString('base64url')}`;
      const workloads = workload === undefined ? [] : [workload.rule];
      const made = this.#make(said, { clientId, registrar, workloads });
      const stored =
        admission.workload === undefined ? await this.#add(made) : await this.#addWorkload(made, admission);
      this.#parts.log.info({ client_id: made.client.clientId, by: stored.by }, 'client registered');
      return { status: 201, body: this.#describe(stored, stored.accessToken) };
    });
  }

  /** RFC 7592 §2. */
  manage(request: IncomingMessage, response: ServerResponse, clientId: string): Promise<void> {
    return this.#answer(response, async () => {
      const { stored, accessToken } = await this.#authorize(request, clientId);
      if (request.method === 'GET') return { status: 200, body: this.#describe(stored, accessToken) };
      if (request.method === 'PUT') {
        return { status: 200, body: this.#describe(await this.#change(request, stored), accessToken) };
      }
      await this.#parts.clients.remove(clientId);
      this.#parts.log.info({ client_id: clientId, by: stored.by }, 'client removed');
      return { status: 204, body: null };
    });
  }

  async #answer(
    response: ServerResponse,
    step: () => Promise<{ status: number; body: JsonObject | null }>,
  ): Promise<void> {
    try {
      const { status, body } = await step();
      if (body !== null) return sendJson(response, { status, body: JSON.stringify(body) });
      response.writeHead(status, { 'cache-control': 'no-store' }).end();
    } catch (error) {
      if (error instanceof StoreUnavailable) this.#parts.log.error({ err: error }, 'registration failed');
      const refused = error instanceof StoreUnavailable ? busy() : error;
      if (!(refused instanceof Refused)) throw error;
      this.#refuse(response, refused);
    }
  }

  #refuse(response: ServerResponse, { status, error, message }: Refused): void {
    if (status === 401) {
      const code = error === 'missing' ? '' : `, error="${error}"`;
      response.setHeader('www-authenticate', `Bearer realm="registration"${code}`); // RFC 6750 §3
    }
    if (status === 503) response.setHeader('retry-after', '5');
    this.#parts.log.warn({ error, problem: message }, 'registration refused');
    sendError(response, status, {
      error: error === 'missing' ? 'invalid_token' : error,
      error_description: message,
    });
  }

  async #admit(request: IncomingMessage): Promise<Admission> {
    const admission = await this.#parts.registrars.admit(request.headers.authorization);
    if (typeof admission !== 'string') return admission;
    throw REFUSALS[admission]();
  }

  /** RFC 7591 §2.3: what the statement says goes before what stands beside it. */
  async #readMetadata(request: IncomingMessage): Promise<ReturnType<typeof metadataOf>> {
    const { statements, config } = this.#parts;
    if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? ''))
      throw new Refused(400, 'invalid_client_metadata', 'expected application/json');
    const body = await readBody(request, MAX_BYTES);
    const json = body.ok ? parseJsonObject(body.value, { maxBytes: MAX_BYTES }) : body;
    if (!json.ok) throw new Refused(400, 'invalid_client_metadata', json.problem);
    const { software_statement: statement } = json.value;
    if (statement === undefined) {
      if (config.software_statements?.required === true)
        throw new Refused(400, 'invalid_software_statement', 'a software statement is required');
      return metadataOf(json.value);
    }
    if (statements === null || typeof statement !== 'string')
      throw new Refused(400, 'unapproved_software_statement', 'no issuer of statements is trusted here');
    const stated = await statements.verify(statement);
    if (stated.ok) return metadataOf({ ...json.value, ...stated.value });
    if (stated.problem === 'unapproved')
      throw new Refused(400, 'unapproved_software_statement', 'its issuer is not trusted');
    throw new Refused(400, 'invalid_software_statement', stated.problem);
  }

  #make(
    said: ReturnType<typeof metadataOf>,
    facts: Pick<RegistrationFacts, 'clientId' | 'registrar' | 'workloads'>,
  ): MadeClient {
    const { types, certificates } = this.#parts;
    const made = makeRegisteredClient(said, { ...facts, types, certificates });
    if (!made.ok) throw new Refused(400, 'invalid_client_metadata', made.problem);
    return { ...made.value, metadata: { ...made.value.metadata, registered_by: facts.registrar.name } };
  }

  async #add(made: MadeClient): Promise<StoredClient & { accessToken: string }> {
    const { clients, config } = this.#parts;
    if ((await clients.count()) >= config.clients) throw busy();
    const fresh = this.#fresh(made);
    if (!(await clients.add(fresh.stored))) throw busy();
    // Others may have come in the same moment: counted again, so that there are never more.
    if ((await clients.count()) > config.clients) {
      await clients.remove(made.client.clientId);
      throw busy();
    }
    return { ...fresh.stored, accessToken: fresh.accessToken };
  }

  /** A workload is always the same client: registering again adds its key, since runs overlap. */
  async #addWorkload(made: MadeClient, { workload }: Admission): Promise<StoredClient & { accessToken: string }> {
    const { clients, store } = this.#parts;
    if (workload === undefined) throw new TypeError('not a workload');
    const [key] = made.client.keys?.keys ?? [];
    const used = await claimUses(store, usesOf([workload.identity], `registration ${String(key?.['kid'])}`));
    if (used !== null) throw new Refused(401, 'invalid_token', 'the workload identity token was used before');
    if ((await clients.registered(workload.clientId)) === null) return this.#add(made);
    const fresh = this.#fresh(made);
    const changed = await clients.change(workload.clientId, (standing) => {
      const keys = [...(made.client.keys?.keys ?? []), ...(standing.client.keys?.keys ?? [])];
      const distinct = [...new Map(keys.map((one) => [String(one['kid']), one])).values()].slice(0, MAX_KEYS);
      const client = { ...made.client, keys: distinct.length === 0 ? null : { keys: distinct } };
      return { ...fresh.stored, client, issuedAt: standing.issuedAt };
    });
    if (changed === null) throw busy();
    return { ...changed, accessToken: fresh.accessToken };
  }

  #fresh({ client, metadata }: MadeClient): { stored: StoredClient; accessToken: string } {
    const { clock, config } = this.#parts;
    const now = secondsOf(clock());
    const accessToken = `sprt_${randomBytes(32).toString('base64url')}`;
    const stored = {
      client,
      metadata,
      accessDigest: sha256Base64url(accessToken),
      by: String(metadata['registered_by']),
      issuedAt: now,
      expiresAt: now + config.client_lifetime_seconds,
      usedAt: now,
    };
    return { stored, accessToken };
  }

  /** RFC 7592 §3: the token of this very client; whoever has another one learns nothing of whether it exists. */
  async #authorize(request: IncomingMessage, clientId: string): Promise<{ stored: StoredClient; accessToken: string }> {
    const accessToken = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (accessToken === undefined) throw REFUSALS.missing();
    const stored = await this.#parts.clients.registered(clientId);
    const presented = Buffer.from(sha256Base64url(accessToken));
    if (stored === null || !timingSafeEqual(presented, Buffer.from(stored.accessDigest))) throw REFUSALS.wrong();
    return { stored, accessToken };
  }

  /** RFC 7592 §2.2: everything is said anew, and judged by what its registrar allows now. */
  async #change(request: IncomingMessage, stored: StoredClient): Promise<StoredClient> {
    const { clients, registrars, log } = this.#parts;
    const { clientId, workloads } = stored.client;
    const said = await this.#readMetadata(request);
    if (said.client_id !== clientId) throw new Refused(400, 'invalid_client_metadata', 'client_id is another');
    const registrar = registrars.named(stored.by);
    if (registrar === undefined) throw new Refused(403, 'access_denied', 'who let this client in may do so no more');
    const { client, metadata } = this.#make(said, { clientId, registrar, workloads });
    const changed = await clients.change(clientId, (standing) => ({ ...standing, client, metadata }));
    if (changed === null) throw busy();
    log.info({ client_id: clientId, by: stored.by }, 'client changed');
    return changed;
  }

  /** RFC 7591 §3.2.1, RFC 7592 §3. There is no secret, so nothing of it expires; the client itself does. */
  #describe({ client, metadata, issuedAt, expiresAt }: StoredClient, accessToken: string): JsonObject {
    const uri = `${this.#parts.issuer}${ENDPOINTS.registration}/${client.clientId}`;
    const { registered_by: _by, ...said } = metadata;
    return {
      ...said,
      ...(client.keys === null ? {} : { jwks: client.keys }),
      client_id: client.clientId,
      client_id_issued_at: issuedAt,
      client_expires_at: expiresAt,
      registration_access_token: accessToken,
      registration_client_uri: uri,
    };
  }
}

const REFUSALS: Readonly<Record<AdmissionRefused, () => Refused>> = {
  missing: () => new Refused(401, 'missing', 'a bearer token is required'),
  wrong: () => new Refused(401, 'invalid_token', 'the bearer token is not good here'),
  unavailable: () => busy(),
};

function busy(): Refused {
  return new Refused(503, 'temporarily_unavailable', 'nothing can be registered now');
}

function metadataOf(value: JsonObject): Exclude<ReturnType<typeof readClientMetadata>, MetadataProblem> {
  const said = readClientMetadata(value);
  if ('error' in said) throw new Refused(400, said.error, said.description);
  return said;
}
