import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jwkThumbprint } from '../../src/oauth/thumbprint.ts';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { makeKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { NOW, ORIGIN, type Outcome, PATH, Wire } from '../support/wire.ts';
import { FUZZ_TIMEOUT, fuzzed } from './fuzzing.ts';

/** What is unusual and right passes; what is as unusual and wrong does not: over every transport. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

const encode = (part: string | Buffer) => Buffer.from(part).toString('base64url');
type Members = Record<string, unknown>;

/** A request whose proof has these texts as header and payload, signed as they are. */
async function withTexts(spell: (header: string, payload: string) => readonly [string, string]): Promise<Outcome> {
  const token = wire.token();
  const texts = spell(JSON.stringify(wire.proofHeader()), JSON.stringify(wire.proofClaims(token)));
  return wire.send({ lines: wire.lines(token, signJws(...texts, wire.jobKey)) });
}

/** The same text with every member name and every text spelled in escapes. */
const escaped = (json: string) =>
  json.replace(
    /"((?:[^"\\]|\\.)*)"/g,
    (_, text: string) =>
      `"${(JSON.parse(`"${text}"`) as string)
        .split('')
        .map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)
        .join('')}"`,
  );

describe('RFC 8259: one meaning, however it is spelled', () => {
  it.each<[string, (header: string, payload: string) => readonly [string, string]]>([
    ['names and texts in escapes', (header, payload) => [escaped(header), escaped(payload)]],
    [
      'white space everywhere',
      (header, payload) => [header.replace(/([{}:,])/g, ' \t\r\n$1 \n'), payload.replace(/([{},])/g, '\n$1\r')],
    ],
    ['members in another order', (header, payload) => [reversed(header), reversed(payload)]],
    ['escaped slashes', (header, payload) => [header, payload.replaceAll('/', '\\/')]],
    ['iat with an exponent', (header, payload) => [header, payload.replace(/"iat":\d+/, `"iat":${NOW / 1000}E3`)]],
    ['iat with a negative exponent', (header, payload) => [header, payload.replace(/"iat":\d+/, `"iat":${NOW}000e-3`)]],
    ['iat with a fraction of nothing', (header, payload) => [header, payload.replace(/"iat":\d+/, `"iat":${NOW}.000`)]],
    ['iat between two seconds', (header, payload) => [header, payload.replace(/"iat":\d+/, `"iat":${NOW - 1}.75`)]],
    [
      'further members with any values',
      (header, payload) => [
        header.replace('{', '{"x":null,"cty":"","kid":{"a":[1]},"zip":"DEF","x5t":7,"enc":"A128GCM",'),
        payload.replace('{', '{"sub":null,"aud":[],"cnf":{},"iss":0,"jwk":1,"act":{"act":{}},'),
      ],
    ],
  ])('RFC 8259 §7: takes a proof with %s', async (_, spell) => expectAllowed(await withTexts(spell)));

  it.each<[string, (header: string, payload: string) => readonly [string, string], string]>([
    ['iat -0', (header, payload) => [header, payload.replace(/"iat":\d+/, '"iat":-0')], 'proof.too_old'],
    ['iat -1', (header, payload) => [header, payload.replace(/"iat":\d+/, '"iat":-1')], 'proof.too_old'],
    [
      'iat in milliseconds',
      (header, payload) => [header, payload.replace(/"iat":\d+/, `"iat":${NOW}000`)],
      'proof.issued_in_future',
    ],
    [
      'iat of 10^308',
      (header, payload) => [header, payload.replace(/"iat":\d+/, '"iat":1e308')],
      'proof.issued_in_future',
    ],
    ['iat of 10^-308', (header, payload) => [header, payload.replace(/"iat":\d+/, '"iat":1e-308')], 'proof.too_old'],
    [
      'iat of 400 digits',
      (header, payload) => [header, payload.replace(/"iat":\d+/, `"iat":${'9'.repeat(400)}`)],
      'proof.malformed',
    ],
    ['iat in a text', (header, payload) => [header, payload.replace(/"iat":(\d+)/, '"iat":"$1"')], 'proof.claims'],
    [
      'a member of the key twice',
      (header, payload) => [header.replace('"jwk":{', '"jwk":{"kty":"EC",'), payload],
      'proof.malformed',
    ],
    [
      'a member of the key twice, once in escapes',
      (header, payload) => [header.replace('"jwk":{', '"jwk":{"\\u0078":"AA",'), payload],
      'proof.malformed',
    ],
    ['two keys', (header, payload) => [header.replace('{', '{"jwk":{"kty":"EC"},'), payload], 'proof.malformed'],
    ['htm twice, equal', (header, payload) => [header, payload.replace('{', '{"htm":"GET",')], 'proof.malformed'],
    [
      'htu twice, the right one last',
      (header, payload) => [header, payload.replace('{', '{"htu":"https://evil.example",')],
      'proof.malformed',
    ],
    ['ath twice', (header, payload) => [header, payload.replace('{', '{"ath":"x",')], 'proof.malformed'],
    ['typ in an array', (header, payload) => [header.replace('"dpop+jwt"', '["dpop+jwt"]'), payload], 'proof.type'],
    ['alg in an array', (header, payload) => [header.replace('"ES256"', '["ES256"]'), payload], 'proof.algorithm'],
    [
      'the key in an array',
      (header, payload) => [header.replace(/"jwk":(\{[^}]*\})/, '"jwk":[$1]'), payload],
      'proof.key',
    ],
    [
      'the key as a text',
      (header, payload) => [
        header.replace(/"jwk":(\{[^}]*\})/, (_, jwk: string) => `"jwk":${JSON.stringify(jwk)}`),
        payload,
      ],
      'proof.key',
    ],
    ['crit empty', (header, payload) => [header.replace('{', '{"crit":[],'), payload], 'proof.critical_header'],
    ['crit null', (header, payload) => [header.replace('{', '{"crit":null,'), payload], 'proof.critical_header'],
    ['b64 true', (header, payload) => [header.replace('{', '{"b64":true,'), payload], 'proof.critical_header'],
  ])('RFC 9449 §4.3: refuses a proof with %s', async (_, spell, reason) =>
    expectRefused(await withTexts(spell), reason),
  );
});

function reversed(json: string): string {
  return JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(json) as Members).reverse()));
}

describe('RFC 9449 §4.3 check 7, RFC 7517 §4: the key in the header', () => {
  const withJwk = async (change: (jwk: Members) => unknown) => {
    const token = wire.token();
    const header = { jwk: change({ ...wire.jobKey.publicJwk }) };
    return wire.send({ lines: wire.lines(token, wire.proof(token, { header })) });
  };

  it.each<[string, Members]>([
    ['kid, and a use and operations that fit', { kid: 'k', use: 'sig', key_ops: ['verify'] }],
    ['its algorithm', { alg: 'ES256' }],
    ['what Web Crypto writes', { ext: true, key_ops: ['verify'] }],
    ['more operations', { key_ops: ['sign', 'verify'] }],
    [
      'names of its own',
      { D: 'x', private: 'x', 'https://example.com/x': {}, x5c: ['AA'], x5t: 'AA', x5u: 'http://127.0.0.1:9/' },
    ],
  ])('RFC 7517 §4: takes one with %s', async (_, more) => expectAllowed(await withJwk((jwk) => ({ ...jwk, ...more }))));

  it.each<[string, (jwk: Members) => unknown]>([
    ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].flatMap((name): [string, (jwk: Members) => unknown][] => [
      [`${name}`, (jwk) => ({ ...jwk, [name]: 'AA' })],
      [`${name} null`, (jwk) => ({ ...jwk, [name]: null })],
      [`${name} empty`, (jwk) => ({ ...jwk, [name]: '' })],
    ]),
    ['use enc', (jwk) => ({ ...jwk, use: 'enc' })],
    ['use in an array', (jwk) => ({ ...jwk, use: ['sig'] })],
    ['operations without verify', (jwk) => ({ ...jwk, key_ops: ['sign'] })],
    ['operations as a text', (jwk) => ({ ...jwk, key_ops: 'verify' })],
    ['no operations', (jwk) => ({ ...jwk, key_ops: [] })],
    ['another algorithm', (jwk) => ({ ...jwk, alg: 'ES384' })],
    ['the algorithm in lower case', (jwk) => ({ ...jwk, alg: 'es256' })],
    ['kty in lower case', (jwk) => ({ ...jwk, kty: 'ec' })],
    ['kty RSA', (jwk) => ({ ...jwk, kty: 'RSA' })],
    ['kty oct', (jwk) => ({ ...jwk, kty: 'oct' })],
    ['crv in lower case', (jwk) => ({ ...jwk, crv: 'p-256' })],
    ['crv P-384', (jwk) => ({ ...jwk, crv: 'P-384' })],
    ['crv secp256k1', (jwk) => ({ ...jwk, crv: 'secp256k1' })],
    ['crv prime256v1', (jwk) => ({ ...jwk, crv: 'prime256v1' })],
    ['x missing', ({ x: _, ...jwk }) => jwk],
    ['y missing', ({ y: _, ...jwk }) => jwk],
    ['y null', (jwk) => ({ ...jwk, y: null })],
    ['y compressed to a bit', (jwk) => ({ ...jwk, y: true })],
    ['x one byte short', (jwk) => ({ ...jwk, x: encode(Buffer.from(String(jwk['x']), 'base64url').subarray(1)) })],
    [
      'x with a zero before it',
      (jwk) => ({ ...jwk, x: encode(Buffer.concat([Buffer.of(0), Buffer.from(String(jwk['x']), 'base64url')])) }),
    ],
    ['x with padding', (jwk) => ({ ...jwk, x: `${jwk['x']}=` })],
    ['x in the standard alphabet', (jwk) => ({ ...jwk, x: `+/${String(jwk['x']).slice(2)}` })],
    [
      'x with bits that no byte is made of',
      (jwk) => ({ ...jwk, x: `${String(jwk['x']).slice(0, -1)}${String(jwk['x']).endsWith('B') ? 'C' : 'B'}` }),
    ],
    ['x in hexadecimal', (jwk) => ({ ...jwk, x: Buffer.from(String(jwk['x']), 'base64url').toString('hex') })],
    ['x as a number', (jwk) => ({ ...jwk, x: 7 })],
    ['x of 100 kB', (jwk) => ({ ...jwk, x: 'A'.repeat(5000) })],
    ['x and y exchanged', (jwk) => ({ ...jwk, x: jwk['y'], y: jwk['x'] })],
    ['a point that is not on the curve', (jwk) => ({ ...jwk, y: jwk['x'] })],
    ['the point at infinity', (jwk) => ({ ...jwk, x: encode(Buffer.alloc(32)), y: encode(Buffer.alloc(32)) })],
    [
      'x as large as the field',
      (jwk) => ({ ...jwk, x: encode(Buffer.from(`ffffffff00000001${'0'.repeat(24)}${'f'.repeat(24)}`, 'hex')) }),
    ],
    ['null', () => null],
    ['a certificate instead', () => ({ x5c: ['MIIB'] })],
    ['a set of keys', (jwk) => ({ keys: [jwk] })],
  ])('RFC 9449 §4.3 check 7: refuses one with %s', async (_, change) =>
    expectRefused(await withJwk(change), 'proof.key'),
  );

  it('RFC 7518 §6.2.1.2: takes coordinates that begin with zeros, whole', async () => {
    let key = await makeKey();
    while (
      !String((key.publicJwk as { x: string }).x).startsWith('AA') &&
      !/^A[A-P]/.test((key.publicJwk as { x: string }).x)
    )
      key = await makeKey();
    const token = wire.token({ claims: { cnf: { jkt: key.thumbprint } } });
    expectAllowed(await wire.call({ token, key }));
  });
});

describe('RFC 7518 §6.3, RFC 8017: RSA keys in the header', () => {
  const rsa = (bits: number, exponent: number) =>
    generateKeyPairSync('rsa', { modulusLength: bits, publicExponent: exponent });
  const send = (privateKey: KeyObject, jwk: Members) => {
    const jkt = jwkThumbprint(jwk as never);
    const token = wire.token({ claims: { cnf: { jkt } } });
    const input = `${encode(JSON.stringify({ typ: 'dpop+jwt', alg: 'PS256', jwk }))}.${encode(JSON.stringify(wire.proofClaims(token)))}`;
    return wire.send({
      lines: wire.lines(token, `${input}.${encode(signPss(input, privateKey))}`),
    });
  };
  const signPss = (input: string, key: KeyObject) =>
    sign('sha256', Buffer.from(input), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
  const publicJwk = ({ publicKey }: { publicKey: KeyObject }) => publicKey.export({ format: 'jwk' }) as Members;

  let pair: { publicKey: KeyObject; privateKey: KeyObject };
  beforeAll(() => {
    pair = rsa(2048, 65_537);
  });

  it.each([
    [2048, 3],
    [2056, 17],
    [4096, 65_537],
  ])('RFC 7518 §3.3: takes one of %d bits with the exponent %d', async (bits, exponent) => {
    const own = rsa(bits, exponent);
    expectAllowed(await send(own.privateKey, publicJwk(own)));
  });

  it.each([8, 512, 1024, 2040, 2047, 4097, 4104, 8192])('RFC 7518 §3.3: refuses one of %d bits', async (bits) => {
    const modulus = Buffer.from(
      (2n ** BigInt(bits - 1) + 1n).toString(16).padStart(Math.ceil(bits / 8) * 2, '0'),
      'hex',
    );
    expectRefused(await send(pair.privateKey, { ...publicJwk(pair), n: encode(modulus) }), 'proof.key');
  });

  it.each<[string, (jwk: Members, modulus: Buffer) => Members]>([
    ['the exponent 1', (jwk) => ({ ...jwk, e: 'AQ' })],
    ['the exponent 0', (jwk) => ({ ...jwk, e: 'AA' })],
    ['an even exponent', (jwk) => ({ ...jwk, e: 'AQAA' })],
    ['an exponent with a zero before it', (jwk) => ({ ...jwk, e: 'AAEAAQ' })],
    ['an exponent of five bytes', (jwk) => ({ ...jwk, e: encode(Buffer.of(1, 0, 0, 0, 1)) })],
    ['an exponent as long as the modulus', (jwk) => ({ ...jwk, e: jwk['n'] })],
    ['no exponent', ({ e: _, ...jwk }) => jwk],
    ['an exponent as a number', (jwk) => ({ ...jwk, e: 65_537 })],
    [
      'a modulus with a zero before it',
      (jwk, modulus) => ({ ...jwk, n: encode(Buffer.concat([Buffer.of(0), modulus])) }),
    ],
    [
      'an even modulus',
      (jwk, modulus) => ({ ...jwk, n: encode(Buffer.concat([modulus.subarray(0, -1), Buffer.of(2)])) }),
    ],
    ['a modulus of 16,384 bits', (jwk) => ({ ...jwk, n: encode(Buffer.alloc(2048, 255)) })],
    ['a modulus with padding', (jwk) => ({ ...jwk, n: `${jwk['n']}==` })],
    ['no modulus', ({ n: _, ...jwk }) => jwk],
  ])('RFC 7518 §6.3.1: refuses one with %s', async (_, change) => {
    const jwk = publicJwk(pair);
    expectRefused(await send(pair.privateKey, change(jwk, Buffer.from(String(jwk['n']), 'base64url'))), 'proof.key');
  });
});

describe('RFC 8032 §5.1.3, §8.9: Ed25519 keys in the header', () => {
  const P = 2n ** 255n - 19n;
  const ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
  const point = (y: bigint, negative: boolean) => {
    const bytes = Buffer.from((y + (negative ? 2n ** 255n : 0n)).toString(16).padStart(64, '0'), 'hex').reverse();
    return bytes.toString('base64url');
  };
  const small = [0n, 1n, P - 1n, ORDER_8, P - ORDER_8];
  const twins = [0n, 1n, 2n, 9n, 18n].map((n) => P + n);

  it.each(
    [...small, ...twins].flatMap((y) =>
      [false, true].map((negative): [string, string] => [`${y}`, point(y, negative)]),
    ),
  )('RFC 8032 §8.9: refuses y = %s, a key of small order or a second spelling', async (_, x) => {
    const jwk = { kty: 'OKP', crv: 'Ed25519', x } as const;
    const token = wire.token({ claims: { cnf: { jkt: jwkThumbprint(jwk) } } });
    const input = `${encode(JSON.stringify({ typ: 'dpop+jwt', alg: 'EdDSA', jwk }))}.${encode(JSON.stringify(wire.proofClaims(token)))}`;
    // R is the base point and S is 1: good for the neutral element, where nobody looks.
    const signature = Buffer.concat([Buffer.from(`58${'66'.repeat(31)}`, 'hex'), Buffer.of(1), Buffer.alloc(31)]);
    expectRefused(await wire.send({ lines: wire.lines(token, `${input}.${encode(signature)}`) }), 'proof.key');
  });

  it.each(['EdDSA', 'Ed25519'])('RFC 9864 §2.2: takes an ordinary one as %s', async (alg) => {
    const key = await makeKey('EdDSA');
    const token = wire.token({ claims: { cnf: { jkt: key.thumbprint } } });
    expectAllowed(await wire.call({ token, key, header: { alg } }));
  });
});

describe('RFC 8725 §3.11, §3.12: every other JWT that the issuer signs is no access token', () => {
  it.each<[string, Members, Members]>([
    ['an ID token', { typ: 'JWT' }, { nonce: 'n', at_hash: 'AA', azp: 'wf-4711' }],
    ['an ID token without typ', { typ: undefined }, { nonce: 'n' }],
    [
      'a logout token',
      { typ: 'logout+jwt' },
      { events: { 'http://schemas.openid.net/event/backchannel-logout': {} }, sid: 's' },
    ],
    ['a security event', { typ: 'secevent+jwt' }, { events: {} }],
    ['an answer to an introspection', { typ: 'token-introspection+jwt' }, { token_introspection: { active: true } }],
    ['a status list', { typ: 'statuslist+jwt' }, { status_list: { bits: 1, lst: 'eNoDAAAAAAE' } }],
    ['a request object', { typ: 'oauth-authz-req+jwt' }, { response_type: 'code' }],
    ['a client assertion', { typ: 'client-authentication+jwt' }, {}],
    ['an authorization grant', { typ: 'authorization-grant+jwt' }, {}],
    ['a logout token that says it is a JWT', { typ: 'application/jwt' }, { events: {} }],
    ['protected resource metadata', { typ: 'resource-metadata+jwt' }, { resource: 'x' }],
    ['a proof', { typ: 'dpop+jwt' }, { htm: 'GET', htu: ORIGIN + PATH }],
    ['a refresh token', { typ: 'rt+jwt' }, {}],
    ['a token for a transaction', { typ: 'txntoken+jwt' }, {}],
    ['a key binding', { typ: 'kb+jwt' }, {}],
  ])('RFC 8725 §3.11: %s', async (_, header, claims) => {
    expectRefused(await wire.call({ token: wire.token({ header, claims }) }), 'token.type');
  });
});

describe('RFC 6750 §2.1, RFC 9110: spellings of the two fields', () => {
  it.each<[string, (token: string, proof: string) => string[]]>([
    ['the scheme in upper case', (token, proof) => [`Authorization: DPOP ${token}`, `DPoP: ${proof}`]],
    ['the scheme in lower case', (token, proof) => [`Authorization: dpop ${token}`, `DPoP: ${proof}`]],
    ['several spaces', (token, proof) => [`Authorization: DPoP    ${token}`, `DPoP: ${proof}`]],
    ['white space around the values', (token, proof) => [`Authorization:\t DPoP ${token}\t `, `DPoP:  \t${proof}  `]],
    ['the names in upper case', (token, proof) => [`AUTHORIZATION: DPoP ${token}`, `DPOP: ${proof}`]],
    ['the proof first', (token, proof) => [`DPoP: ${proof}`, `Authorization: DPoP ${token}`]],
    [
      'a cookie and a body token elsewhere',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, 'Cookie: access_token=x', 'X-DPoP: y'],
    ],
  ])('RFC 9110 §5.1, §11.1: takes %s', async (_, spell) => {
    const token = wire.token();
    expectAllowed(await wire.send({ lines: spell(token, wire.proof(token)) }));
  });

  it.each<[string, (token: string, proof: string) => string[], string]>([
    [
      'a tab after the scheme',
      (token, proof) => [`Authorization: DPoP\t${token}`, `DPoP: ${proof}`],
      'request.credentials_malformed',
    ],
    [
      'a tab before the token',
      (token, proof) => [`Authorization: DPoP \t${token}`, `DPoP: ${proof}`],
      'request.credentials_malformed',
    ],
    [
      'a tab in the proof',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof.slice(0, 20)}\t${proof.slice(20)}`],
      'proof.malformed',
    ],
    [
      'a byte above ASCII in the proof',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof}\xa0`],
      'proof.malformed',
    ],
    [
      'a no-break space after the scheme',
      (token, proof) => [`Authorization: DPoP\xa0${token}`, `DPoP: ${proof}`],
      'request.credentials_malformed',
    ],
    [
      'two tokens',
      (token, proof) => [`Authorization: DPoP ${token} ${token}`, `DPoP: ${proof}`],
      'request.credentials_malformed',
    ],
    [
      'two tokens with a comma',
      (token, proof) => [`Authorization: DPoP ${token},${token}`, `DPoP: ${proof}`],
      'request.credentials_malformed',
    ],
    [
      'a second scheme',
      (token, proof) => [`Authorization: DPoP ${token}, Bearer ${token}`, `DPoP: ${proof}`],
      'request.credentials_malformed',
    ],
    [
      'the token of the proof’s field',
      (token, proof) => [`Authorization: DPoP ${proof}`, `DPoP: ${token}`],
      'token.type',
    ],
    [
      'a semicolon behind the proof',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof};v=1`],
      'proof.malformed',
    ],
    [
      'the proof in angle brackets',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: <${proof}>`],
      'proof.malformed',
    ],
    [
      'the proof as a byte sequence',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: :${proof}:`],
      'proof.malformed',
    ],
    ['an empty proof', (token) => [`Authorization: DPoP ${token}`, 'DPoP:'], 'proof.malformed'],
    [
      'two proofs, the second empty',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, 'DPoP:'],
      'request.proof_repeated',
    ],
    [
      'five proofs',
      (token, proof) => [`Authorization: DPoP ${token}`, ...Array.from({ length: 5 }, () => `DPoP: ${proof}`)],
      'request.proof_repeated',
    ],
    [
      'another field between two tokens',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, 'X: y', `Authorization: DPoP ${token}`],
      'request.credentials_repeated',
    ],
  ])('RFC 6750 §2.1, RFC 9449 §4.3 check 1: refuses %s', async (_, spell, reason) => {
    const token = wire.token();
    expectRefused(await wire.send({ lines: spell(token, wire.proof(token)) }), reason);
  });
});

describe('property: any spelling of a good proof passes, and one change of it does not', {
  timeout: FUZZ_TIMEOUT,
}, () => {
  const spaces = fc.array(fc.constantFrom(' ', '\t', '\n', '\r'), { maxLength: 3 }).map((all) => all.join(''));
  const spelled = (value: Members, [space, order, escapes]: readonly [string, boolean, boolean]) => {
    const members = Object.entries(value);
    const text = (each: unknown) => (escapes ? escaped(JSON.stringify(each)) : JSON.stringify(each));
    const parts = (order ? members : members.reverse()).map(
      ([name, each]) => `${space}${text(name)}${space}:${space}${text(each)}`,
    );
    return `{${parts.join(`${space},`)}${space}}`;
  };
  const spelling = fc.tuple(spaces, fc.boolean(), fc.boolean());
  const extra = fc.dictionary(
    fc.string({ minLength: 1 }).map((name) => `x-${name}`),
    fc.jsonValue({ maxDepth: 3 }),
    { maxKeys: 3 },
  );
  const jti = fc
    .string({ minLength: 1, maxLength: 80, unit: 'grapheme' })
    .filter((text) => text.isWellFormed() && Buffer.byteLength(text) <= 200);
  const htu = fc
    .tuple(
      fc.constantFrom('https', 'HTTPS', 'hTTps'),
      fc.constantFrom('cloud.example.com', 'CLOUD.Example.com', 'cloud.example.com:443', 'cloud.example.com:'),
      fc.constantFrom('', '?', '?a=b', '?htu=https://evil.example/', '#', '#f', '?a#b'),
      fc.nat(2 ** PATH.length - 1),
    )
    .map(
      ([scheme, host, rest, bits]) =>
        `${scheme}://${host}${[...PATH].map((letter, at) => (letter !== '/' && (bits >> at) & 1 ? `%${letter.charCodeAt(0).toString(16)}` : letter)).join('')}${rest}`,
    );

  it('property: the proof', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          header: spelling,
          payload: spelling,
          extra,
          more: extra,
          jti,
          htu,
          offset: fc.double({ min: -59, max: 9, noNaN: true }),
        }),
        async (way) => {
          const token = wire.token();
          const header = spelled(wire.proofHeader(way.extra), way.header);
          const claims = {
            ...wire.proofClaims(token, { claims: way.more }),
            jti: `${way.jti}${Math.random()}`,
            htu: way.htu,
            iat: NOW + way.offset,
          };
          const outcome = await wire.send({
            lines: wire.lines(token, signJws(header, spelled(claims, way.payload), wire.jobKey)),
          });
          expect([outcome.answer.status, outcome.problem?.['reason']]).toEqual([200, undefined]);
        },
      ),
      fuzzed(60),
    );
  });

  it('property: the token', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({ header: spelling, payload: spelling, extra, more: extra, sub: jti }),
        async (way) => {
          const token = wire.signToken(
            spelled(wire.tokenHeader(way.extra), way.header),
            spelled({ ...wire.tokenClaims(way.more), sub: way.sub }, way.payload),
          );
          const outcome = await wire.send({ lines: wire.lines(token) });
          expect([outcome.answer.status, outcome.problem?.['reason']]).toEqual([200, undefined]);
        },
      ),
      fuzzed(60),
    );
  });
});
