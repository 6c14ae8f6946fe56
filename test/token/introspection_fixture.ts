import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, type JWK, jwtVerify } from 'jose';
import type { IntrospectionConfig, IssuerConfig } from '../../src/config/schema.ts';
import type { VerifiedToken } from '../../src/kernel/context.ts';
import type { Reason } from '../../src/kernel/reasons.ts';
import type { Checked } from '../../src/kernel/result.ts';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { createTokenVerifier, type TokenVerifier, type TokenVerifierOptions } from '../../src/token/verify_token.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { type Answer, KeyServer, sendJson } from '../support/key_server.ts';
import { signJws } from '../support/sign_jws.ts';
import { contextOf, issuerConfig, JKT, NOW, published, RESOURCE } from './fixture.ts';

export const CLIENT_ID = 'gateway';

/** A question as the issuer received it. */
export interface Question {
  readonly form: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly method: string | undefined;
}

/** What differs from the usual configuration. */
export interface BenchOptions {
  readonly introspection?: Partial<IntrospectionConfig>;
  readonly issuer?: Partial<IssuerConfig>;
  readonly verifier?: Partial<TokenVerifierOptions>;
}

/** An issuer with a real introspection endpoint, a verifier that asks it, and a clock that stands still until it is set. */
export class IntrospectionBench {
  readonly server: KeyServer;
  readonly key: TestKey;
  readonly clientKey: JWK;
  readonly directory: string;
  readonly questions: Question[] = [];
  /** What the issuer says of each token; it calls all others inactive. */
  readonly known = new Map<string, unknown>();
  /** Lines of the verifier's log: level, message, problem. */
  readonly log: unknown[] = [];
  readonly #more: TokenVerifier[] = [];
  readonly #options: BenchOptions;
  readonly verifier: TokenVerifier;
  /** Milliseconds since the Unix epoch. */
  now = NOW * 1000;

  private constructor(parts: Pick<IntrospectionBench, 'server' | 'key' | 'clientKey'>, options: BenchOptions) {
    this.server = parts.server;
    this.key = parts.key;
    this.clientKey = parts.clientKey;
    this.#options = options;
    this.directory = mkdtempSync(join(tmpdir(), 'sallyport-introspection-'));
    writeFileSync(this.keyFile, JSON.stringify(this.clientKey));
    this.restore();
    this.verifier = this.another();
  }

  static async start(options: BenchOptions = {}): Promise<IntrospectionBench> {
    const [server, key, clientKey] = await Promise.all([KeyServer.start(), makeKey(), generatePrivateJwk()]);
    server.keys = [published(key) as never];
    const bench = new IntrospectionBench({ server, key, clientKey: { ...clientKey, kid: 'gw-1' } }, options);
    await bench.verifier.settled();
    return bench;
  }

  async stop(): Promise<void> {
    for (const verifier of this.#more) verifier.close();
    rmSync(this.directory, { recursive: true, force: true });
    await this.server.stop();
  }

  get endpoint(): string {
    return `${this.server.issuer}/introspect`;
  }

  get keyFile(): string {
    return join(this.directory, 'client.jwk.json');
  }

  /** An issuer of the configuration that is asked. */
  config(changes: BenchOptions = this.#options): IssuerConfig {
    const introspection: IntrospectionConfig = {
      endpoint: this.endpoint,
      client_id: CLIENT_ID,
      private_key_file: this.keyFile,
      when: 'opaque',
      response: 'json',
      algorithms: ['ES256', 'PS256', 'EdDSA'],
      timeout_ms: 1000,
      cache_seconds: 30,
      connections: 32,
      new_tokens_per_second: 250,
      ...changes.introspection,
    };
    return issuerConfig(this.server.issuer, { introspection, ...changes.issuer });
  }

  /** A further verifier, closed with the bench. */
  another(options: Partial<TokenVerifierOptions> = {}): TokenVerifier {
    const note = (level: string) => (fields: object, message: string) =>
      this.log.push([level, message, (fields as { problem?: string }).problem]);
    const verifier = createTokenVerifier({
      issuers: [this.config()],
      cacheSize: 100,
      clock: () => this.now,
      log: { info: note('info'), warn: note('warn') },
      ...this.#options.verifier,
      ...options,
    });
    this.#more.push(verifier);
    return verifier;
  }

  /** The members of a good answer, with changes; one set to undefined is left out. */
  active(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      active: true,
      iss: this.server.issuer,
      aud: RESOURCE,
      sub: 'wf-4711',
      client_id: 'wf-4711',
      iat: NOW - 5,
      exp: NOW + 300,
      scope: 'projects:read builds:write',
      token_type: 'DPoP',
      cnf: { jkt: JKT },
      ...changes,
    };
  }

  /** A new opaque token that the issuer knows. */
  token(changes: Record<string, unknown> = {}): string {
    const token = `opaque~${crypto.randomUUID()}`;
    this.known.set(token, this.active(changes));
    return token;
  }

  /** A JWT access token of the issuer; known to it as active when `answer` is given. */
  jwt(claims: Record<string, unknown> = {}, answer?: Record<string, unknown>): string {
    const payload = {
      iss: this.server.issuer,
      aud: RESOURCE,
      sub: 'wf-4711',
      client_id: 'wf-4711',
      jti: crypto.randomUUID(),
      iat: NOW - 5,
      exp: NOW + 300,
      scope: 'projects:read',
      cnf: { jkt: JKT },
      ...claims,
    };
    const token = this.sign({ typ: 'at+jwt' }, payload);
    if (answer !== undefined) this.known.set(token, answer);
    return token;
  }

  /** Signs as the issuer. */
  sign(header: Record<string, unknown>, payload: Record<string, unknown>, key: TestKey = this.key): string {
    return signJws({ alg: key.alg, kid: this.key.thumbprint.slice(0, 8), ...header }, payload, key);
  }

  /** Answers questions like this, until `restore`. */
  onQuestion(answer: Answer): void {
    this.server.answers.set('/introspect', async (request, response) => {
      await this.#take(request);
      answer(request, response);
    });
  }

  restore(): void {
    this.server.answers.set('/introspect', async (request, response) => {
      const { form } = await this.#take(request);
      sendJson(response, this.known.get(String(form.get('token'))) ?? { active: false });
    });
  }

  async verify(token: string, resource = RESOURCE): Promise<Checked<VerifiedToken>> {
    return this.verifier.verify(contextOf(token, resource));
  }

  /** The reason of a refusal; null when the token passes. */
  async reasonOf(token: string, resource = RESOURCE): Promise<Reason | null> {
    const checked = await this.verify(token, resource);
    return checked.ok ? null : checked.denial.reason;
  }

  /** The reason for a token of which the issuer says this. */
  reasonFor(changes: Record<string, unknown>): Promise<Reason | null> {
    return this.reasonOf(this.token(changes));
  }

  /** The token's facts; fails when it is refused. */
  async factsOf(token: string): Promise<VerifiedToken> {
    const checked = await this.verify(token);
    if (!checked.ok) throw new Error(`refused: ${checked.denial.reason} ${checked.denial.note ?? ''}`);
    return checked.value;
  }

  /** The claims of the assertion in a question, verified as an authorization server would. */
  async assertionOf({ form }: Question): Promise<Record<string, unknown>> {
    const { publicJwk } = await importSigningKey(this.clientKey);
    const keys = createLocalJWKSet({ keys: [{ ...publicJwk, kid: 'gw-1' }] });
    const { payload } = await jwtVerify(String(form.get('client_assertion')), keys, {
      issuer: CLIENT_ID,
      subject: CLIENT_ID,
      requiredClaims: ['exp', 'iat', 'jti'],
      currentDate: new Date(this.now),
    });
    return payload;
  }

  async #take(request: IncomingMessage): Promise<Question> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const question = { form: new URLSearchParams(body), headers: request.headers, method: request.method };
    this.questions.push(question);
    return question;
  }
}
