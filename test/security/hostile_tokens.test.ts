import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { DETAIL, NOW, ORIGIN, type Outcome, PATH, RESOURCE, Wire } from '../support/wire.ts';

/** Tokens and proofs made to be misread, correctly signed, on a whole gateway. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

/** A token whose payload is this text, with `%` in place of a good one's members. */
const rawToken = (text: string) => {
  const good = JSON.stringify(wire.tokenClaims()).slice(1, -1);
  return wire.signToken(
    wire.tokenHeader(),
    text.replace('%', () => good),
  );
};
const sendToken = (token: string) => wire.send({ lines: wire.lines(token) });
const withClaims = (claims: Record<string, unknown>) => sendToken(wire.token({ claims }));

describe('cases “Token”: JSON that could be read in two ways', () => {
  it.each<[string, string]>([
    ['aud twice, the good one first', '{%,"aud":"https://other.example.com"}'],
    ['aud twice, the good one last', `{"aud":"https://other.example.com",%}`],
    ['exp twice', '{"exp":9999999999,%}'],
    ['cnf twice, one of them empty', '{"cnf":{},%}'],
    ['scope twice', '{"scope":"projects:admin",%}'],
    ['a name that an escape makes equal', '{"\\u0061ud":"https://other.example.com",%}'],
    ['a repeated name in a nested object', '{"x":{"a":1,"\\u0061":2},%}'],
    ['a repeated name of the prototype', '{"__proto__":1,"__proto__":2,%}'],
    ['a comment', '{/* */%}'],
    ['a trailing comma', '{%,}'],
    ['single quotes', "{'x':1,%}"],
    ['a number with a leading zero', '{"x":01,%}'],
    ['a number with a plus', '{"x":+1,%}'],
    ['hexadecimal', '{"x":0x10,%}'],
    ['NaN', '{"x":NaN,%}'],
    ['Infinity', '{"x":-Infinity,%}'],
    ['1e400', '{"x":1e400,%}'],
    ['a lone surrogate', '{"x":"\\ud800",%}'],
    ['a lone surrogate as a name', '{"\\udfff":1,%}'],
    ['two documents', '{%}{%}'],
    ['an array around it', '[{%}]'],
    ['a raw control character', '{"x":"\u0001",%}'],
    ['a vertical tab as white space', '{\u000b%}'],
    ['a no-break space as white space', '{\u00a0%}'],
    ['a byte order mark', '\ufeff{%}'],
    ['33 levels', `{"x":${'['.repeat(33)}${']'.repeat(33)},%}`],
  ])('cases “Token”: %s', async (_, text) => {
    expectRefused(await sendToken(rawToken(text)), 'token.malformed');
  });
});

describe('cases “Token”: values at the edge', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['exp in milliseconds', { exp: NOW * 1000 }, 'token.claims'],
    ['exp as a text', { exp: String(NOW + 300) }, 'token.claims'],
    ['exp negative', { exp: -1 }, 'token.claims'],
    ['exp now', { exp: NOW }, 'token.expired'],
    ['exp in an array', { exp: [NOW + 300] }, 'token.claims'],
    ['iat ahead by an hour', { iat: NOW + 3600 }, 'token.not_yet_valid'],
    ['nbf ahead', { nbf: NOW + 60 }, 'token.not_yet_valid'],
    ['nbf null', { nbf: null }, 'token.claims'],
    ['iss with a slash', { iss: 'https://as.example.com/' }, 'token.issuer_unknown'],
    ['iss in upper case', { iss: 'HTTPS://AS.EXAMPLE.COM' }, 'token.issuer_unknown'],
    ['iss with a port', { iss: 'https://as.example.com:443' }, 'token.issuer_unknown'],
    ['iss with a fragment', { iss: 'https://as.example.com#' }, 'token.issuer_unknown'],
    ['iss __proto__', { iss: '__proto__' }, 'token.issuer_unknown'],
    ['client_id with a line break', { client_id: 'wf\r\nX: y' }, 'token.claims'],
    ['client_id above ASCII', { client_id: 'wf-\u00e9' }, 'token.claims'],
    ['client_id of 10 kB', { client_id: 'x'.repeat(10_000) }, 'token.claims'],
    ['scope as an array', { scope: ['projects:read'] }, 'token.claims'],
    ['scope with a quote', { scope: 'projects:read "x"' }, 'token.claims'],
    ['scope with a tab', { scope: 'projects:read\tbuilds:read' }, 'token.claims'],
    ['scope in another case', { scope: 'Projects:Read' }, 'policy.insufficient_scope'],
    ['scope with a wildcard', { scope: 'projects:* *' }, 'policy.insufficient_scope'],
    ['jti as a number', { jti: 7 }, 'token.claims'],
    ['job as a text', { job: 'github' }, 'token.claims'],
  ])('cases “Token”: %s', async (_, claims, reason) => expectRefused(await withClaims(claims), reason));

  it.each<[string, unknown]>([
    ['jkt with padding', () => ({ jkt: `${wire.jobKey.thumbprint}=` })],
    ['jkt with a line break', () => ({ jkt: `${wire.jobKey.thumbprint}\n` })],
    ['jkt in an array', () => ({ jkt: [wire.jobKey.thumbprint] })],
    ['jkt beside a kid', () => ({ jkt: wire.jobKey.thumbprint, kid: 'x' })],
    ['jkt beside a jwk', () => ({ jkt: wire.jobKey.thumbprint, jwk: wire.jobKey.publicJwk })],
    ['the jwk itself', () => ({ jwk: wire.jobKey.publicJwk })],
    ['jku', () => ({ jku: 'https://evil.example/jwks' })],
    ['JKT', () => ({ JKT: wire.jobKey.thumbprint })],
    ['jkt empty', () => ({ jkt: '' })],
    ['jkt beside a null x5t', () => ({ jkt: wire.jobKey.thumbprint, 'x5t#S256': null })],
    ['x5t of SHA-1', () => ({ 'x5t#S1': 'AAAAAAAAAAAAAAAAAAAAAAAAAAA' })],
    ['x5t#s256 in lower case', () => ({ 'x5t#s256': wire.jobKey.thumbprint })],
    ['an array of confirmations', () => [{ jkt: wire.jobKey.thumbprint }]],
    ['a text', () => wire.jobKey.thumbprint],
    ['false', () => false],
  ])('cases “cnf”: %s is not understood, under DPoP and under Bearer', async (_, make) => {
    const token = wire.token({ claims: { cnf: (make as () => unknown)() } });
    expectRefused(await sendToken(token), 'token.confirmation');
    expectRefused(await wire.send({ lines: [`Authorization: Bearer ${token}`] }), 'token.confirmation');
  });

  it('cases “cnf”: a key and a certificate that is not there', async () => {
    const cnf = { jkt: wire.jobKey.thumbprint, 'x5t#S256': wire.jobKey.thumbprint };
    expectRefused(await withClaims({ cnf }), 'proof.certificate_missing');
  });
});

describe('cases “Proof”: values at the edge', () => {
  const prove = (claims: Record<string, unknown>, header: Record<string, unknown> = {}) =>
    wire.call({ claims, header });

  it.each([
    'https://cloud.example.com:443@evil.example/v1/projects/p1',
    'https://cloud.example.com.evil.example/v1/projects/p1',
    'https://evil.example/https://cloud.example.com/v1/projects/p1',
    'https://cloud.example.com:0443/v1/projects/p1',
    'https://cloud.example.com:443 /v1/projects/p1',
    'https://cloud.example.com./v1/projects/p1',
    'https://cloud.example.com\\v1/projects/p1',
    'https:\\\\cloud.example.com/v1/projects/p1',
    'https:cloud.example.com/v1/projects/p1',
    '//cloud.example.com/v1/projects/p1',
    '/v1/projects/p1',
    'HTTPS//cloud.example.com/v1/projects/p1',
    'wss://cloud.example.com/v1/projects/p1',
    'http://cloud.example.com/v1/projects/p1',
    'http://cloud.example.com:443/v1/projects/p1',
    `${ORIGIN}/v1/projects/p1/`,
    `${ORIGIN}/v1/projects/./p1`,
    `${ORIGIN}/v1/projects/x/../p1`,
    `${ORIGIN}/v1//projects/p1`,
    `${ORIGIN}/v1/projects%2Fp1`,
    `${ORIGIN}/v1/projects/p1%00`,
    `${ORIGIN}/v1/projects/p1;x`,
    `${ORIGIN}/v1/projects/p1%20`,
    `${ORIGIN}/V1/projects/p1`,
    `${ORIGIN}/v1/projects/p10`,
    ` ${ORIGIN}${PATH}`,
    `${ORIGIN}${PATH}\n`,
    `${ORIGIN}/v1/projects/\u0440\u0031`,
    `https://cloud.ex\u0430mple.com${PATH}`,
    `https://user:pass@cloud.example.com${PATH}`,
    `https://[::1]${PATH}`,
    `https://cloud%2eexample.com.${PATH}`,
    'x'.repeat(3000),
  ])('cases “Proof”: htu %j names another URI', async (htu) => {
    const outcome = await prove({ htu });
    expectRefused(outcome, 'proof.target');
    expect(outcome.problem).toMatchObject({ expected: { htu: ORIGIN + PATH } });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['htm with a space', { htm: 'GET ' }, 'proof.method'],
    ['htm with a NUL', { htm: 'GET\u0000' }, 'proof.method'],
    ['htm with letters that only look like it', { htm: 'G\u0415T' }, 'proof.method'],
    ['htm a list', { htm: 'GET, POST' }, 'proof.method'],
    ['htm an array', { htm: ['GET'] }, 'proof.claims'],
    ['htm *', { htm: '*' }, 'proof.method'],
    ['iat in milliseconds', { iat: NOW * 1000 }, 'proof.issued_in_future'],
    ['iat 1e308', { iat: 1e308 }, 'proof.issued_in_future'],
    ['iat negative', { iat: -NOW }, 'proof.too_old'],
    ['iat zero', { iat: 0 }, 'proof.too_old'],
    ['iat as a text', { iat: String(NOW) }, 'proof.claims'],
    ['iat true', { iat: true }, 'proof.claims'],
    ['exp in the past', { exp: NOW - 1 }, 'proof.expired'],
    ['exp null', { exp: null }, 'proof.claims'],
    ['nbf ahead', { nbf: NOW + 60 }, 'proof.not_yet_valid'],
    ['jti of 257 bytes', { jti: '\u00e9'.repeat(129) }, 'proof.claims'],
    ['jti an object', { jti: { toString: 'x' } }, 'proof.claims'],
    ['ath with padding', { ath: `${'A'.repeat(43)}=` }, 'proof.token_hash'],
    ['ath in hexadecimal', { ath: 'a'.repeat(64) }, 'proof.token_hash'],
    ['ath empty', { ath: '' }, 'proof.claims'],
    ['nonce an array', { nonce: ['x'] }, 'proof.claims'],
  ])('cases “Proof”: %s', async (_, claims, reason) => expectRefused(await prove(claims), reason));

  it.each<[string, Record<string, unknown>, string]>([
    ['alg in lower case', { alg: 'es256' }, 'proof.algorithm'],
    ['alg in an array', { alg: ['ES256'] }, 'proof.algorithm'],
    ['alg with a space', { alg: 'ES256 ' }, 'proof.algorithm'],
    ['alg of a prototype', { alg: 'constructor' }, 'proof.algorithm'],
    ['alg ES256K', { alg: 'ES256K' }, 'proof.algorithm'],
    ['typ with a parameter', { typ: 'dpop+jwt; charset=utf-8' }, 'proof.type'],
    ['typ with a space', { typ: ' dpop+jwt' }, 'proof.type'],
    ['typ with a look-alike', { typ: 'dpop+jw\u0442' }, 'proof.type'],
    ['typ application/application/dpop+jwt', { typ: 'application/application/dpop+jwt' }, 'proof.type'],
    ['crit empty', { crit: [] }, 'proof.critical_header'],
    ['crit with typ', { crit: ['typ'] }, 'proof.critical_header'],
    ['crit null', { crit: null }, 'proof.critical_header'],
    ['b64 true', { b64: true }, 'proof.critical_header'],
    ['b64 null', { b64: null }, 'proof.critical_header'],
    ['jwk as a text', { jwk: '{}' }, 'proof.key'],
    ['jwk in an array', { jwk: [{}] }, 'proof.key'],
    ['jwk null and a kid', { jwk: null, kid: 'x' }, 'proof.key'],
    ['jku for jwk', { jwk: undefined, jku: 'https://evil.example/jwks' }, 'proof.key'],
  ])('cases “Proof”: header with %s', async (_, header, reason) => expectRefused(await prove({}, header), reason));

  it.each<[string, Record<string, unknown>]>([
    ['d null', { d: null }],
    ['d empty', { d: '' }],
    ['k', { k: 'AA' }],
    ['oth', { oth: [] }],
    ['use enc', { use: 'enc' }],
    ['key_ops sign', { key_ops: ['sign'] }],
    ['key_ops as a text', { key_ops: 'verify' }],
    ['alg of another', { alg: 'ES384' }],
    ['crv of another', { crv: 'P-384' }],
    ['crv secp256k1', { crv: 'secp256k1' }],
    ['kty in lower case', { kty: 'ec' }],
    ['kty RSA', { kty: 'RSA' }],
    ['x with padding', { x: `${'A'.repeat(43)}=` }],
    ['x too short', { x: 'AA' }],
    ['x and y zero', { x: 'A'.repeat(43), y: 'A'.repeat(43) }],
    ['y missing', { y: undefined }],
    ['x as a number', { x: 1 }],
  ])('cases “Proof”: jwk with %s', async (_, members) => {
    expectRefused(await prove({}, { jwk: { ...wire.jobKey.publicJwk, ...members } }), 'proof.key');
  });

  it('RFC 9449 §11.1: the holder of the key is told which proof was used before', async () => {
    const token = wire.token();
    const lines = wire.lines(token, wire.proof(token, { claims: { jti: 'seen-before' } }));
    expectAllowed(await wire.send({ lines }));
    const again = await wire.send({ lines });
    expectRefused(again, 'proof.replayed');
    expect(again.problem).toMatchObject({ seen: { jti: 'seen-before', iat: NOW } });
  });
});

describe('cases “RAR”: details made to be misread', () => {
  const ask = (details: unknown): Promise<Outcome> => withClaims({ authorization_details: details });

  it.each<[string, unknown]>([
    ['a type of the prototype', [{ ...DETAIL, type: 'constructor' }]],
    ['a type with a NUL', [{ ...DETAIL, type: 'cloud_api\u0000' }]],
    ['a type with a space', [{ ...DETAIL, type: 'cloud_api ' }]],
    ['actions nested', [{ ...DETAIL, actions: [['projects.get']] }]],
    ['actions with a look-alike', [{ ...DETAIL, actions: ['project\u0455.get'] }]],
    ['actions in a text with commas', [{ ...DETAIL, actions: ['projects.list,projects.get'] }]],
    ['an identifier with a slash before it', [{ ...DETAIL, identifier: '/projects/p1' }]],
    ['an identifier with a wildcard', [{ ...DETAIL, identifier: 'projects/**' }]],
    ['an identifier that is a pattern', [{ ...DETAIL, identifier: '.*' }]],
    ['an identifier with dots', [{ ...DETAIL, identifier: 'projects/p2/../p1' }]],
    ['an identifier in upper case', [{ ...DETAIL, identifier: 'PROJECTS/P1' }]],
    ['a location with user information', [{ ...DETAIL, locations: [RESOURCE.replace('//', '//x@')] }]],
    ['a location with a query', [{ ...DETAIL, locations: [`${RESOURCE}?x`] }]],
    ['a location with dots', [{ ...DETAIL, locations: [`${ORIGIN}/v2/../v1`] }]],
    ['a location of a longer host', [{ ...DETAIL, locations: ['https://cloud.example.com.evil.example/v1'] }]],
    ['a location that begins the same', [{ ...DETAIL, locations: [`${ORIGIN}/v`] }]],
    ['a member of another case', [{ ...DETAIL, Actions: ['*'] }]],
    ['rights below another member', [{ type: 'cloud_api', details: DETAIL }]],
    ['an item whose members are inherited', [{ type: 'cloud_api', __proto__x: DETAIL }]],
  ])('cases “RAR”: %s grants nothing', async (_, details) => {
    expectRefused(await ask(details), 'policy.insufficient_authorization_details');
  });
});
