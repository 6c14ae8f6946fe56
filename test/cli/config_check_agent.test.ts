import { mkdirSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { makeCertificate } from '../support/certificate.ts';
import { CheckFolder } from '../support/config_check.ts';

/** `sallyport config check` with the file of an agent, as a user runs it, on the machine of the job and elsewhere. */

const CLOUD = 'https://cloud.example.com/v1';
const API = { name: 'cloud', url: CLOUD, scopes: ['builds:read'] };
const SERVER = { issuer: 'https://as.example.com', client_id: 'ci', private_key_file: 'ci.jwk.json' };
const BROKER = { url: 'https://broker.example.com' };
const IDENTITY = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmFjbWUifQ.c2ln';
/** Set by CI systems; none of them for a run that begins here. */
const OF_CI = [
  'ACTIONS_ID_TOKEN_REQUEST_URL',
  'ACTIONS_ID_TOKEN_REQUEST_TOKEN',
  'SALLYPORT_ID_TOKEN',
  'CIRCLE_OIDC_TOKEN',
  'CIRCLE_OIDC_TOKEN_V2',
  'BUILDKITE_AGENT_ACCESS_TOKEN',
  'MY_TOKEN',
];

let folder: CheckFolder;
let jwk: object;
let publicJwk: object;
const saved = new Map<string, string | undefined>();
beforeAll(async () => {
  const made = await generatePrivateJwk();
  jwk = made;
  publicJwk = (await importSigningKey(made)).publicJwk;
});
beforeEach(() => {
  folder = new CheckFolder();
  folder.write('ci.jwk.json', jwk);
  for (const name of OF_CI) {
    saved.set(name, process.env[name]);
    delete process.env[name];
  }
});
afterEach(() => {
  for (const [name, value] of saved) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  folder.remove();
});

const BASE = { version: 1, authorization_server: SERVER, apis: [API] };
const check = (changes: object = {}, ...flags: string[]) => folder.check({ ...BASE, ...changes }, ...flags);
const byBroker = (identity: object, more: object = {}) =>
  check({ authorization_server: undefined, broker: { ...BROKER, identity, ...more } });
const plain = (text: string) => text.replaceAll(`${folder.path}/`, '').split('\n');
const warningsOf = (text: string) => text.split('\n').filter((line) => line.startsWith('warning'));

describe('config check with the file of an agent', { timeout: 60_000 }, () => {
  it('says what an agent would do; asks nobody and makes nothing', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(String(request.url));
      response.end();
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const before = readdirSync(folder.path).concat('config.yaml').sort();
    const { code, text, errors } = await check({ authorization_server: { ...SERVER, issuer } });
    expect([code, errors]).toEqual([0, '']);
    expect(plain(text)).toEqual([
      `server    ${issuer}, as client ci`,
      'key       ES256, made anew for each job',
      'ends      after 21600 s at the latest',
      '',
      `api       cloud: ${CLOUD} → https://cloud.example.com`,
      `          resource   ${CLOUD}`,
      '          scopes     builds:read',
      '          reached by port (any free one)',
      '          variables  SALLYPORT_CLOUD_URL',
      '',
    ]);
    expect([asked, readdirSync(folder.path).sort()]).toEqual([[], before]);
    server.close();
  });

  it('the whole of it, for people and with --json', async () => {
    const { cert } = makeCertificate({ name: 'ca', authority: true });
    folder.write('ca.pem', cert);
    folder.write('identity', IDENTITY);
    const detail = { type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p1' };
    const config = {
      authorization_server: undefined,
      broker: {
        ...BROKER,
        identity: { source: 'file', token_file: 'identity' },
        workflow: 'deploy',
        environment: 'production',
      },
      key: 'EdDSA',
      proxy: { port: 3128 },
      placeholders: ['aws', 'google'],
      ca_file: 'ca.pem',
      lifetime_seconds: 600,
      apis: [
        {
          ...API,
          gateway: 'https://gateway.example.com',
          resource: 'urn:cloud',
          authorization_details: [detail],
          port: 4000,
          variables: ['CLOUD_URL'],
          kubeconfig: true,
        },
        { ...API, name: 'other', url: 'https://other.example.com', listen: 'socket' },
        { ...API, name: 'third', url: 'https://third.example.com', listen: 'none' },
      ],
    };
    const { code, text, errors } = await check(config);
    expect([code, errors]).toEqual([0, '']);
    expect(plain(text)).toEqual([
      'broker    https://broker.example.com: workflow deploy, environment production',
      'identity  in the file identity',
      'key       EdDSA, made anew for each job',
      'proxy     port 3128; other origins are refused',
      'exports   credentials without worth for aws, google',
      "trusts    ca.pem, besides the system's CAs",
      'ends      after 600 s at the latest',
      '',
      `api       cloud: ${CLOUD} → https://gateway.example.com`,
      '          resource   urn:cloud',
      '          scopes     builds:read',
      `          details    ${JSON.stringify(detail)}`,
      '          reached by port 4000, kubeconfig',
      '          variables  SALLYPORT_CLOUD_URL, CLOUD_URL',
      '',
      'api       other: https://other.example.com → https://other.example.com',
      '          resource   https://other.example.com',
      '          scopes     builds:read',
      '          reached by a Unix socket',
      '          variables  SALLYPORT_OTHER_SOCKET',
      '',
      'api       third: https://third.example.com → https://third.example.com',
      '          resource   https://third.example.com',
      '          scopes     builds:read',
      '          reached by the proxy only',
      '',
    ]);
    expect(text).not.toContain(IDENTITY);
    const machines = await folder.run('check', '--json', 'config.yaml');
    expect(JSON.parse(machines.text)).toMatchObject({
      tokens_from: { broker: BROKER.url, identity: { source: 'file' }, workflow: 'deploy', environment: 'production' },
      key: 'EdDSA',
      apis: [{ name: 'cloud', port: 4000, kubeconfig: true }, { name: 'other', port: null }, { listen: 'none' }],
      warnings: [],
    });
  });

  it.each<[string, object, Record<string, string>]>([
    [
      'GitHub',
      { source: 'github', audience: 'a' },
      { ACTIONS_ID_TOKEN_REQUEST_URL: 'https://127.0.0.1:1/', ACTIONS_ID_TOKEN_REQUEST_TOKEN: 't' },
    ],
    ['GitLab', { source: 'gitlab' }, { SALLYPORT_ID_TOKEN: IDENTITY }],
    ['CircleCI', { source: 'circleci' }, { CIRCLE_OIDC_TOKEN_V2: IDENTITY }],
    ['Buildkite', { source: 'buildkite', audience: 'a' }, { BUILDKITE_AGENT_ACCESS_TOKEN: 't' }],
    ['any variable', { source: 'environment', variable: 'MY_TOKEN' }, { MY_TOKEN: IDENTITY }],
  ])(
    'identity from %s: warned about where there is no job, looked at within one',
    async (_name, identity, variables) => {
      const outside = await byBroker(identity);
      expect([outside.code, outside.errors]).toEqual([0, '']);
      expect(warningsOf(outside.text)).toEqual([
        `warning   the identity of the job cannot be looked at here: ${Object.keys(variables).join(' and ')} ${Object.keys(variables).length > 1 ? 'are' : 'is'} not set; a job must have it`,
      ]);
      Object.assign(process.env, variables);
      const inside = await byBroker(identity);
      expect([inside.code, inside.errors, warningsOf(inside.text)]).toEqual([0, '', []]);
      expect(inside.text).not.toContain(IDENTITY);
    },
  );

  it('identity from a file that only the job has: warned about', async () => {
    const { code, text } = await byBroker({ source: 'file', token_file: 'none' });
    expect([code, warningsOf(text)]).toEqual([
      0,
      [expect.stringMatching(/cannot be looked at here: there is no file .*none; a job must have it/)],
    ]);
  });

  const at = (key: string, words: string) =>
    new RegExp(`^config\\.yaml:\\d+:\\d+: ${key.replace(/[[\].]/g, '\\$&')}: .*${words}`, 'm');
  it.each<[string, object, RegExp, (() => void)?]>([
    [
      'no key of the client',
      { authorization_server: { ...SERVER, private_key_file: 'none' } },
      at('authorization_server.private_key_file', 'cannot be read \\(ENOENT\\)'),
    ],
    [
      'a key of the client that is public',
      { authorization_server: { ...SERVER, private_key_file: 'public.json' } },
      at('authorization_server.private_key_file', 'expected one private JWK'),
      () => folder.write('public.json', publicJwk),
    ],
    [
      'a key of the client that is none',
      { authorization_server: { ...SERVER, private_key_file: 'text' } },
      at('authorization_server.private_key_file', 'expected one private JWK'),
      () => folder.write('text', 'no key'),
    ],
    ['no CAs', { ca_file: 'none' }, at('ca_file', 'none cannot be read: ENOENT')],
    ['CAs that are none', { ca_file: 'ci.jwk.json' }, at('ca_file', 'expected certificates in PEM, found none')],
    [
      'a CA cut short',
      { ca_file: 'cut.pem' },
      at('ca_file', 'certificate 1 in it is none'),
      () => folder.write('cut.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
    ],
    [
      'both ways to tokens',
      { broker: { ...BROKER, identity: { source: 'gitlab' } } },
      at('broker', 'exactly one of broker and authorization_server'),
    ],
    [
      'no way to tokens',
      { authorization_server: undefined },
      at('broker', 'exactly one of broker and authorization_server'),
    ],
    [
      'an identity source that is none',
      { authorization_server: undefined, broker: { ...BROKER, identity: { source: 'jenkins' } } },
      at('broker.identity.source', ''),
    ],
    ['no API', { apis: [] }, at('apis', '')],
    ['an API that asks for nothing', { apis: [{ ...API, scopes: [] }] }, at('apis[0].scopes', 'ask for something')],
    ['plain HTTP', { apis: [{ ...API, url: 'http://cloud.example.com' }] }, at('apis[0].url', 'over https only')],
    ['an unknown key deep in it', { apis: [{ ...API, scope: ['x'] }] }, at('apis[0].scope', 'did you mean scopes')],
    [
      'a port twice',
      {
        apis: [
          { ...API, port: 4000 },
          { ...API, name: 'b', url: 'https://b.example.com', port: 4000 },
        ],
      },
      at('apis[1].port', 'this port is used twice'),
    ],
    [
      'the port of the proxy twice',
      { proxy: { port: 4000 }, apis: [{ ...API, port: 4000 }] },
      at('proxy.port', 'this port is used twice'),
    ],
  ])('%s: 1, and where', async (_name, changes, words, prepare) => {
    prepare?.();
    const { code, text, errors } = await check(changes);
    expect([code, text]).toEqual([1, '']);
    expect(errors).toMatch(words);
    expect(errors).not.toMatch(/unexpected failure|\n {4}at /);
  });

  it.each<[string, () => object, string]>([
    [
      'a file without a JWT',
      () => ({ source: 'file', token_file: folder.write('identity', 'secret-but-no-jwt') }),
      'broker.identity.token_file',
    ],
    [
      'a file that is too large',
      () => ({ source: 'file', token_file: folder.write('identity', 'secret'.repeat(20_000)) }),
      'broker.identity.token_file',
    ],
    [
      'a folder',
      () => {
        mkdirSync(join(folder.path, 'dir'));
        return { source: 'file', token_file: 'dir' };
      },
      'broker.identity.token_file',
    ],
    [
      'a variable without a JWT',
      () => {
        process.env['MY_TOKEN'] = 'secret-but-no-jwt';
        return { source: 'environment', variable: 'MY_TOKEN' };
      },
      'broker.identity.variable',
    ],
  ])('the identity of the job is %s: 1, where, and nothing of it', async (_name, identity, key) => {
    const { code, text, errors } = await byBroker(identity());
    expect([code, text]).toEqual([1, '']);
    expect(errors).toMatch(at(key, 'identity token'));
    expect(errors).not.toContain('secret');
  });

  it('everything that is wrong is told at once', async () => {
    const { errors } = await check({ ca_file: 'none', authorization_server: { ...SERVER, private_key_file: 'none' } });
    expect(
      errors
        .trim()
        .split('\n')
        .map((line) => line.split(': ')[1]),
    ).toEqual(['ca_file', 'authorization_server.private_key_file']);
  });

  it.each<[string, object, RegExp]>([
    [
      'plain HTTP',
      { allow_plaintext: true, apis: [{ ...API, url: 'http://cloud.example.com' }] },
      /allow_plaintext: what is sent to http:\/\/cloud\.example\.com/,
    ],
    ['a proxy for everything', { proxy: { others: 'tunnel' } }, /proxy\.others is tunnel/],
    [
      'one variable for two',
      {
        apis: [
          { ...API, variables: ['URL'] },
          { ...API, name: 'b', url: 'https://b.example.com', variables: ['URL'] },
        ],
      },
      /the variable URL is for cloud and b: it gets the URL of b/,
    ],
    [
      'a variable without a URL',
      { apis: [{ ...API, listen: 'socket', variables: ['URL'] }] },
      /api cloud: URL get no URL, since listen is socket/,
    ],
  ])('%s is allowed, and warned about', async (_name, changes, words) => {
    const { code, text } = await check(changes);
    expect([code, warningsOf(text)]).toEqual([0, [expect.stringMatching(words)]]);
  });

  it('keep_identity is allowed, and warned about', async () => {
    process.env['SALLYPORT_ID_TOKEN'] = IDENTITY;
    const broker = { ...BROKER, identity: { source: 'gitlab' } };
    const { text } = await check({ authorization_server: undefined, broker, keep_identity: true });
    expect(warningsOf(text)).toEqual([expect.stringMatching(/keep_identity: whatever runs in the command/)]);
  });
});
