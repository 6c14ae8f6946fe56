import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeClientAssertion } from '../../src/oauth/client_assertion.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { RESOURCE, requestToken, type TokenAnswer } from './fixture.ts';
import { GITHUB, startWorkloadServer, type WorkloadServer } from './workload_fixture.ts';

/** The initial access token of the engine. */
export const INITIAL_TOKEN = 'engine-initial-access-token-0123456789abcdef';

/** What clients of the engine may have at most. */
export const CEILING = {
  resources: [RESOURCE],
  scopes: ['builds:read', 'builds:write'],
  authorization_details: [{ type: 'cloud_api', actions: ['builds.create', 'builds.list'], identifier: 'projects/p1' }],
};

/** A server where clients can be registered. */
export interface RegistrationServer extends WorkloadServer {
  readonly initialTokenFile: string;
}

/** Starts one; `registration` goes into that part of its configuration. */
export async function startRegistrationServer(
  registration: Record<string, unknown> = {},
  more: Parameters<typeof startWorkloadServer>[0] = {},
): Promise<RegistrationServer> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-registration-'));
  const initialTokenFile = join(folder, 'initial_token');
  writeFileSync(initialTokenFile, `${INITIAL_TOKEN}\n`, { mode: 0o600 });
  const server = await startWorkloadServer({
    ...more,
    server: {
      registration: {
        initial_access_tokens: [{ name: 'engine', token_file: initialTokenFile, ...CEILING }],
        workloads: [
          {
            name: 'acme',
            issuer: GITHUB,
            claims: { repository_owner_id: '1234' },
            identity_claims: ['repository_owner_id', 'repository_id', 'workflow_ref'],
            ...CEILING,
          },
        ],
        ...registration,
      },
      ...more.server,
    },
  });
  const close = async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  };
  return { ...server, close, initialTokenFile };
}

/** An answer of the registration endpoint. */
export interface RegistrationAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** A key for a client. */
export async function clientKey(): Promise<SigningKey> {
  return importSigningKey(await generatePrivateJwk());
}

/** Registers a client (RFC 7591 §3.1). */
export async function register(
  server: RegistrationServer,
  metadata: Record<string, unknown>,
  token: string | null = INITIAL_TOKEN,
): Promise<RegistrationAnswer> {
  return send(`${server.address}/register`, { method: 'POST', token, body: metadata });
}

/** Sends a request to one client's own address (RFC 7592 §2). */
export async function send(
  url: string,
  { method, token, body }: { method: string; token: string | null; body?: unknown },
): Promise<RegistrationAnswer> {
  const response = await fetch(url, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
  };
}

/** Asks for a token as a registered client. */
export async function tokenAs(
  server: RegistrationServer,
  clientId: string,
  key: SigningKey,
  parts: { claims?: Record<string, unknown>; parameters?: Record<string, string | null> } = {},
): Promise<TokenAnswer> {
  const { claims = {}, parameters = {} } = parts;
  const assertion = await makeClientAssertion({ clientId, issuer: server.issuer, key, claims, clock: Date.now });
  return requestToken(server, { assertion, parameters });
}
