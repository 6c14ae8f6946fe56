import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WorkloadTokenIssuer } from '../support/workload.ts';
import { RESOURCE, requestToken, startTestServer, type TestServer, type TokenAnswer } from './fixture.ts';

/** The issuer identifier of the preset `github`. */
export const GITHUB = 'https://token.actions.githubusercontent.com';
/** What identity tokens are made for. */
export const AUDIENCE = 'https://as.example.com';
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';

/** A server that trusts a CI system, with the client `ci`, which has a key, and `deploy`, which is known by its identity token alone. */
export interface WorkloadServer extends TestServer {
  readonly ci: WorkloadTokenIssuer;
  /** Another trusted issuer, without preset. */
  readonly forge: WorkloadTokenIssuer;
}

const WORKLOADS = [{ issuer: GITHUB, claims: { repository_id: '456789' } }];

/** Starts it; `server` goes into its configuration. */
export async function startWorkloadServer(
  more: {
    server?: Record<string, unknown>;
    issuer?: Record<string, unknown>;
    clients?: Record<string, unknown>[];
    clock?: () => number;
  } = {},
): Promise<WorkloadServer> {
  const keys = await mkdtemp(join(tmpdir(), 'sallyport-ci-'));
  const ci = await WorkloadTokenIssuer.create(GITHUB, AUDIENCE);
  const forge = await WorkloadTokenIssuer.create('https://forge.example.com', AUDIENCE, 'ES256');
  writeFileSync(join(keys, 'ci.json'), JSON.stringify(ci.jwks()));
  writeFileSync(join(keys, 'forge.json'), JSON.stringify(forge.jwks()));
  const server = await startTestServer(
    { workloads: WORKLOADS },
    {
      server: {
        workload_issuers: [
          { preset: 'github', audience: AUDIENCE, jwks_file: join(keys, 'ci.json'), ...more.issuer },
          { provider: 'forge', issuer: forge.issuer, audience: AUDIENCE, jwks_file: join(keys, 'forge.json') },
        ],
        ...more.server,
      },
      clients: [
        {
          client_id: 'deploy',
          token_endpoint_auth_method: 'none',
          workloads: [{ issuer: GITHUB, claims: { repository_id: '456789' }, job: { environment: 'production' } }],
          resources: [RESOURCE],
          scopes: ['builds:write'],
          authorization_details: [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' }],
        },
        ...(more.clients ?? []),
      ],
      ...(more.clock === undefined ? {} : { clock: more.clock }),
    },
  );
  const close = async () => {
    await server.close();
    await rm(keys, { recursive: true, force: true });
  };
  return { ...server, close, ci, forge };
}

/** Parameters that leave the assertion of the client out. */
export const NO_CLIENT = { client_assertion: null, client_assertion_type: null } as const;

/** A token by JWT grant (RFC 7523 §2.1), without any other authentication. */
export function byAssertion(
  server: WorkloadServer,
  assertion: string,
  parameters: Record<string, string | null> = {},
): Promise<TokenAnswer> {
  return requestToken(server, { parameters: { ...NO_CLIENT, grant_type: JWT_BEARER, assertion, ...parameters } });
}

/** A token by token exchange (RFC 8693 §2.1), as the client `ci`. */
export function byExchange(
  server: WorkloadServer,
  subjectToken: string,
  parameters: Record<string, string | null> = {},
): Promise<TokenAnswer> {
  const exchange = { grant_type: TOKEN_EXCHANGE, subject_token: subjectToken, subject_token_type: JWT_TYPE };
  return requestToken(server, { parameters: { ...exchange, ...parameters } });
}
