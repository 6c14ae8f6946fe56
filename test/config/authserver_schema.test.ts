import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authServerSchema } from '../../src/config/authserver_schema.ts';
import { loadAuthServerConfig, parseAuthServerConfig, readClientKeys } from '../../src/config/load_authserver.ts';

const KEY = { kty: 'EC', crv: 'P-256', x: 'a'.repeat(43), y: 'b'.repeat(43) };
const CLIENT = { client_id: 'ci', jwks: { keys: [KEY] }, resources: ['https://cloud.example.com/v1'] };
const CONFIG = { version: 1, signing_keys_file: 'keys.json', clients: [CLIENT] };

const config = (changes: Record<string, unknown>) => ({ ...CONFIG, ...changes });
const client = (changes: Record<string, unknown>) => config({ clients: [{ ...CLIENT, ...changes }] });

/** Paths and messages of what is wrong. */
function problems(value: unknown): string[] {
  const result = authServerSchema.safeParse(value);
  return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
}

describe('the configuration of the authorization server', () => {
  it('the smallest one is enough, with defaults that are safe', () => {
    expect(parseAuthServerConfig(CONFIG, '/srv')).toEqual({
      version: 1,
      listen: { address: '127.0.0.1', port: 9100, allow_plaintext: false, front_proxies: [] },
      signing_keys_file: '/srv/keys.json',
      signing_keys: { rotate_after_seconds: 2_592_000, announce_seconds: 3600 },
      storage: {},
      token_lifetime_seconds: 300,
      dpop: { nonce: 'off' },
      authorization_details_types: [{ type: 'cloud_api' }],
      workload_issuers: [],
      resource_servers: [],
      log: { level: 'info' },
      clients: [
        {
          ...CLIENT,
          token_endpoint_auth_method: 'private_key_jwt',
          workloads: [],
          scopes: [],
          authorization_details: [],
          job: { claims: {}, from_assertion: [] },
        },
      ],
    });
  });

  it.each<[string, unknown, string]>([
    ['an unknown key', config({ secrets: [] }), 'secrets'],
    ['a client secret', client({ client_secret: 'x' }), 'client_secret'],
    ['a private key of a client', client({ jwks: { keys: [{ ...KEY, d: 'c'.repeat(43) }] } }), 'clients.0.jwks.keys.0'],
    ['a symmetric key', client({ jwks: { keys: [{ kty: 'oct', k: 'x' }] } }), 'clients.0.jwks.keys.0'],
    ['another curve', client({ jwks: { keys: [{ ...KEY, crv: 'secp256k1' }] } }), 'clients.0.jwks.keys.0.crv'],
    [
      'a short RSA key',
      client({ jwks: { keys: [{ kty: 'RSA', n: 'a'.repeat(171), e: 'AQAB' }] } }),
      'clients.0.jwks.keys.0.n',
    ],
    ['a key for encryption', client({ jwks: { keys: [{ ...KEY, use: 'enc' }] } }), 'clients.0.jwks.keys.0.use'],
    ['no key', client({ jwks: { keys: [] } }), 'clients.0.jwks.keys'],
    ['neither jwks nor jwks_file', client({ jwks: undefined }), 'exactly one of jwks and jwks_file'],
    ['jwks and jwks_file', client({ jwks_file: 'x.json' }), 'exactly one of jwks and jwks_file'],
    ['no resource', client({ resources: [] }), 'clients.0.resources'],
    ['a resource with a fragment', client({ resources: ['https://a.example/#x'] }), 'clients.0.resources.0'],
    ['a scope with a space', client({ scopes: ['a b'] }), 'one scope'],
    ['a client twice', config({ clients: [CLIENT, CLIENT] }), 'clients.1.client_id: this client_id is used twice'],
    ['no client', config({ clients: [] }), 'clients'],
    ['a token for hours', config({ token_lifetime_seconds: 7200 }), 'token_lifetime_seconds'],
    [
      'an unknown type of details',
      client({ authorization_details: [{ type: 'x' }] }),
      'clients.0.authorization_details.0',
    ],
    ['a job claim that is unknown', client({ job: { from_assertion: ['admin'] } }), 'clients.0.job.from_assertion.0'],
    [
      'a job claim both fixed and stated',
      client({ job: { claims: { ref: 'a' }, from_assertion: ['ref'] } }),
      'ref is fixed in job.claims already',
    ],
    ['an issuer with a path', config({ issuer: 'https://as.example.com/x' }), 'issuer: expected an origin'],
    ['an issuer with a slash', config({ issuer: 'https://as.example.com/' }), 'issuer: expected an origin'],
    ['an issuer without TLS', config({ issuer: 'http://as.example.com' }), 'must use https (RFC 8414 §2)'],
    [
      'plain HTTP off loopback',
      config({ issuer: 'https://as.example.com', listen: { address: '0.0.0.0' } }),
      'listen.address: plain HTTP',
    ],
    [
      'no issuer off loopback',
      config({ listen: { address: '0.0.0.0', allow_plaintext: true } }),
      'issuer: set the origin',
    ],
  ])('refuses %s', (_what, value, words) => {
    expect(problems(value).join('\n')).toContain(words);
  });

  it.each<[string, unknown]>([
    [
      'plain HTTP where it is allowed by name',
      config({ issuer: 'http://authserver:9000', listen: { address: '0.0.0.0', allow_plaintext: true } }),
    ],
    ['http on loopback', config({ issuer: 'http://127.0.0.1:9000' })],
    [
      'an Ed25519 key',
      client({ jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'a'.repeat(43), kid: 'k', alg: 'EdDSA' }] } }),
    ],
    [
      'job claims fixed and stated, apart',
      client({ job: { claims: { repository: 'a/b' }, from_assertion: ['ref', 'ref_protected'] } }),
    ],
  ])('takes %s', (_what, value) => {
    expect(problems(value)).toEqual([]);
  });
});

describe('the file', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sallyport-config-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is read with environment variables and paths beside it', async () => {
    const file = join(directory, 'authserver.yaml');
    await writeFile(
      file,
      'version: 1\nlisten: { port: "${PORT}" }\nsigning_keys_file: keys.json\nclients:\n  - client_id: ci\n    jwks_file: ci.json\n    resources: ["https://a.example/"]\n',
    );
    const read = loadAuthServerConfig(file, { PORT: '9100' });
    expect(read.listen.port).toBe(9100);
    expect(read.signing_keys_file).toBe(join(directory, 'keys.json'));
    expect(read.clients[0]?.jwks_file).toBe(join(directory, 'ci.json'));
  });

  it('a mistyped key is an error with file, line and the nearest known key', async () => {
    const file = join(directory, 'wrong.yaml');
    await writeFile(file, 'version: 1\nsigning_keys_file: keys.json\ncleints: []\n');
    expect(() => loadAuthServerConfig(file, {})).toThrow(
      /wrong\.yaml:3:1: cleints: is not a known key; did you mean clients\?/,
    );
  });

  it('keys of a client are read from a file, public ones only', async () => {
    const good = join(directory, 'ci.json');
    await writeFile(good, JSON.stringify({ keys: [KEY] }));
    expect(readClientKeys(good)).toEqual({ keys: [KEY] });
    const bad = join(directory, 'private.json');
    await writeFile(bad, JSON.stringify({ keys: [{ ...KEY, d: 'private-part' }] }));
    expect(() => readClientKeys(bad)).toThrow(/private\.json/);
    expect(() => readClientKeys(bad)).not.toThrow(/private-part/);
  });
});
