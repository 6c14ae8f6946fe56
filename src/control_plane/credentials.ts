import { promises as fs, statSync } from 'node:fs';
import type { ServiceConfig, ServiceCredentials } from '../config/service_schema.ts';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from '../oauth/client_assertion.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { parseJsonObject } from '../oauth/strict_json.ts';
import type { ServiceAgent } from './agent.ts';
import { type ExchangeAnswer, exchange } from './exchange.ts';

/** What goes into the Authorization header of each request. */
export interface Credentials {
  /** The header's value; undefined where none is sent. @throws Error that says why there is none, without anything secret */
  authorization(): Promise<string | undefined>;
  /** The service refused what was sent (401): whatever is remembered is not used again. */
  refused(): void;
}

/** What credentials are made with. */
export interface CredentialParts {
  readonly agent: ServiceAgent;
  readonly clock: Clock;
}

/** Bytes of a file with a token. */
const TOKEN_LIMIT_BYTES = 65_536;
/** Bytes of the answer of a token endpoint. */
const ANSWER_LIMIT_BYTES = 1_048_576;
/** Seconds before its end that a token is not used any more. */
const SPARE_SECONDS = 10;
/** Seconds that a token without a lifetime is used (RFC 6749 §5.1 lets it be left out). */
const UNKNOWN_LIFETIME = 60;

/** Makes the credentials of a service. @throws Error when there is no usable key or token file */
export function createCredentials(config: ServiceConfig, parts: CredentialParts): Credentials {
  const { credentials } = config;
  switch (credentials?.type) {
    case 'bearer':
      return bearerCredentials(credentials);
    case 'oauth2':
      return new TokenCredentials(credentials, config, parts);
    default:
      // A client certificate is part of the connection.
      return { authorization: () => Promise.resolve(undefined), refused: () => undefined };
  }
}

type Bearer = Extract<ServiceCredentials, { type: 'bearer' }>;

function bearerCredentials({ token_file: file, scheme }: Bearer): Credentials {
  if (statSync(file, { throwIfNoEntry: false }) === undefined) throw new Error(`${file}: there is no such file`);
  return {
    authorization: async () => `${scheme} ${await readToken(file)}`,
    refused: () => undefined,
  };
}

async function readToken(file: string): Promise<string> {
  const bytes = await fs.readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${file} cannot be read (${error.code ?? 'unknown error'})`);
  });
  const token = bytes.toString('latin1').trim();
  if (bytes.length > TOKEN_LIMIT_BYTES || !/^[\x21-\x7e]+$/.test(token)) {
    throw new Error(`${file}: expected one token: printable characters without spaces`);
  }
  return token;
}

type OAuth2 = Extract<ServiceCredentials, { type: 'oauth2' }>;

/** Client credentials with `private_key_jwt` (RFC 6749 §4.4, RFC 7523 §2.2); a token is used until shortly before its end. */
class TokenCredentials implements Credentials {
  readonly #config: OAuth2;
  readonly #timeoutMs: number;
  readonly #parts: CredentialParts;
  readonly #key: SigningKeyFile;
  #token: { readonly value: string; readonly until: number } | null = null;

  constructor(config: OAuth2, { timeout_ms: timeoutMs }: ServiceConfig, parts: CredentialParts) {
    this.#config = config;
    this.#timeoutMs = timeoutMs;
    this.#parts = parts;
    this.#key = new SigningKeyFile(config.private_key_file);
  }

  async authorization(): Promise<string> {
    const now = secondsOf(this.#parts.clock());
    if (this.#token === null || this.#token.until <= now) this.#token = await this.#ask(now);
    return `Bearer ${this.#token.value}`;
  }

  refused(): void {
    this.#token = null;
  }

  async #ask(now: number): Promise<{ value: string; until: number }> {
    const { token_endpoint: url, client_id: clientId, audience = url, scopes } = this.#config;
    const { agent, clock } = this.#parts;
    const assertion = await makeClientAssertion({ clientId, issuer: audience, key: await this.#key.current(), clock });
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: assertion,
      ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
    });
    const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
    const body = Buffer.from(form.toString());
    const request = {
      url,
      method: 'POST',
      headers,
      body,
      timeoutMs: this.#timeoutMs,
      maxBytes: ANSWER_LIMIT_BYTES,
    } as const;
    const { value, lifetime } = readTokenAnswer(url, await exchange(request, agent.current()));
    return { value, until: now + lifetime - SPARE_SECONDS };
  }
}

function readTokenAnswer(url: string, answer: ExchangeAnswer): { value: string; lifetime: number } {
  if (!answer.ok) throw new Error(`${url} ${answer.problem}`);
  const json = parseJsonObject(answer.body, { maxBytes: ANSWER_LIMIT_BYTES });
  if (answer.status !== 200) {
    const error = json.ok ? json.value['error'] : undefined;
    const shown = typeof error === 'string' && /^[\w.-]{1,64}$/.test(error) ? ` (${error})` : '';
    throw new Error(`${url} gave no token: status ${answer.status}${shown}`);
  }
  const { access_token: value, token_type: type, expires_in: lifetime = UNKNOWN_LIFETIME } = json.ok ? json.value : {};
  const usable = typeof value === 'string' && /^[\x21-\x7e]{1,65536}$/.test(value) && typeof lifetime === 'number';
  if (!usable || typeof type !== 'string' || type.toLowerCase() !== 'bearer') {
    throw new Error(`${url} gave an answer that holds no bearer token`);
  }
  return { value, lifetime };
}
