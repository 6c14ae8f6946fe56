import { describe, expect, it } from 'vitest';
import { authServerSchema } from '../../src/config/authserver_schema.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';

const KEY = { kty: 'EC', crv: 'P-256', x: 'a'.repeat(43), y: 'b'.repeat(43) };
const RESOURCE = 'https://cloud.example.com/v1';
const CLIENT = { client_id: 'ci', jwks: { keys: [KEY] }, resources: [RESOURCE] };
const GITHUB = 'https://token.actions.githubusercontent.com';
const ISSUERS = [{ preset: 'github', audience: 'https://as.example.com' }];
const TLS = { certificate_file: 'a.crt', key_file: 'a.key', client_certificates: 'optional', client_ca_file: 'ca.pem' };
const CONFIG = { version: 1, signing_keys_file: 'keys.json', clients: [CLIENT], workload_issuers: ISSUERS };
const REGISTRAR = { name: 'engine', token_file: 'token', resources: [RESOURCE] };

const config = (changes: Record<string, unknown>) => ({ ...CONFIG, ...changes });
const client = (changes: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  config({ clients: [{ ...CLIENT, ...changes }], ...more });
const withTls = { listen: { tls: TLS } };

function problems(value: unknown): string {
  const result = authServerSchema.safeParse(value);
  if (result.success) return '';
  return result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n');
}

describe('how a client authenticates', () => {
  const keyless = { jwks: undefined, token_endpoint_auth_method: 'none' };
  const workloads = [{ issuer: GITHUB, claims: { repository_id: '1' } }];

  it.each<[string, unknown, string]>([
    ['a secret', client({ token_endpoint_auth_method: 'client_secret_basic' }), 'token_endpoint_auth_method'],
    ['none without a workload', client(keyless), 'clients.0.workloads: a client without a key needs'],
    [
      'a workload of an unknown issuer',
      client({ workloads: [{ issuer: 'https://x.example' }] }),
      'is none of workload_issuers',
    ],
    [
      'a workload of a public issuer without condition',
      client({ workloads: [{ issuer: GITHUB }] }),
      'anybody can get tokens',
    ],
    [
      'a condition without a value',
      client({ workloads: [{ issuer: GITHUB, claims: { a: [] } }] }),
      'clients.0.workloads.0.claims.a',
    ],
    [
      'a certificate where none is asked for',
      client({ jwks: undefined, token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'a.example' }),
      'needs listen.tls with client_certificates: optional',
    ],
    [
      'a CA-issued certificate without a CA',
      client(
        { jwks: undefined, token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'a.example' },
        { listen: { tls: { ...TLS, client_ca_file: undefined } } },
      ),
      'tls_client_auth needs listen.tls.client_ca_file',
    ],
    [
      'a certificate without a name',
      client({ jwks: undefined, token_endpoint_auth_method: 'tls_client_auth' }, withTls),
      'needs exactly one of tls_client_auth_subject_dn',
    ],
    [
      'a certificate with two names',
      client(
        {
          jwks: undefined,
          token_endpoint_auth_method: 'tls_client_auth',
          tls_client_auth_san_dns: 'a.example',
          tls_client_auth_san_uri: 'spiffe://a',
        },
        withTls,
      ),
      'needs exactly one of tls_client_auth_subject_dn',
    ],
    [
      'a name of a certificate for another method',
      client({ tls_client_auth_san_dns: 'a.example' }),
      'is for token_endpoint_auth_method',
    ],
    [
      'self-signed without certificate',
      client({ token_endpoint_auth_method: 'self_signed_tls_client_auth' }, withTls),
      'expected the certificate: certificate_file, or jwks with x5c',
    ],
    [
      'tokens that are bound to nothing',
      client({ dpop_bound_access_tokens: false }),
      'must be bound to a key or a certificate',
    ],
    [
      'tokens bound to a certificate that nobody asks for',
      client({ tls_client_certificate_bound_access_tokens: true }),
      'needs listen.tls with client_certificates: optional',
    ],
  ])('refuses %s', (_what, value, words) => {
    expect(problems(value)).toContain(words);
  });

  it.each<[string, unknown]>([
    ['none with a workload', client({ ...keyless, workloads })],
    ['conditions on the job alone', client({ workloads: [{ issuer: GITHUB, job: { repository_id: ['1', '2'] } }] })],
    [
      'conditions at the issuer',
      client(
        { workloads: [{ issuer: GITHUB }] },
        { workload_issuers: [{ ...ISSUERS[0], conditions: { repository_owner_id: '1' } }] },
      ),
    ],
    [
      'self-signed by file',
      client(
        { jwks: undefined, token_endpoint_auth_method: 'self_signed_tls_client_auth', certificate_file: 'a.pem' },
        withTls,
      ),
    ],
    [
      'a key, and tokens bound to the certificate',
      client({ tls_client_certificate_bound_access_tokens: true, dpop_bound_access_tokens: false }, withTls),
    ],
  ])('takes %s', (_what, value) => {
    expect(problems(value)).toBe('');
  });
});

describe('registration, resource servers, types, storage', () => {
  it.each<[string, unknown, string]>([
    ['registration by nobody', config({ registration: {} }), 'nobody could register'],
    [
      'two registrars of one name',
      config({ registration: { initial_access_tokens: [REGISTRAR, REGISTRAR] } }),
      'the name engine is used twice',
    ],
    [
      'a registering workload without identity',
      config({
        registration: { workloads: [{ name: 'a', issuer: GITHUB, claims: { a: 'b' }, resources: [RESOURCE] }] },
      }),
      'identity_claims',
    ],
    [
      'a registering workload that anybody is',
      config({
        registration: {
          workloads: [{ name: 'a', issuer: GITHUB, identity_claims: ['repository_id'], resources: [RESOURCE] }],
        },
      }),
      'anybody can get tokens',
    ],
    ['nobody at all', config({ clients: [] }), 'nobody could ask for a token'],
    [
      'a resource server with the name of a client',
      config({ resource_servers: [{ client_id: 'ci', jwks: { keys: [KEY] }, resources: [RESOURCE] }] }),
      'resource_servers.0.client_id: this client_id is used twice',
    ],
    [
      'two resource servers for one resource',
      config({
        resource_servers: ['a', 'b'].map((client_id) => ({ client_id, jwks: { keys: [KEY] }, resources: [RESOURCE] })),
      }),
      'resource_servers.1.resources.0: is listed twice',
    ],
    [
      'a resource server without keys',
      config({ resource_servers: [{ client_id: 'a', resources: [RESOURCE] }] }),
      'expected exactly one of jwks and jwks_file',
    ],
    [
      'a type twice',
      config({ authorization_details_types: [{ type: 'cloud_api' }, { type: 'cloud_api' }] }),
      'this type is listed twice',
    ],
    [
      'two storages',
      config({ storage: { database_file: 'a.db', redis: { url: 'redis://127.0.0.1' } } }),
      'give redis or database_file, not both',
    ],
    ['a nonce of its own', config({ dpop: { nonce: 'maybe' } }), 'dpop.nonce'],
  ])('refuses %s', (_what, value, words) => {
    expect(problems(value)).toContain(words);
  });

  it('paths are relative to the file; members that only look like paths are left alone', () => {
    const details = [{ type: 'cloud_api', actions: ['a'], identifier: 'p', key_file: 'x' }];
    const parsed = parseAuthServerConfig(
      client(
        { authorization_details: details, workloads: [{ issuer: GITHUB, claims: { config_file: 'x' } }] },
        {
          issuance_policy: { path: 'policies', data: ['data.json'] },
          registration: { initial_access_tokens: [REGISTRAR] },
          authorization_details_types: [{ type: 'cloud_api', schema_file: 'types/a.json' }],
          storage: { database_file: 'state/a.db' },
        },
      ),
      '/srv',
    );
    expect(parsed).toMatchObject({
      issuance_policy: { path: '/srv/policies', data: ['/srv/data.json'], entrypoint: 'token_issuance/decision' },
      registration: { initial_access_tokens: [{ token_file: '/srv/token' }] },
      authorization_details_types: [{ schema_file: '/srv/types/a.json' }],
      storage: { database_file: '/srv/state/a.db' },
      clients: [{ authorization_details: details, workloads: [{ claims: { config_file: 'x' } }] }],
    });
  });
});
