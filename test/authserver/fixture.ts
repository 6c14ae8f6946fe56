import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type JWTPayload, SignJWT } from 'jose';
import { type RunningAuthServer, startAuthServer } from '../../src/authserver/authserver.ts';
import type { EvaluateIssuance } from '../../src/authserver/issuance_policy.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from '../../src/oauth/client_assertion.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import type { Log } from '../../src/telemetry/log.ts';

/** What tokens of the test server are for. */
export const RESOURCE = 'https://cloud.example.com/v1';

/** One item that lies within the ceiling of the client `ci`. */
export const BUILDS = { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' };

/** A log line as it would have been written. */
export interface LogLine {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** An authorization server on a free port, with one client of its own key. */
export interface TestServer extends RunningAuthServer {
  readonly clientKey: SigningKey;
  readonly jobKey: SigningKey;
  readonly lines: readonly LogLine[];
  readonly directory: string;
}

/** Starts a server whose client `ci` may have some things and not others; `changes` go into the client, `more` beside it. */
export async function startTestServer(
  changes: Record<string, unknown> = {},
  more: {
    server?: Record<string, unknown>;
    clients?: Record<string, unknown>[];
    clock?: () => number;
    policy?: EvaluateIssuance;
  } = {},
): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), 'sallyport-authserver-'));
  const clientKey = await importSigningKey(await generatePrivateJwk());
  const jobKey = await importSigningKey(await generatePrivateJwk());
  const client = {
    client_id: 'ci',
    jwks: { keys: [clientKey.publicJwk] },
    resources: [RESOURCE, 'https://other.example.com/'],
    scopes: ['builds:read', 'builds:write'],
    authorization_details: [
      { type: 'cloud_api', actions: ['builds.create', 'builds.list'], identifier: 'projects/p1' },
      { type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p2' },
    ],
    ...changes,
  };
  const config = parseAuthServerConfig(
    {
      version: 1,
      listen: { port: 0 },
      signing_keys_file: 'keys.json',
      clients: [client, ...(more.clients ?? [])],
      ...more.server,
    },
    directory,
  );
  const { log, lines } = recordingLog();
  const running = await startAuthServer({
    config,
    log,
    issuancePolicy: more.policy ?? null,
    ...(more.clock === undefined ? {} : { clock: more.clock }),
  });
  const close = async () => {
    await running.close();
    await rm(directory, { recursive: true, force: true });
  };
  return { ...running, close, clientKey, jobKey, lines, directory };
}

/** A log that keeps its lines. */
export function recordingLog(): { log: Log; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write = (level: string) => (fields: Record<string, unknown>, message: string) => {
    lines.push({ level, fields, message });
  };
  const log = Object.fromEntries(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace'].map((name) => [name, write(name)]),
  );
  return { log: log as unknown as Log, lines };
}

/** The parts of a token request that a test may replace; a header or parameter that is null is left out. */
export interface RequestParts {
  readonly assertion?: string;
  readonly proof?: string | null;
  readonly parameters?: Record<string, string | string[] | null>;
  readonly headers?: Record<string, string>;
}

/** The answer of the token endpoint. */
export interface TokenAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** Sends a token request that is right in everything but what `parts` says. */
export async function requestToken(server: TestServer, parts: RequestParts = {}): Promise<TokenAnswer> {
  const form = new URLSearchParams();
  const parameters = {
    grant_type: 'client_credentials',
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: parts.assertion ?? (await assertionFor(server)),
    resource: RESOURCE,
    scope: 'builds:write',
    ...parts.parameters,
  };
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of value === null ? [] : [value].flat()) form.append(name, one);
  }
  const headers = new Headers({ 'content-type': 'application/x-www-form-urlencoded', ...parts.headers });
  const proof = parts.proof === undefined ? await proofFor(server) : parts.proof;
  if (proof !== null) headers.set('DPoP', proof);
  const response = await fetch(`${server.address}/token`, { method: 'POST', headers, body: form });
  return { status: response.status, headers: response.headers, body: (await response.json()) as TokenAnswer['body'] };
}

/** A good assertion of the client `ci`. */
export function assertionFor(server: TestServer, claims: Record<string, unknown> = {}): Promise<string> {
  return makeClientAssertion({ clientId: 'ci', issuer: server.issuer, key: server.clientKey, claims, clock: Date.now });
}

/** An assertion with every claim and header member as the test wants it; undefined leaves one out. */
export function signAssertion(
  server: TestServer,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const whole = { iss: 'ci', sub: 'ci', aud: server.issuer, jti: randomUUID(), iat: now, exp: now + 60, ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(whole)) as JWTPayload)
    .setProtectedHeader({ alg: 'ES256', ...header })
    .sign(server.clientKey.privateKey);
}

/** A good proof for the token endpoint, unless `changes` say otherwise. */
export function proofFor(server: TestServer, changes: Partial<Parameters<typeof makeProof>[0]> = {}): Promise<string> {
  const { privateKey, publicJwk } = server.jobKey;
  return makeProof({
    privateKey,
    publicJwk,
    method: 'POST',
    url: `${server.issuer}/token`,
    clock: Date.now,
    ...changes,
  });
}

/** The payload of a token, not verified. */
export function claimsOf(token: unknown): Record<string, unknown> {
  return JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
}
