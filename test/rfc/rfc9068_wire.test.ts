import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { makeKey, TestIssuer } from '../support/issuer.ts';
import { type MemberCase, spoil } from '../support/mutations.ts';
import { signJws } from '../support/sign_jws.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { DETAIL, type JwtChanges, NOW, ORIGIN, PATH, RESOURCE, Wire } from '../support/wire.ts';

/** RFC 9068 as a caller meets it: every member of an access token, over the wire of a whole gateway. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

/** Sends a request with a changed token and a good proof for it; reason null: it is allowed. */
async function outcomeIs(reason: string | null, changes: JwtChanges = {}): Promise<void> {
  const outcome = await wire.call({ token: wire.token(changes) });
  if (reason === null) expectAllowed(outcome);
  else expectRefused(outcome, reason);
}

const UNCOVERED = 'policy.insufficient_authorization_details';

const HEADER: readonly MemberCase[] = [
  ...spoil('typ', 'token.type'),
  ...spoil('alg', 'token.algorithm'),
  ...spoil('kid', 'token.malformed', { missing: null, text: 'token.key_unknown', empty: 'token.key_unknown' }),
  ...spoil('crit', 'token.critical_header', { missing: null }),
  ...spoil('b64', 'token.critical_header', { missing: null }),
];

describe('RFC 9068 §2.1, §4: the header of a token', () => {
  it.each(HEADER)('RFC 9068 §4: header, %s', (_, member, value, reason) =>
    outcomeIs(reason, { header: { [member]: value } }),
  );

  it.each(['at+JWT', 'AT+jwt', 'application/at+jwt', 'Application/AT+JWT'])(
    'RFC 9068 §4: typ %s is the same media type',
    (typ) => outcomeIs(null, { header: { typ } }),
  );

  it.each(['JWT', 'jwt', 'dpop+jwt', 'token-introspection+jwt', 'secevent+jwt', 'at+jwt ', 'xat+jwt', 'id_token+jwt'])(
    'RFC 9068 §4: typ %j is another one, such as an ID token’s',
    (typ) => outcomeIs('token.type', { header: { typ } }),
  );

  it('RFC 8725 §3.10: keys that the token brings are not looked at', async () => {
    const key = await makeKey();
    const header = { jwk: key.publicJwk, jku: 'http://127.0.0.1:9/jwks', x5u: 'http://127.0.0.1:9/x5u', x5c: ['MIIB'] };
    await outcomeIs(null, { header });
    expectRefused(await wire.call({ token: wire.token({ header }, key) }), 'token.signature');
    expectRefused(
      await wire.call({ token: wire.token({ header: { ...header, kid: undefined } }, key) }),
      'token.signature',
    );
  });

  it('RFC 9068 §4: a key that the issuer does not publish, under its kid and under another', async () => {
    const stranger = await makeKey();
    expectRefused(await wire.call({ token: wire.token({}, stranger) }), 'token.signature');
    const kid = stranger.thumbprint.slice(0, 8);
    expectRefused(await wire.call({ token: wire.token({ header: { kid } }, stranger) }), 'token.key_unknown');
  });

  it('RFC 9068 §2.1: kid may hold what a path, a query or a log line would be broken by', async () => {
    for (const kid of ['../../etc/passwd', "' OR 1=1--", 'a\nb', '\u001b[2J', '__proto__', 'constructor']) {
      await outcomeIs('token.key_unknown', { header: { kid } });
    }
  });
});

const CLAIMS: readonly MemberCase[] = [
  ...spoil('iss', 'token.issuer_unknown'),
  ...spoil('aud', 'token.claims', { text: 'token.audience', array: 'token.audience' }),
  ...spoil('exp', 'token.claims', { number: 'token.expired' }),
  ...spoil('nbf', 'token.claims', { missing: null, number: null }),
  ...spoil('iat', 'token.claims', { number: null }),
  ...spoil('sub', 'token.claims', { text: null }),
  ...spoil('client_id', 'token.claims', { text: null }),
  ...spoil('jti', 'token.claims', { text: null }),
  ...spoil('scope', 'token.claims', {
    missing: 'policy.insufficient_scope',
    text: 'policy.insufficient_scope',
    oversize: 'policy.insufficient_scope',
  }),
  ...spoil('authorization_details', 'token.authorization_details', { missing: UNCOVERED }),
  ...spoil('cnf', 'token.confirmation', { missing: 'proof.unbound_token' }),
];

describe('RFC 9068 §2.2: the claims of a token', () => {
  it.each(CLAIMS)('RFC 9068 §2.2: claim, %s', (_, member, value, reason) =>
    outcomeIs(reason, { claims: { [member]: value } }),
  );

  it('RFC 9068 §2.2: further claims do not count', () =>
    outcomeIs(null, { claims: { acr: 1, roles: [], groups: null, entitlements: {}, 'https://example.com/c': 'x' } }));

  it.each([
    'https://as.example.com/',
    'https://AS.example.com',
    'HTTPS://as.example.com',
    'https://as.example.com:443',
    'https://as.example.com\u0000',
    ' https://as.example.com',
    'https://as.example.com.evil.example',
    'as.example.com',
    '__proto__',
  ])('RFC 9068 §4: iss %j is another issuer, byte for byte', (iss) =>
    outcomeIs('token.issuer_unknown', { claims: { iss } }),
  );

  it('RFC 9068 §4: another issuer with the same kid does not get its tokens taken', async () => {
    const other = await TestIssuer.create('https://evil.example.com');
    const header = wire.tokenHeader();
    const foreign = signJws(header, wire.tokenClaims({ iss: other.issuer }), other.key);
    expectRefused(await wire.call({ token: foreign }), 'token.issuer_unknown');
    expectRefused(await wire.call({ token: signJws(header, wire.tokenClaims(), other.key) }), 'token.signature');
  });

  it.each<[string, unknown, string | null]>([
    ['an array with the resource alone', [RESOURCE], null],
    ['an array with the resource last', ['https://other.example.com', RESOURCE], null],
    ['an array of 100', [...Array.from({ length: 99 }, (_, n) => `urn:${n}`), RESOURCE], null],
    ['an array of 101', [...Array.from({ length: 100 }, (_, n) => `urn:${n}`), RESOURCE], 'token.claims'],
    ['an empty array', [], 'token.claims'],
    ['an array with the resource and a number', [RESOURCE, 1], 'token.claims'],
    ['an array in an array', [[RESOURCE]], 'token.claims'],
    ['an array with an empty text', [RESOURCE, ''], 'token.claims'],
    ['the resource with a slash', `${RESOURCE}/`, 'token.audience'],
    ['the origin', ORIGIN, 'token.audience'],
    ['a path below the resource', `${RESOURCE}/projects`, 'token.audience'],
    ['the resource in another case', RESOURCE.toUpperCase(), 'token.audience'],
    ['the resource among others in one text', `${RESOURCE} https://other.example.com`, 'token.audience'],
    ['the client', 'wf-4711', 'token.audience'],
    ['a star', '*', 'token.audience'],
  ])('RFC 8707 §2: aud is %s', (_, aud, reason) => outcomeIs(reason, { claims: { aud } }));

  it.each<[string, number, string | null]>([
    ['exp', 1, null],
    ['exp', 0.5, null],
    ['exp', 0, 'token.expired'],
    ['exp', -1, 'token.expired'],
    ['exp', -100_000, 'token.expired'],
    ['exp', NOW * 999, 'token.claims'],
    ['nbf', 0, null],
    ['nbf', 10, null],
    ['nbf', 11, 'token.not_yet_valid'],
    ['nbf', 61, 'token.not_yet_valid'],
    ['iat', -86_400, null],
    ['iat', 8, null],
    ['iat', 10, null],
    ['iat', 11, 'token.not_yet_valid'],
    ['iat', -NOW - 1, 'token.claims'],
  ])('RFC 9068 §4: %s %d seconds from now', (claim, offset, reason) =>
    outcomeIs(reason, { claims: { [claim]: NOW + offset } }),
  );

  it('RFC 9068 §4: a token that was good is refused from its exp on, however often it was used', async () => {
    const token = wire.token({ claims: { exp: NOW + 30 } });
    expectAllowed(await wire.call({ token }));
    wire.now = NOW + 29;
    expectAllowed(await wire.call({ token }));
    wire.now = NOW + 30;
    expectRefused(await wire.call({ token }), 'token.expired');
    wire.now = NOW;
  });

  it('RFC 9068 §4: refusals are not remembered in favour of a token either', async () => {
    const token = wire.token({ claims: { nbf: NOW + 20 } });
    expectRefused(await wire.call({ token }), 'token.not_yet_valid');
    wire.now = NOW + 20;
    expectAllowed(await wire.call({ token }));
    wire.now = NOW;
  });

  it.each<[string, unknown, string | null]>([
    ['two spaces between', 'projects:read  builds:read', 'token.claims'],
    ['a space before', ' projects:read', 'token.claims'],
    ['a tab between', 'projects:read\tbuilds:read', 'token.claims'],
    ['a quotation mark', 'projects:read "x"', 'token.claims'],
    ['a letter outside of ASCII', 'projects:read é', 'token.claims'],
    ['the scope twice', 'projects:read projects:read', null],
    ['the scope last of many', `${Array.from({ length: 200 }, (_, n) => `s${n}`).join(' ')} projects:read`, null],
    ['the scope in another case', 'Projects:Read', 'policy.insufficient_scope'],
    ['a scope that begins like it', 'projects:readonly projects', 'policy.insufficient_scope'],
    ['a star', 'projects:* *', 'policy.insufficient_scope'],
  ])('RFC 6749 §3.3: scope with %s', (_, scope, reason) => outcomeIs(reason, { claims: { scope } }));
});

describe('RFC 7800 §3.1: cnf', () => {
  const jkt = () => wire.jobKey.thumbprint;

  it.each<[string, (jkt: string) => unknown, string | null]>([
    ['jkt', (own) => ({ jkt: own }), null],
    ['nothing', () => ({}), 'token.confirmation'],
    ['jkt and a member that nobody knows', (own) => ({ jkt: own, kid: 'k' }), 'token.confirmation'],
    ['a jwk', () => ({ jwk: { kty: 'EC' } }), 'token.confirmation'],
    ['a jku', () => ({ jku: 'https://evil.example/' }), 'token.confirmation'],
    ['jkt null', () => ({ jkt: null }), 'token.confirmation'],
    ['jkt a number', () => ({ jkt: 1 }), 'token.confirmation'],
    ['jkt in an array', (own) => ({ jkt: [own] }), 'token.confirmation'],
    ['jkt an object', (own) => ({ jkt: { value: own } }), 'token.confirmation'],
    ['jkt empty', () => ({ jkt: '' }), 'token.confirmation'],
    ['jkt with padding', (own) => ({ jkt: `${own}=` }), 'token.confirmation'],
    ['jkt in hexadecimal', (own) => ({ jkt: Buffer.from(own, 'base64url').toString('hex') }), 'token.confirmation'],
    ['jkt of another key', () => ({ jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' }), 'proof.key_mismatch'],
    ['JKT', (own) => ({ JKT: own }), 'token.confirmation'],
    ['x5t#S256', (own) => ({ 'x5t#S256': own }), 'proof.unbound_token'],
    ['jkt and x5t#S256', (own) => ({ jkt: own, 'x5t#S256': own }), 'proof.certificate_missing'],
    ['jkt and x5t#S256 null', (own) => ({ jkt: own, 'x5t#S256': null }), 'token.confirmation'],
    ['x5t, which is SHA-1', (own) => ({ x5t: own }), 'token.confirmation'],
  ])('RFC 7800 §3.1: cnf with %s, under DPoP', async (_, cnf, reason) => {
    const outcome = await wire.call({ token: wire.token({ claims: { cnf: cnf(jkt()) } }) });
    if (reason === null) expectAllowed(outcome);
    else expectRefused(outcome, reason);
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['a text', 'jkt'],
    ['an array', []],
    ['a number', 1],
    ['an empty object', {}],
    ['a member that nobody knows', { kid: 'k' }],
    ['a jkt of the wrong type', { jkt: 1 }],
  ])('RFC 7800 §3.1: cnf %s is never “no cnf”, under Bearer neither', async (_, cnf) => {
    const lines = [`Authorization: Bearer ${wire.token({ claims: { cnf } })}`];
    expectRefused(await wire.send({ lines }), 'token.confirmation');
  });

  it('RFC 6750 §2.1: a token without cnf under Bearer is refused where the route does not name bearer', async () => {
    const lines = [`Authorization: Bearer ${wire.token({ claims: { cnf: undefined } })}`];
    expectRefused(await wire.send({ lines }), 'proof.unbound_token');
  });
});

describe('RFC 9068 §4: what the record and the upstream know of a token', () => {
  it('client, subject and identifier, not the token', async () => {
    const token = wire.token({ claims: { jti: 'jti-1', sub: 'subject-1', client_id: 'client-1' } });
    const outcome = await wire.call({ token });
    expectAllowed(outcome);
    expect(outcome.summary).toMatchObject({ client: 'client-1', subject: 'subject-1', token: { jti: 'jti-1' } });
    const sent = Object.fromEntries(outcome.upstream[0]?.headers ?? []);
    expect(sent).toMatchObject({ 'Sallyport-Client': 'client-1', 'Sallyport-Subject': 'subject-1' });
  });

  it('claims that would break a header or a log line do not', async () => {
    const sub = 'a\r\nX-Evil: 1\n\u001b[2J"';
    const outcome = await wire.call({ token: wire.token({ claims: { sub } }) });
    expectAllowed(outcome);
    expect(outcome.upstream[0]?.head).not.toMatch(/^X-Evil/m);
    expect(outcome.summary['subject']).toContain('X-Evil');
  });

  it('one whole item of authorization_details covers; another path of the same token does not', async () => {
    const token = wire.token({ claims: { authorization_details: [DETAIL] } });
    expectAllowed(await wire.call({ token, path: PATH }));
    expectRefused(await wire.call({ token, path: '/v1/projects/p2' }), UNCOVERED);
  });
});
