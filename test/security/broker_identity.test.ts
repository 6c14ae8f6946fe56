import { createHmac, createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BrokerJob, CI_ISSUER, CiSystem, claimsOf, RESOURCE, TestBroker } from '../broker/fixture.ts';
import { makeKey } from '../support/issuer.ts';

/** Everything that a stranger, or a neighbour of the same CI system, could show to be taken for a job. */

const GITLAB = 'https://gitlab.com';
const client = { client_id: 'deploy', private_key_file: 'client.jwk.json' };
const rights = { resources: [RESOURCE], scopes: ['projects:read'], client };

let test: TestBroker;
let gitlab: CiSystem;

beforeAll(async () => {
  gitlab = await CiSystem.create('gl-1');
  test = await TestBroker.start({
    before: (folder) => writeFileSync(join(folder, 'gitlab.jwks.json'), JSON.stringify(gitlab.jwks)),
    config: {
      workload_issuers: [
        { preset: 'github', audience: 'https://broker.example.com', jwks_file: 'ci.jwks.json' },
        { preset: 'gitlab', audience: 'https://broker.example.com', jwks_file: 'gitlab.jwks.json' },
      ],
    },
    workflow: {
      match: {
        issuer: CI_ISSUER,
        repository_id: '4711',
        repository: 'acme/infra',
        workflow: 'deploy.yml',
        ref: ['refs/heads/main', 'refs/tags/v*'],
      },
    },
    workflows: [
      { name: 'other', match: { issuer: CI_ISSUER, repository_id: '4712' }, ...rights, scopes: ['builds:write'] },
      { name: 'lab', match: { issuer: GITLAB, repository_id: '4711' }, ...rights },
    ],
  });
});
afterAll(() => test.close());

/** Presents a text as an identity token, with a good proof of a new key. */
async function show(token: string, asked = {}) {
  const job = await BrokerJob.start(test);
  const { status, body } = await job.ask(asked, { authorization: `Bearer ${token}` });
  return { status, reason: body['reason'], body, job };
}

const refused = { status: 401, reason: 'broker.identity_refused' };
const unknown = { status: 403, reason: 'broker.workflow_unknown' };
const HEADER = { alg: 'RS256', kid: 'ci-1', typ: 'JWT' };
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('RFC 8725 §2, §3: signatures', () => {
  it.each([
    ['alg none without a signature', (input: string) => `${input}.`],
    ['alg none with something for a signature', (input: string) => `${input}.c2ln`],
  ])('%s', async (_name, finish) => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
      const token = finish(`${part({ ...HEADER, alg })}.${part(CiSystem.claims())}`);
      expect(await show(token)).toMatchObject({ status: 401 });
    }
  });

  it('RFC 8725 §2.1: HS256 with the public key for a secret, in every form that it has', async () => {
    const [jwk] = test.ci.jwks.keys as [JWK];
    const key = createPublicKey({ key: jwk as never, format: 'jwk' });
    const secrets = [
      key.export({ type: 'spki', format: 'pem' }),
      key.export({ type: 'spki', format: 'der' }),
      key.export({ type: 'pkcs1', format: 'pem' }),
      JSON.stringify(jwk),
      Buffer.from(String(jwk.n), 'base64url'),
      '',
    ];
    for (const secret of secrets) {
      for (const [alg, digest] of [
        ['HS256', 'sha256'],
        ['HS512', 'sha512'],
      ] as const) {
        const input = `${part({ ...HEADER, alg })}.${part(CiSystem.claims())}`;
        const token = `${input}.${createHmac(digest, secret).update(input).digest('base64url')}`;
        expect(await show(token)).toMatchObject(refused);
      }
    }
  });

  it('the signature of another token, a part of one, none, and one with a changed text', async () => {
    const [one, two] = [await test.ci.token(), await test.ci.token({ run_id: 'other' })];
    const [header, , signature = ''] = one.split('.');
    const [, payload, other] = two.split('.');
    for (const token of [
      `${header}.${payload}.${signature}`,
      `${header}.${payload}.${other?.slice(0, -8)}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}.${payload}.${other}.`,
      `${header}.${payload}.${other}=`,
      `${header}.${part({ ...CiSystem.claims(), repository_id: '4711' })}.${signature}`,
    ]) {
      expect(await show(token), token.slice(-20)).toMatchObject({ status: 401 });
    }
  });

  it.each([
    ['jwk', async (key: Awaited<ReturnType<typeof makeKey>>) => ({ jwk: key.publicJwk })],
    ['jku', async () => ({ jku: 'https://evil.example.com/jwks' })],
    ['x5u', async () => ({ x5u: 'https://evil.example.com/cert' })],
    ['another kid', async () => ({ kid: 'evil' })],
    ['the kid of a key of another issuer', async () => ({ kid: 'gl-1' })],
  ])('RFC 8725 §3.10: a key that the token names itself (%s) is not looked at', async (_name, more) => {
    const evil = await CiSystem.create('ci-1');
    const header = { ...HEADER, ...(await more(await makeKey())) };
    expect(await show(await evil.sign(JSON.stringify(CiSystem.claims()), header))).toMatchObject(refused);
  });

  it('the keys of one issuer are not those of another, in both directions and under either kid', async () => {
    for (const kid of ['ci-1', 'gl-1', undefined]) {
      const header = { alg: 'RS256', typ: 'JWT', ...(kid !== undefined && { kid }) };
      expect(await show(await gitlab.sign(JSON.stringify(CiSystem.claims()), header))).toMatchObject(refused);
      const claims = CiSystem.claims({ iss: GITLAB, project_id: '4711' });
      expect(await show(await test.ci.sign(JSON.stringify(claims), header))).toMatchObject(refused);
    }
    const own = CiSystem.claims({ iss: GITLAB, project_id: '4711' });
    expect(await show(await gitlab.sign(JSON.stringify(own), { ...HEADER, kid: 'gl-1' }))).toMatchObject({
      status: 200,
    });
  });

  it('RFC 7515 §4.1.11: a critical header parameter, though its issuer signed it', async () => {
    const header = { ...HEADER, crit: ['exp'], exp: 1 };
    const { status, body } = await show(await test.ci.sign(JSON.stringify(CiSystem.claims()), header));
    expect([status, body['error_description']]).toEqual([401, 'The identity token is refused: a critical header.']);
  });

  it.each(['at+jwt', 'dpop+jwt', 'application/at+jwt', 'secevent+jwt', 'logout+jwt'])(
    'RFC 8725 §3.11: a token of another kind (%s), though its issuer signed it',
    async (typ) => {
      expect(await show(await test.ci.sign(JSON.stringify(CiSystem.claims()), { ...HEADER, typ }))).toMatchObject(
        refused,
      );
    },
  );
});

describe('RFC 7523 §3: claims', () => {
  const now = () => Math.floor(Date.now() / 1000);
  it.each([
    ['expired just now', () => ({ exp: now() - 1 })],
    ['expires in this second', () => ({ exp: now() })],
    ['not valid yet', () => ({ nbf: now() + 60 })],
    ['issued ahead', () => ({ iat: now() + 60 })],
    ['valid for too long', () => ({ exp: now() + 90_000 })],
    ['exp is a text', () => ({ exp: String(now() + 300) })],
    ['exp is null', () => ({ exp: null })],
    ['exp is negative', () => ({ exp: -1 })],
    ['no exp', () => ({ exp: undefined })],
    ['no iat', () => ({ iat: undefined })],
    ['nbf is a text', () => ({ nbf: 'now' })],
    ['no audience', () => ({ aud: undefined })],
    ['another audience', () => ({ aud: 'https://elsewhere.example.com' })],
    ['the audience in capitals', () => ({ aud: 'https://BROKER.example.com' })],
    ['the audience with a slash', () => ({ aud: 'https://broker.example.com/' })],
    ['an audience that begins alike', () => ({ aud: 'https://broker.example.com.evil.example' })],
    ['an empty list of audiences', () => ({ aud: [] })],
    ['a list that holds no text', () => ({ aud: [{ is: 'https://broker.example.com' }] })],
    ['a list that holds something else beside it', () => ({ aud: ['https://broker.example.com', 7] })],
    ['an audience by its members', () => ({ aud: { 0: 'https://broker.example.com', length: 1 } })],
    ['the issuer with a slash', () => ({ iss: `${CI_ISSUER}/` })],
    ['the issuer in capitals', () => ({ iss: CI_ISSUER.toUpperCase() })],
    ['an issuer of the prototype', () => ({ iss: '__proto__' })],
    ['an issuer by its list', () => ({ iss: [CI_ISSUER] })],
    ['no issuer', () => ({ iss: undefined })],
    ['no subject', () => ({ sub: undefined })],
    ['an empty subject', () => ({ sub: '' })],
    ['a subject that is a number', () => ({ sub: 7 })],
    ['a jti that is a number', () => ({ jti: 7 })],
  ])('%s: 401', async (_name, changes) => {
    expect(await show(await test.ci.token(changes()))).toMatchObject(refused);
  });

  it('a member that is given twice: nobody can say which one was meant', async () => {
    const text = JSON.stringify(CiSystem.claims({ repository_id: '666' })).replace('{', '{"repository_id":"4711",');
    expect(await show(await test.ci.sign(text, HEADER))).toMatchObject(refused);
    const last = JSON.stringify(CiSystem.claims({ repository_id: '666' })).replace(/}$/, ',"repository_id":"4711"}');
    expect(await show(await test.ci.sign(last, HEADER))).toMatchObject(refused);
  });

  it('of several audiences, one that is the broker’s is enough', async () => {
    const token = await test.ci.token({ aud: ['https://elsewhere.example.com', 'https://broker.example.com'] });
    expect(await show(token)).toMatchObject({ status: 200 });
  });

  it.each([
    ['a token of 16 kB and more', () => test.ci.token({ pad: 'x'.repeat(17_000) })],
    ['a payload that nests deeply', () => test.ci.sign(`{"a":${'['.repeat(2000)}${']'.repeat(2000)}}`, HEADER)],
    ['a payload that is no object', () => test.ci.sign('[]', HEADER)],
    ['a payload that is no JSON', () => test.ci.sign('{', HEADER)],
  ])('%s: 401, and nothing breaks', async (_name, make) => {
    expect(await show(await make())).toMatchObject({ status: 401 });
  });
});

describe('one workflow is not another', () => {
  it.each([
    ['another repository of the same name (a name that changed hands)', { repository_id: '666' }],
    ['the identifier in another place', { repository_id: '666', repository_owner_id: '4711', project_id: '4711' }],
    ['the same identifier and another name (it was renamed)', { repository: 'acme/renamed' }],
    ['the name in capitals', { repository: 'Acme/Infra' }],
    ['the name with a letter that looks alike', { repository: 'аcme/infra' }],
    ['the name with a character that is not seen', { repository: 'acme/infra\u200b' }],
    ['the name in full-width letters', { repository: 'ａｃｍｅ/infra' }],
    ['the name with a space after it', { repository: 'acme/infra ' }],
    ['the name with another part', { repository: 'acme/infra/x' }],
    ['the name as a list', { repository: ['acme/infra'] }],
    ['the identifier as a list', { repository_id: ['4711'] }],
    ['the identifier as an object', { repository_id: { toString: '4711' } }],
    ['the identifier with a zero before it', { repository_id: '04711' }],
    ['the identifier with a space', { repository_id: ' 4711' }],
    ['the identifier in other digits', { repository_id: '４７１１' }],
    ['the identifier with a fraction', { repository_id: 4711.5 }],
    ['no identifier', { repository_id: undefined }],
    ['no name', { repository: undefined }],
    ['a branch that begins alike', { ref: 'refs/heads/main2' }],
    ['a branch in capitals', { ref: 'refs/heads/Main' }],
    ['a branch called like the tags', { ref: 'refs/heads/refs/tags/v1' }],
    ['a branch without its prefix', { ref: 'main' }],
    ['the request of a stranger to merge', { ref: 'refs/pull/1/merge', event_name: 'pull_request' }],
    ['another file of the repository', { workflow_ref: 'acme/infra/.github/workflows/evil.yml@refs/heads/main' }],
    [
      'a file of that name in another folder',
      { workflow_ref: 'acme/infra/.github/workflows/x/deploy.yml@refs/heads/main' },
    ],
    [
      'a file of that name in another repository',
      { workflow_ref: 'evil/infra/.github/workflows/deploy.yml@refs/heads/main' },
    ],
    [
      'a display name that says so',
      { workflow: 'deploy.yml', workflow_ref: 'acme/infra/.github/workflows/evil.yml@refs/heads/main' },
    ],
    [
      'a file whose name holds a ref',
      { workflow_ref: 'acme/infra/.github/workflows/deploy.yml@refs/heads/evil.yml@refs/heads/main' },
    ],
  ])('%s: 403', async (_name, changes) => {
    expect(await show(await test.ci.token(changes))).toMatchObject(unknown);
  });

  it('a tag of a pattern is of it, and the identifier may be written as a number', async () => {
    expect(await show(await test.ci.token({ ref: 'refs/tags/v1.2' }))).toMatchObject({ status: 200 });
    expect(await show(await test.ci.token({ repository_id: 4711 }))).toMatchObject({ status: 200 });
  });

  it('a job of one repository gets nothing of another workflow, named or not, and its token says whose it is', async () => {
    const asked = { scope: 'projects:read' };
    const claims = { repository_id: '4712' };
    for (const workflow of ['deploy', 'lab', 'DEPLOY', 'other ', '__proto__', 'constructor', '']) {
      expect(await show(await test.ci.token(claims), { ...asked, workflow }), workflow).toMatchObject(unknown);
    }
    expect(await show(await test.ci.token(claims), asked)).toMatchObject({
      status: 403,
      reason: 'broker.beyond_ceiling',
    });
    const own = await show(await test.ci.token(claims), { scope: 'builds:write', workflow: 'other' });
    expect(own.status).toBe(200);
    expect(claimsOf(own.body['access_token'])).toMatchObject({ job: { repository_id: '4712', provider: 'github' } });
  });

  it('the same identifier at another issuer is another repository', async () => {
    const claims = CiSystem.claims({ iss: GITLAB, project_id: '4711', repository_id: '4711' });
    const token = await gitlab.sign(JSON.stringify(claims), { ...HEADER, kid: 'gl-1' });
    expect(await show(token, { scope: 'projects:read', workflow: 'deploy' })).toMatchObject(unknown);
    const github = await show(await test.ci.token(), { scope: 'projects:read', workflow: 'lab' });
    expect(github).toMatchObject(unknown);
  });

  it('what a job says of itself changes nothing: the assertion holds what its identity token says', async () => {
    const { body } = await show(await test.ci.token({ run_id: '77', actor: 'mallory' }), {
      scope: 'projects:read',
      job: JSON.stringify({ repository_id: '4712' }),
      repository_id: '4712',
      run_id: '1',
      sub: 'admin',
    });
    expect(claimsOf(body['access_token'])['job']).toMatchObject({
      repository_id: '4711',
      run_id: '77',
      actor: 'mallory',
    });
  });
});

describe('RFC 7523 §5: an identity token that somebody else has', () => {
  it('is good with the key of its first use only, also after a restart of the broker', async () => {
    const { job, ...first } = await show(await test.ci.token());
    expect(first.status).toBe(200);
    const token = await test.ci.token({ jti: 'stolen' });
    const owner = await BrokerJob.start(test);
    expect((await owner.ask({}, { authorization: `Bearer ${token}` })).status).toBe(200);
    const used = { status: 401, reason: 'broker.identity_used' };
    expect(await show(token)).toMatchObject(used);
    await test.broker.close();
    await test.startBroker();
    expect(await show(token)).toMatchObject(used);
    expect((await owner.ask({}, { authorization: `Bearer ${token}` })).status).toBe(200);
    expect((await job.ask()).status).toBe(200);
  });

  it('another token with the jti of one that was used is that one', async () => {
    const [one, two] = [await test.ci.token({ jti: 'twice' }), await test.ci.token({ jti: 'twice', run_id: '5' })];
    expect(await show(one)).toMatchObject({ status: 200 });
    expect(await show(two)).toMatchObject({ status: 401, reason: 'broker.identity_used' });
  });

  it('without a jti it is known by what was signed', async () => {
    const token = await test.ci.token({ jti: undefined, run_id: 'no-jti' });
    expect(await show(token)).toMatchObject({ status: 200 });
    expect(await show(token)).toMatchObject({ status: 401, reason: 'broker.identity_used' });
  });

  it('two who show it in the same moment: one of them has it', async () => {
    const token = await test.ci.token({ run_id: 'race' });
    const answers = await Promise.all(Array.from({ length: 8 }, () => show(token)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401, 401, 401, 401, 401]);
  });
});
