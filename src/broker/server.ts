import type { BrokerConfig } from '../config/broker_schema.ts';
import { discoverMetadata } from '../oauth/metadata.ts';
import { isSecureUrl } from '../oauth/secure_url.ts';
import type { Log } from '../telemetry/log.ts';

/** What the broker needs to know of the authorization server, from its metadata (RFC 8414 §2). */
export interface ServerEndpoints {
  readonly issuer: string;
  readonly token: string;
  /** RFC 7591; null where clients are not registered. */
  readonly registration: string | null;
  /** RFC 7009; null where tokens are not revoked. */
  readonly revocation: string | null;
  /** Algorithms of proofs that it takes (RFC 9449 §5.1). */
  readonly proofAlgorithms: readonly string[];
}

/** Milliseconds until the metadata is looked at again; and while there is none, doubled up to the most. */
const REFRESH_MS = 600_000;
const RETRY_MS = { first: 500, most: 10_000 } as const;
/** Where the metadata does not say: what every server with DPoP takes. */
const USUAL_ALGORITHMS = ['ES256'];

/** The authorization server, found by its metadata, which is read again from time to time; what was read before is kept while it cannot be. */
export class AuthorizationServer {
  readonly #config: BrokerConfig['authorization_server'];
  readonly #log: Log;
  #endpoints: ServerEndpoints | null = null;
  #problem = 'its metadata was not read yet';
  #retryMs: number = RETRY_MS.first;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(config: BrokerConfig['authorization_server'], log: Log) {
    this.#config = config;
    this.#log = log;
  }

  /** Null as long as the metadata could not be read once. */
  get endpoints(): ServerEndpoints | null {
    return this.#endpoints;
  }

  /** What went wrong last; empty when nothing did. */
  get problem(): string {
    return this.#problem;
  }

  /** Reads the metadata once, and from then on from time to time. Never rejects: a server that is down is found later. */
  async start(): Promise<void> {
    const found = await discoverMetadata(this.#config.issuer, {
      timeoutMs: this.#config.timeout_ms,
      allowInsecure: this.#config.allow_insecure,
    });
    if (this.#closed) return;
    const read = found.ok ? this.#read(found.value.document) : found.problem;
    if (typeof read === 'string') {
      if (this.#problem !== read)
        this.#log.warn({ issuer: this.#config.issuer, problem: read }, 'the authorization server cannot be used');
      this.#problem = read;
    } else {
      if (this.#endpoints === null) this.#log.info({ issuer: read.issuer }, 'the authorization server is known');
      this.#endpoints = read;
      this.#problem = '';
    }
    const soon = this.#endpoints === null;
    this.#timer = setTimeout(() => void this.start(), soon ? this.#retryMs : REFRESH_MS).unref();
    this.#retryMs = soon ? Math.min(this.#retryMs * 2, RETRY_MS.most) : RETRY_MS.first;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #read(document: Readonly<Record<string, unknown>>): ServerEndpoints | string {
    const url = (name: string): string | null => {
      const value = document[name];
      return typeof value === 'string' && isSecureUrl(value, this.#config.allow_insecure) ? value : null;
    };
    const token = url('token_endpoint');
    if (token === null) return 'the metadata names no token_endpoint that is an https URL';
    const algorithms = document['dpop_signing_alg_values_supported'];
    const named = Array.isArray(algorithms) ? algorithms.filter((name) => typeof name === 'string') : [];
    return {
      issuer: this.#config.issuer,
      token,
      registration: url('registration_endpoint'),
      revocation: url('revocation_endpoint'),
      proofAlgorithms: named.length === 0 ? USUAL_ALGORITHMS : named,
    };
  }
}
