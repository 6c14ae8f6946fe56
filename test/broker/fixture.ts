import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactSign, exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters } from 'jose';
import { stringify } from 'yaml';
import { startAuthServer } from '../../src/authserver/authserver.ts';
import { type RunningBroker, startBroker } from '../../src/broker/broker.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import { parseBrokerConfig } from '../../src/config/load_broker.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import type { ServerFront } from './front.ts';

/** What tokens of these tests are for. */
export const RESOURCE = 'https://cloud.example.com/v1';
/** Whose identity tokens the broker takes. */
export const CI_ISSUER = 'https://token.actions.githubusercontent.com';
export const AUDIENCE = 'https://broker.example.com';

/** The ceiling of the workflow `deploy`. */
export const CEILING = {
  scopes: ['projects:read', 'builds:write'],
  authorization_details: [
    {
      type: 'cloud_api',
      actions: ['projects.get', 'builds.list', 'builds.create', 'builds.get'],
      identifier: 'projects/p1',
    },
  ],
};

/** A CI system reduced to its key: identity tokens in the shape of GitHub's. */
export class CiSystem {
  readonly jwks: { keys: JWK[] };
  readonly #key: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];

  private constructor(key: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'], jwks: { keys: JWK[] }) {
    this.#key = key;
    this.jwks = jwks;
  }

  static async create(kid = 'ci-1'): Promise<CiSystem> {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
    return new CiSystem(privateKey, {
      keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' }],
    });
  }

  /** Signs any payload under any header with the key of this system, also such as no CI system would. */
  sign(payload: string, header: JWTHeaderParameters): Promise<string> {
    return new CompactSign(new TextEncoder().encode(payload)).setProtectedHeader(header).sign(this.#key, {
      crit: { exp: true },
    });
  }

  /** An identity token of a run, with what differs. */
  token(changes: Record<string, unknown> = {}): Promise<string> {
    return this.sign(JSON.stringify(CiSystem.claims(changes)), { alg: 'RS256', kid: 'ci-1', typ: 'JWT' });
  }

  /** What such a token says; a member that is undefined is left out. */
  static claims(changes: Record<string, unknown> = {}): Record<string, unknown> {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: CI_ISSUER,
      aud: AUDIENCE,
      sub: 'repo:acme/infra:environment:production',
      jti: randomUUID(),
      iat: now - 2,
      nbf: now - 2,
      exp: now + 300,
      repository: 'acme/infra',
      repository_id: '4711',
      repository_owner_id: '42',
      workflow: 'Deploy',
      workflow_ref: 'acme/infra/.github/workflows/deploy.yml@refs/heads/main',
      ref: 'refs/heads/main',
      ref_protected: 'true',
      environment: 'production',
      event_name: 'push',
      run_id: '1001',
      actor: 'octocat',
      runner_environment: 'github-hosted',
      ...changes,
    };
    return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
  }
}

/** What a broker answered. */
export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** What may differ from the usual broker of a test. */
export interface TestBrokerOptions {
  /** Merged into the configuration, top-level key by top-level key. */
  readonly config?: Record<string, unknown>;
  /** Merged into the workflow `deploy`. */
  readonly workflow?: Record<string, unknown>;
  /** Further workflows. */
  readonly workflows?: readonly Record<string, unknown>[];
  readonly clock?: () => number;
  /** Merged into the client `deploy` of the authorization server. */
  readonly client?: Record<string, unknown>;
  /** Merged into the configuration of the authorization server. */
  readonly server?: Record<string, unknown>;
  /** Writes what the authorization server needs. */
  readonly before?: (folder: string) => void;
  /** Stands before this project's authorization server. */
  readonly front?: ServerFront;
  /** Another authorization server than this project's. */
  readonly issuer?: string;
}

/** A broker with everything around it: a CI system, an authorization server, a folder. */
export class TestBroker {
  readonly folder: string;
  readonly ci: CiSystem;
  readonly lines: Record<string, unknown>[] = [];
  broker!: RunningBroker;
  /** Of the authorization server; what jobs sign. */
  tokenEndpoint = '';
  issuer = '';
  clientJwk!: JWK;
  readonly #options: TestBrokerOptions;
  readonly #closing: (() => Promise<unknown>)[] = [];

  private constructor(folder: string, ci: CiSystem, options: TestBrokerOptions) {
    this.folder = folder;
    this.ci = ci;
    this.#options = options;
  }

  /** Everything but the broker. */
  static async prepare(options: TestBrokerOptions = {}): Promise<TestBroker> {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-broker-'));
    const test = new TestBroker(folder, await CiSystem.create(), options);
    writeFileSync(join(folder, 'ci.jwks.json'), JSON.stringify(test.ci.jwks));
    test.clientJwk = await generatePrivateJwk();
    writeFileSync(join(folder, 'client.jwk.json'), JSON.stringify(test.clientJwk), { mode: 0o600 });
    options.before?.(folder);
    if (options.issuer === undefined) await test.startAuthServer();
    else test.issuer = options.issuer;
    test.writeWorkflows();
    return test;
  }

  static async start(options: TestBrokerOptions = {}): Promise<TestBroker> {
    const test = await TestBroker.prepare(options);
    try {
      await test.startBroker();
    } catch (error) {
      await test.close();
      throw error;
    }
    return test;
  }

  /** This project's authorization server, with the client of the workflow. */
  async startAuthServer(port = 0): Promise<void> {
    const { front } = this.#options;
    const key = await importSigningKey(this.clientJwk);
    const job = [
      'provider',
      'repository',
      'repository_id',
      'workflow',
      'ref',
      'ref_protected',
      'environment',
      'event',
      'run_id',
      'actor',
      'runner',
    ];
    const config = parseAuthServerConfig(
      {
        version: 1,
        listen: { port },
        signing_keys_file: 'as.keys.json',
        clients: [
          {
            client_id: 'deploy',
            jwks: { keys: [key.publicJwk] },
            resources: [RESOURCE],
            ...CEILING,
            job: { from_assertion: job },
            ...this.#options.client,
          },
        ],
        ...(front !== undefined && { issuer: front.origin }),
        ...this.#options.server,
      },
      this.folder,
    );
    const server = await startAuthServer({ config, log: createLog({ level: 'fatal' }) });
    this.issuer = server.issuer;
    if (front !== undefined) front.target = server.address;
    this.#closing.push(() => server.close());
  }

  /** Ends what was started last: the authorization server, as long as nothing else was. */
  async endLast(): Promise<void> {
    await this.#closing.pop()?.();
  }

  writeWorkflows(more: readonly Record<string, unknown>[] = this.#options.workflows ?? []): void {
    const deploy = {
      name: 'deploy',
      match: { issuer: CI_ISSUER, repository_id: '4711', workflow: 'deploy.yml', ref: 'refs/heads/main' },
      resources: [RESOURCE],
      ...CEILING,
      client: { client_id: 'deploy', private_key_file: 'client.jwk.json' },
      ...this.#options.workflow,
    };
    const workflows = [deploy, ...more].filter((one) => one['name'] !== null);
    writeFileSync(join(this.folder, 'workflows.yaml'), stringify({ version: 1, workflows }));
  }

  /** The configuration, for a broker in this process or another. */
  config(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      version: 1,
      listen: { port: 0 },
      admin: { port: 0 },
      authorization_server: { issuer: this.issuer },
      workload_issuers: [{ preset: 'github', audience: AUDIENCE, jwks_file: 'ci.jwks.json' }],
      workflows_file: 'workflows.yaml',
      state_folder: 'state',
      records_file: 'records.jsonl',
      ...this.#options.config,
      ...changes,
    };
  }

  async startBroker(changes: Record<string, unknown> = {}, clock = this.#options.clock): Promise<RunningBroker> {
    const config = parseBrokerConfig(this.config(changes), this.folder);
    const log = createLog({
      level: 'debug',
      pretty: false,
      destination: { write: (line) => void this.lines.push(JSON.parse(line) as never) },
    });
    this.broker = await startBroker({ config, log, ...(clock === undefined ? {} : { clock }) });
    await this.describe();
    return this.broker;
  }

  /** Learns from the broker what jobs sign. */
  async describe(): Promise<void> {
    const described = await this.get('/.well-known/sallyport-broker');
    this.tokenEndpoint = String(described.body['token_endpoint'] ?? this.tokenEndpoint);
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answered> {
    return read(await fetch(this.broker.origin + path, { headers }));
  }

  /** The records so far. */
  records(): Record<string, unknown>[] {
    return readFileSync(join(this.folder, 'records.jsonl'), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async close(): Promise<void> {
    await this.broker?.close();
    for (const close of this.#closing.splice(0).reverse()) await close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What a job asks for. */
export interface Asked {
  readonly scope?: string;
  readonly resource?: string | readonly string[];
  readonly authorization_details?: unknown;
  readonly [parameter: string]: unknown;
}

/** A job beside a broker: its key, its identity token. */
export class BrokerJob {
  readonly key: TestKey;
  readonly identity: string;
  readonly #test: TestBroker;

  private constructor(test: TestBroker, key: TestKey, identity: string) {
    this.#test = test;
    this.key = key;
    this.identity = identity;
  }

  static async start(test: TestBroker, claims: Record<string, unknown> = {}, key?: TestKey): Promise<BrokerJob> {
    return new BrokerJob(test, key ?? (await makeKey()), await test.ci.token(claims));
  }

  /** A proof for the token endpoint of the authorization server, or another place. */
  proof(url = this.#test.tokenEndpoint, nonce?: string): Promise<string> {
    const { privateKey, publicJwk, alg } = this.key;
    return makeProof({
      privateKey,
      publicJwk,
      alg,
      method: 'POST',
      url,
      clock: Date.now,
      ...(nonce !== undefined && { nonce }),
    });
  }

  async ask(asked: Asked = { scope: 'projects:read' }, headers: Record<string, string> = {}): Promise<Answered> {
    const all = { authorization: `Bearer ${this.identity}`, dpop: await this.proof(), ...headers };
    return read(
      await fetch(`${this.#test.broker.origin}/token`, { method: 'POST', headers: all, body: formOf(asked) }),
    );
  }

  /** Ends itself. */
  async end(id: unknown, headers: Record<string, string> = {}, body?: URLSearchParams): Promise<Answered> {
    const url = `${this.#test.broker.origin}/jobs/${String(id)}/end`;
    const all = { dpop: await this.proof(url), ...headers };
    return read(await fetch(url, { method: 'POST', headers: all, ...(body !== undefined && { body }) }));
  }
}

/** The form of a request. */
export function formOf(asked: Asked): URLSearchParams {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    if (value === undefined) continue;
    if (name === 'authorization_details') form.set(name, typeof value === 'string' ? value : JSON.stringify(value));
    else for (const one of [value].flat()) form.append(name, String(one));
  }
  return form;
}

/** Claims of a JWT, unverified. */
export function claimsOf(token: unknown): Record<string, unknown> {
  return JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
}

async function read(response: Response): Promise<Answered> {
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : (JSON.parse(text) as never) };
}
