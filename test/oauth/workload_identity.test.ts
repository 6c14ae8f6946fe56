import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WorkloadIssuers } from '../../src/oauth/workload_identity.ts';
import type { WorkloadIssuerOptions } from '../../src/oauth/workload_issuer.ts';
import { makeKey } from '../support/issuer.ts';
import { closedPort, KeyServer } from '../support/key_server.ts';
import { signJws } from '../support/sign_jws.ts';
import { type WorkloadChanges, WorkloadTokenIssuer } from '../support/workload.ts';

const ISSUER = 'https://token.actions.githubusercontent.com';
const AUDIENCE = 'https://as.example.com';
const NOW = Math.floor(Date.now() / 1000);

let folder: string;
let ci: WorkloadTokenIssuer;
const open: WorkloadIssuers[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'workload-'));
  ci = await WorkloadTokenIssuer.create(ISSUER, AUDIENCE);
  writeFileSync(join(folder, 'jwks.json'), JSON.stringify(ci.jwks()));
});
afterAll(() => {
  for (const issuers of open) issuers.close();
  rmSync(folder, { recursive: true });
});

function trust(changes: Partial<WorkloadIssuerOptions> = {}, clock: () => number = Date.now): WorkloadIssuers {
  const options: WorkloadIssuerOptions = {
    provider: 'github',
    issuer: ISSUER,
    audience: [AUDIENCE],
    jwks_file: join(folder, 'jwks.json'),
    algorithms: ['RS256'],
    conditions: {},
    job_claims: {},
    use: 'once',
    max_lifetime_seconds: 86_400,
    allow_insecure: false,
    ...changes,
  };
  const issuers = new WorkloadIssuers([options], { clock });
  open.push(issuers);
  return issuers;
}

async function problemOf(changes: WorkloadChanges, options: Partial<WorkloadIssuerOptions> = {}): Promise<string> {
  const outcome = await trust(options).verify(ci.token(changes));
  return outcome.ok ? 'accepted' : `${outcome.why}: ${outcome.problem}`;
}

describe('RFC 7523 §3: a workload identity token that is good', () => {
  it('says who the job is, in the names of a job', async () => {
    const outcome = await trust().verify(ci.token({ claims: { jti: 'j1' } }));
    expect(outcome).toMatchObject({
      ok: true,
      value: {
        issuer: ISSUER,
        subject: 'repo:acme@1234/infra@456789:environment:production',
        jti: 'j1',
        use: 'once',
        job: {
          provider: 'github',
          repository: 'acme/infra',
          repository_id: '456789',
          workflow: 'deploy.yml',
          ref: 'refs/heads/main',
          ref_protected: true,
          environment: 'production',
          run_id: '991',
        },
      },
    });
    expect(outcome.ok && Object.keys(outcome.value.job.claims)).not.toContain('exp');
  });

  it.each([
    ['aud of several', { claims: { aud: ['https://other.example.com', AUDIENCE] } }],
    ['no typ', { header: { typ: undefined } }],
    ['typ in another case', { header: { typ: 'jwt' } }],
    ['no nbf', { claims: { nbf: undefined } }],
    ['no kid', { header: { kid: undefined } }],
    ['iat a little ahead', { claims: { iat: NOW + 8 } }],
    ['times with fractions', { claims: { exp: NOW + 60.5 } }],
    [
      'a jwk in the header, which does not count',
      { header: { jwk: { kty: 'oct', k: 'AAAA' }, jku: 'http://127.0.0.1:1/' } },
    ],
  ])('takes %s', async (_name, changes) => {
    expect(await problemOf(changes)).toBe('accepted');
  });

  it('takes members of the job from the claims that the configuration names', async () => {
    const outcome = await trust({ provider: 'forge', job_claims: { repository: 'project', run_id: 'run' } }).verify(
      ci.token({ claims: { project: 'acme/x', run: 7 } }),
    );
    expect(outcome).toMatchObject({
      ok: true,
      value: { job: { provider: 'forge', repository: 'acme/x', run_id: '7', ref: null } },
    });
  });
});

describe('RFC 7523 §3, RFC 8725 §3: a workload identity token that is refused', () => {
  it.each<[string, WorkloadChanges, string]>([
    ['another issuer', { claims: { iss: 'https://gitlab.com' } }, 'iss is no trusted issuer'],
    ['an issuer with a slash behind it', { claims: { iss: `${ISSUER}/` } }, 'iss is no trusted issuer'],
    ['an issuer in a list', { claims: { iss: [ISSUER] } }, 'iss is no trusted issuer'],
    ['no issuer', { claims: { iss: undefined } }, 'iss is no trusted issuer'],
    ['another audience', { claims: { aud: 'https://other.example.com' } }, 'aud is another'],
    ['an audience that begins alike', { claims: { aud: `${AUDIENCE}.evil.example` } }, 'aud is another'],
    ['no audience', { claims: { aud: undefined } }, 'aud is another'],
    ['an empty list of audiences', { claims: { aud: [] } }, 'aud is another'],
    ['an audience that is an object', { claims: { aud: { 0: AUDIENCE } } }, 'aud is another'],
    ['audiences that are not all texts', { claims: { aud: [AUDIENCE, 1] } }, 'aud is another'],
    ['no subject', { claims: { sub: undefined } }, 'sub is missing or not a text'],
    ['an empty subject', { claims: { sub: '' } }, 'sub is missing or not a text'],
    ['a subject that is a number', { claims: { sub: 5 } }, 'sub is missing or not a text'],
    ['a long subject', { claims: { sub: 'x'.repeat(1025) } }, 'sub is missing or not a text'],
    ['a jti that is a number', { claims: { jti: 5 } }, 'jti is not a text'],
    ['a jti that is empty', { claims: { jti: '' } }, 'jti is not a text'],
    ['no exp', { claims: { exp: undefined } }, 'exp is missing or not a time in seconds'],
    ['exp as a text', { claims: { exp: String(NOW + 60) } }, 'exp is missing or not a time in seconds'],
    ['exp in milliseconds', { claims: { exp: NOW * 1000 } }, 'exp is missing or not a time in seconds'],
    ['exp null', { claims: { exp: null } }, 'exp is missing or not a time in seconds'],
    ['expired', { claims: { exp: NOW - 1, iat: NOW - 300 } }, 'exp has passed'],
    ['no iat', { claims: { iat: undefined } }, 'iat is missing or not a time in seconds'],
    ['iat ahead', { claims: { iat: NOW + 120 } }, 'iat lies ahead'],
    ['nbf ahead', { claims: { nbf: NOW + 120 } }, 'nbf lies ahead'],
    ['nbf as a text', { claims: { nbf: 'now' } }, 'nbf is not a time in seconds'],
    ['valid for years', { claims: { exp: NOW + 100_000_000 } }, 'the token is valid for too long'],
    ['an access token', { header: { typ: 'at+jwt' } }, 'typ is another'],
    ['a proof', { header: { typ: 'dpop+jwt' } }, 'typ is another'],
    ['typ null', { header: { typ: null } }, 'typ is another'],
    ['alg none', { header: { alg: 'none' } }, 'the signature algorithm is not allowed'],
    ['alg HS256', { header: { alg: 'HS256' } }, 'the signature algorithm is not allowed'],
    ['an algorithm that is not allowed', { header: { alg: 'PS256' } }, 'the signature algorithm is not allowed'],
    ['crit', { header: { crit: ['x'], x: 1 } }, 'a critical header'],
    ['b64', { header: { b64: true } }, 'a critical header'],
    ['kid as a number', { header: { kid: 1 } }, 'kid is not a text'],
    ['an unknown kid', { header: { kid: 'other' } }, 'signed with a key that the issuer does not publish'],
  ])('%s', async (_name, changes, problem) => {
    expect(await problemOf(changes)).toBe(`refused: ${problem}`);
  });

  it('signed with another key', async () => {
    const token = signJws({ alg: 'RS256', typ: 'JWT', kid: ci.kid }, { iss: ISSUER }, await makeKey('RS256'));
    expect(await trust().verify(token)).toEqual({ ok: false, why: 'refused', problem: 'the signature is not valid' });
  });

  it('in another form than three parts of canonical base64url', async () => {
    const [header, payload, signature] = ci.token().split('.') as [string, string, string];
    const forms = [
      '',
      'x',
      `${header}.${payload}`,
      `${header}.${payload}.`,
      `${header}.${payload}.${signature}=`,
      `${header}.${payload}.${signature}.x`,
      ` ${header}.${payload}.${signature}`,
    ];
    for (const form of forms) expect(await trust().verify(form)).toMatchObject({ ok: false, why: 'refused' });
  });

  it('with a member twice', async () => {
    const token = signJws({ alg: 'RS256', kid: ci.kid }, `{"iss":"${ISSUER}","iss":"${ISSUER}","sub":"a"}`, ci.key);
    expect(await trust().verify(token)).toMatchObject({ problem: 'JSON with a repeated member' });
  });

  it('never throws and takes nothing, whatever the text', async () => {
    const issuers = trust();
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 400 }), async (text) => {
        expect((await issuers.verify(text)).ok).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});

describe('conditions of an issuer', () => {
  const conditions = { repository_owner_id: ['1234', '99'], environment: ['production'] };

  it.each<[string, WorkloadChanges, string]>([
    ['all hold', {}, 'accepted'],
    ['one of the values, as a number', { claims: { repository_owner_id: 99 } }, 'accepted'],
    [
      'another value',
      { claims: { repository_owner_id: '12345' } },
      'refused: the claim repository_owner_id is missing or another',
    ],
    [
      'a value of other case',
      { claims: { environment: 'Production' } },
      'refused: the claim environment is missing or another',
    ],
    [
      'the claim is missing',
      { claims: { environment: undefined } },
      'refused: the claim environment is missing or another',
    ],
    [
      'the claim is a list',
      { claims: { environment: ['production'] } },
      'refused: the claim environment is missing or another',
    ],
    ['the claim is null', { claims: { environment: null } }, 'refused: the claim environment is missing or another'],
  ])('%s', async (_name, changes, outcome) => {
    expect(await problemOf(changes, { conditions })).toBe(outcome);
  });

  it('a claim of the prototype is none', async () => {
    expect(await problemOf({}, { conditions: { constructor: ['x'] } })).toBe(
      'refused: the claim constructor is missing or another',
    );
  });
});

describe('single use', () => {
  it('is claimed last, once, and until the token can no longer be accepted', async () => {
    const claims: [string, number][] = [];
    const used = new Set<string>();
    const claim = (id: string, until: number) => {
      claims.push([id, until]);
      if (used.has(id)) return 'used' as const;
      used.add(id);
      return 'fresh' as const;
    };
    const issuers = trust();
    const token = ci.token({ claims: { exp: NOW + 200 } });
    expect(await issuers.verify(ci.token({ claims: { aud: 'x' } }), claim)).toMatchObject({ ok: false });
    expect(claims).toEqual([]);
    const outcomes = await Promise.all(Array.from({ length: 100 }, () => issuers.verify(token, claim)));
    expect(outcomes.filter((outcome) => outcome.ok)).toHaveLength(1);
    expect(outcomes.filter((outcome) => !outcome.ok && outcome.why === 'used')).toHaveLength(99);
    expect(claims[0]?.[1]).toBe(NOW + 210);
  });

  it('tokens without jti are told apart by what was signed', async () => {
    const ids = new Set<string>();
    for (const claims of [
      { jti: undefined },
      { jti: undefined, run_id: '992' },
      { jti: 'a' },
      { jti: 'a', run_id: '992' },
    ]) {
      const outcome = await trust().verify(ci.token({ claims }));
      if (outcome.ok) ids.add(outcome.value.useId);
    }
    expect(ids.size).toBe(3);
  });

  it('a store that cannot answer is no refusal', async () => {
    expect(await trust().verify(ci.token(), () => 'unavailable')).toMatchObject({ ok: false, why: 'unavailable' });
  });
});

describe('keys of an issuer', () => {
  it('are found by its metadata (RFC 8414), and a new one is', async () => {
    const server = await KeyServer.start();
    const forge = await WorkloadTokenIssuer.create(server.issuer, AUDIENCE, 'ES256');
    server.keys = forge.jwks().keys;
    const issuers = trust({ issuer: server.issuer, jwks_file: undefined, algorithms: ['ES256'] });
    expect(await issuers.verify(forge.token())).toMatchObject({ ok: true });
    const next = await WorkloadTokenIssuer.create(server.issuer, AUDIENCE, 'ES256');
    server.keys = [...forge.jwks().keys, ...next.jwks().keys];
    expect(await issuers.verify(next.token())).toMatchObject({ ok: true });
    await server.stop();
  });

  it('that cannot be had are an outage, not a refusal', async () => {
    const issuer = `http://127.0.0.1:${await closedPort()}`;
    const forge = await WorkloadTokenIssuer.create(issuer, AUDIENCE, 'ES256');
    const outcome = await trust({ issuer, jwks_file: undefined, algorithms: ['ES256'] }).verify(forge.token());
    expect(outcome).toMatchObject({ ok: false, why: 'unavailable' });
  });
});
