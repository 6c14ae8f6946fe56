import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readChallenges } from '../support/challenges.ts';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { type Outcome, PATH, Wire } from '../support/wire.ts';

/** RFC 6750 over the wire of a whole gateway: where a token may stand (§2), and what a refusal looks like (§3). */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

const METADATA = 'https://cloud.example.com/.well-known/oauth-protected-resource/v1';
const challengesOf = ({ answer }: Outcome) => readChallenges(answer.headers['www-authenticate'] ?? []);

describe('RFC 6750 §2: one token, in one place', () => {
  it('RFC 6750 §2: refuses two Authorization headers, the same twice and two kinds', async () => {
    const token = wire.token();
    const [credentials = '', proof = ''] = wire.lines(token);
    for (const other of [
      credentials,
      `Authorization: Bearer ${token}`,
      'Authorization: Basic dTpw',
      'authorization:',
    ]) {
      expectRefused(await wire.send({ lines: [credentials, other, proof] }), 'request.credentials_repeated');
      expectRefused(await wire.send({ lines: [other, proof, credentials] }), 'request.credentials_repeated');
    }
  });

  it('RFC 6750 §2: refuses a token in the header and another in the query', async () => {
    const token = wire.token();
    const target = `${PATH}?access_token=${wire.token()}`;
    expectRefused(await wire.send({ target, lines: wire.lines(token) }), 'request.credentials_in_query');
  });

  it('RFC 6750 §2: refuses a token in the header and another in the form', async () => {
    const token = wire.token();
    const path = '/v1/projects/p1/builds';
    const lines = [
      ...wire.lines(token, wire.proof(token, { method: 'POST', path })),
      'Content-Type: application/x-www-form-urlencoded',
    ];
    const outcome = await wire.send({ method: 'POST', target: path, lines, body: `a=b&access_token=${wire.token()}` });
    expectRefused(outcome, 'request.credentials_in_body');
    expectAllowed(
      await wire.send({
        method: 'POST',
        target: path,
        lines: [
          ...wire.lines(token, wire.proof(token, { method: 'POST', path })),
          'Content-Type: application/x-www-form-urlencoded',
        ],
        body: 'a=b&access=x',
      }),
    );
  });
});

describe('RFC 6750 §2.1: the Authorization header', () => {
  it.each<[string, (token: string) => string, string]>([
    ['no token', () => 'DPoP', 'request.credentials_malformed'],
    ['no token and a space', () => 'DPoP ', 'request.credentials_malformed'],
    ['two tokens', (token) => `DPoP ${token} ${token}`, 'request.credentials_malformed'],
    ['two tokens and a comma', (token) => `DPoP ${token},${token}`, 'request.credentials_malformed'],
    ['two credentials and a comma', (token) => `DPoP ${token}, Bearer ${token}`, 'request.credentials_malformed'],
    ['a parameter', (token) => `DPoP token="${token}"`, 'request.credentials_malformed'],
    ['quotation marks', (token) => `DPoP "${token}"`, 'request.credentials_malformed'],
    ['a tab instead of the space', (token) => `DPoP\t${token}`, 'request.credentials_malformed'],
    ['a tab before the token', (token) => `DPoP \t${token}`, 'request.credentials_malformed'],
    ['a letter outside of ASCII', (token) => `DPoP ${token}é`, 'request.credentials_malformed'],
    ['a character that is no token68', (token) => `DPoP ${token}!`, 'request.credentials_malformed'],
    ['padding within', (token) => `DPoP =${token}`, 'request.credentials_malformed'],
    ['a colon behind the scheme', (token) => `DPoP: ${token}`, 'request.credentials_malformed'],
    ['an empty value', () => '', 'request.credentials_malformed'],
    ['the token alone', (token) => token, 'request.scheme_unsupported'],
    ['Basic', () => 'Basic dXNlcjpwYXNz', 'request.scheme_unsupported'],
    ['Digest', () => 'Digest username="u"', 'request.scheme_unsupported'],
    ['GNAP', (token) => `GNAP ${token}`, 'request.scheme_unsupported'],
    ['DPoPx', (token) => `DPoPx ${token}`, 'request.scheme_unsupported'],
    ['Bearer without a token', () => 'Bearer', 'request.credentials_malformed'],
  ])('RFC 6750 §2.1: refuses credentials with %s', async (_, spell, reason) => {
    const token = wire.token();
    const lines = [`Authorization: ${spell(token)}`, `DPoP: ${wire.proof(token)}`];
    expectRefused(await wire.send({ lines }), reason);
  });

  it.each([
    ['two spaces', (token: string) => `DPoP  ${token}`],
    ['white space around', (token: string) => ` \tDPoP ${token}\t `],
  ])('RFC 9110 §11.4: takes %s', async (_, spell) => {
    const token = wire.token();
    expectAllowed(await wire.send({ lines: [`Authorization: ${spell(token)}`, `DPoP: ${wire.proof(token)}`] }));
  });

  it.each(['DPoP', 'Bearer'] as const)(
    'RFC 6750 §2.1: a token68 that is no JWT is an invalid token, under %s',
    async (scheme) => {
      for (const text of ['x', 'AAAA.BBBB', 'a~b+c/d==', '-', '.', '...']) {
        expectRefused(await wire.send({ lines: [`Authorization: ${scheme} ${text}`] }), 'token.malformed');
      }
    },
  );
});

describe('RFC 6750 §2.2: no token in a form', () => {
  const form = 'Content-Type: application/x-www-form-urlencoded';

  it.each([
    ['alone', 'access_token=x'],
    ['behind others', 'a=1&b=2&access_token=x'],
    ['in escapes', 'access%5Ftoken=x'],
    ['without a value', 'access_token'],
  ])('RFC 6750 §2.2: refuses it %s', async (_, body) => {
    const target = '/v1/projects/p1/builds';
    const outcome = await wire.send({ method: 'POST', target, lines: [form], body });
    expectRefused(outcome, 'request.credentials_in_body');
  });

  it('RFC 6750 §2.2: a form without one is a request without credentials', async () => {
    const outcome = await wire.send({ method: 'POST', target: '/v1/projects', lines: [form], body: 'a=1' });
    expectRefused(outcome, 'request.credentials_missing');
  });

  it('RFC 6750 §2.2: in a body of another type the words mean nothing', async () => {
    const target = '/v1/projects/p1/builds';
    const token = wire.token();
    const proof = wire.proof(token, { method: 'POST', path: target });
    const lines = [...wire.lines(token, proof), 'Content-Type: application/json'];
    const outcome = await wire.send({ method: 'POST', target, lines, body: '{"access_token":"x"}' });
    expectAllowed(outcome);
    expect(outcome.upstream[0]?.body).toBe('{"access_token":"x"}');
  });
});

describe('RFC 6750 §2.3: no token in the query', () => {
  it.each([
    '?access_token=',
    '?a=1&access_token=',
    '?access%5Ftoken=',
    '?%61ccess_token=',
    '?access_token=x&access_token=',
  ])('RFC 6750 §2.3: refuses %s…', async (query) => {
    const outcome = await wire.send({ target: `${PATH}${query}${wire.token()}`, lines: [] });
    expectRefused(outcome, 'request.credentials_in_query');
    expect(JSON.stringify(outcome.record)).not.toMatch(/eyJ[\w-]{20,}/);
  });

  it('RFC 6750 §2.3: other parameters that sound alike are the upstream’s own', async () => {
    const token = wire.token();
    const target = `${PATH}?access_tokens=1&ACCESS_TOKEN=2&token=3`;
    expectAllowed(await wire.send({ target, lines: wire.lines(token) }));
  });

  it('RFC 6750 §2: a token in a cookie is no credential', async () => {
    const lines = [`Cookie: access_token=${wire.token()}; session=1`];
    const outcome = await wire.send({ lines });
    expectRefused(outcome, 'request.credentials_missing');
    expect(JSON.stringify(outcome.record)).not.toMatch(/eyJ[\w-]{20,}/);
  });
});

describe('RFC 6750 §3: the WWW-Authenticate header', () => {
  it('RFC 6750 §3.1: without credentials no error code, but what would be needed', async () => {
    const outcome = await wire.send({ lines: [] });
    expectRefused(outcome, 'request.credentials_missing');
    expect(challengesOf(outcome)).toEqual([
      { scheme: 'DPoP', parameters: { algs: 'ES256 PS256 EdDSA', resource_metadata: METADATA } },
    ]);
  });

  it('RFC 6750 §3.1: a proof without a token is a request without credentials', async () => {
    expectRefused(await wire.send({ lines: [`DPoP: ${wire.proof('none')}`] }), 'request.credentials_missing');
  });

  it('RFC 6750 §3.1: invalid_request is 400, in the challenge of the scheme that would do', async () => {
    const outcome = await wire.send({ lines: ['Authorization: DPoP'] });
    expect(outcome.answer.status).toBe(400);
    expect(challengesOf(outcome)).toEqual([
      {
        scheme: 'DPoP',
        parameters: {
          error: 'invalid_request',
          error_description: 'The Authorization header is malformed',
          algs: 'ES256 PS256 EdDSA',
          resource_metadata: METADATA,
        },
      },
    ]);
  });

  it('RFC 6750 §3.1: invalid_token is 401', async () => {
    const outcome = await wire.call({ token: wire.token({ claims: { exp: wire.now - 1 } }) });
    expect(outcome.answer.status).toBe(401);
    expect(challengesOf(outcome)).toEqual([
      {
        scheme: 'DPoP',
        parameters: {
          error: 'invalid_token',
          error_description: 'The access token has expired',
          algs: 'ES256 PS256 EdDSA',
          resource_metadata: METADATA,
        },
      },
    ]);
  });

  it('RFC 9110 §15.5.2: 401 names each scheme that would do: Bearer only where a certificate can arrive', async () => {
    const front_proxies = [{ addresses: ['127.0.0.1'], client_certificate: 'client_cert' }];
    const behind = await Wire.start({ config: { listen: { port: 0, front_proxies } } });
    const schemes = async (one: Wire, lines: string[]) =>
      challengesOf(await one.send({ lines })).map(({ scheme }) => scheme);
    expect(await schemes(behind, [])).toEqual(['DPoP', 'Bearer']);
    expect(await schemes(wire, [])).toEqual(['DPoP']);
    const token = behind.token();
    expect(await schemes(behind, [`Authorization: Bearer ${token}`])).toEqual(['Bearer', 'DPoP']);
    expectRefused(
      await behind.send({ lines: [`Authorization: Bearer ${token}`] }),
      'proof.bound_token_as_bearer',
      'Bearer',
    );
    await behind.close();
  });

  it('RFC 6750 §3.1: insufficient_scope is 403, with the scope that would do', async () => {
    const outcome = await wire.call({ token: wire.token({ claims: { scope: 'builds:write' } }) });
    expectRefused(outcome, 'policy.insufficient_scope');
    expect(challengesOf(outcome)).toEqual([
      {
        scheme: 'DPoP',
        parameters: {
          error: 'insufficient_scope',
          error_description: 'The scope of the access token does not cover this operation',
          scope: 'projects:read',
          algs: 'ES256 PS256 EdDSA',
          resource_metadata: METADATA,
        },
      },
    ]);
    expect(outcome.problem).toMatchObject({ required: { scopes: ['projects:read'] } });
  });

  it('RFC 6750 §3: descriptions are of the characters that are allowed there, whatever was sent', async () => {
    const evil = ['"', '\\', '\u00e9', '%0d%0aX-Evil:1', '<script>'];
    for (const text of evil) {
      const outcome = await wire.send({ lines: [`Authorization: DPoP ${text}`, `DPoP: ${text}`, `X: ${text}`] });
      const [challenge] = challengesOf(outcome);
      expect(challenge?.parameters['error_description']).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/);
      expect(outcome.answer.head).not.toContain(text === '"' ? '""' : text);
    }
  });

  it('RFC 6750 §5.3: neither answer nor record holds a token, a proof or a cookie, allowed or refused', async () => {
    const token = wire.token();
    const cookie = 'Cookie: session=SECRET-COOKIE';
    const outcomes = [
      await wire.send({ lines: [...wire.lines(token), cookie] }),
      await wire.send({ lines: [...wire.lines(token, 'SECRET.PROOF.x'), cookie] }),
      await wire.send({ lines: ['Authorization: Basic U0VDUkVU', cookie] }),
      await wire.send({ lines: ['Authorization: DPoP SECRET-TOKEN', cookie] }),
    ];
    for (const { answer, record } of outcomes) {
      const seen = answer.head + answer.body + JSON.stringify(record);
      expect(seen).not.toMatch(/SECRET|U0VDUkVU|eyJ[\w-]{20,}/);
    }
  });
});

describe('RFC 6750: routes that take bearer tokens by name', () => {
  let bearer: Wire;
  beforeAll(async () => {
    bearer = await Wire.start({ route: { bindings: ['bearer'] }, transports: TRANSPORTS });
  });
  afterAll(() => bearer.close());

  it('RFC 6750 §2.1: an unbound token passes, once or often, in any case of the scheme', async () => {
    const token = bearer.token({ claims: { cnf: undefined } });
    for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer']) {
      expectAllowed(await bearer.send({ lines: [`Authorization: ${scheme} ${token}`] }));
    }
  });

  it('RFC 9449 §7.2: a bound token does not, with or without its proof', async () => {
    const token = bearer.token();
    const lines = [`Authorization: Bearer ${token}`];
    expectRefused(await bearer.send({ lines }), 'proof.bound_token_as_bearer', 'Bearer');
    lines.push(`DPoP: ${bearer.proof(token)}`);
    expectRefused(await bearer.send({ lines }), 'proof.bound_token_as_bearer', 'Bearer');
  });

  it('RFC 6750 §3: the challenge names Bearer alone', async () => {
    const outcome = await bearer.send({ lines: [] });
    expect(challengesOf(outcome)).toEqual([{ scheme: 'Bearer', parameters: { resource_metadata: METADATA } }]);
    expectRefused(await bearer.call(), 'proof.binding_not_allowed', 'Bearer');
  });
});
