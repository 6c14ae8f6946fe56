import { createHmac, KeyObject, randomBytes, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { makeKey } from '../support/issuer.ts';
import { type JwsPart, signInput, signJws } from '../support/sign_jws.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { Wire } from '../support/wire.ts';

/**
 * RFC 7515 as it binds both JWTs of a request, the access token and the proof: one spelling only, one meaning only, a signature that is one.
 * Over the wire of a whole gateway.
 */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

/** Refuses a request whose proof is spelled otherwise. */
async function withProof(spell: (proof: string, token: string) => string, reason: string): Promise<void> {
  const token = wire.token();
  expectRefused(await wire.send({ lines: wire.lines(token, spell(wire.proof(token), token)) }), reason);
}

/** Refuses a request whose token is spelled otherwise; its proof is good for that very spelling. */
async function withToken(spell: (token: string) => string, reason: string): Promise<void> {
  const token = spell(wire.token());
  expectRefused(await wire.send({ lines: wire.lines(token) }), reason);
}

const parts = (jws: string) => jws.split('.') as [string, string, string];
const encode = (text: string | Buffer) => Buffer.from(text).toString('base64url');
const standard = (part: string) => part.replaceAll('-', '+').replaceAll('_', '/');
/** The same bytes, one of the bits that base64url does not use set (RFC 4648 §3.5). */
function slack(part: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(part.at(-1) ?? '');
  return part.slice(0, -1) + alphabet[last | 1];
}

/** How to spell a JWS that is otherwise good, and the reason when it is a token; null: the same as for a proof, that it is malformed. */
const SPELLINGS: readonly [name: string, spell: (jws: string) => string, tokenReason: string | null][] = [
  ['one part', (jws) => parts(jws)[0], null],
  ['two parts', (jws) => parts(jws).slice(0, 2).join('.'), null],
  ['four parts', (jws) => `${jws}.AAAA`, null],
  ['five parts', (jws) => `${jws}.AAAA.AAAA`, null],
  ['two parts and a dot: an empty signature', (jws) => `${parts(jws).slice(0, 2).join('.')}.`, null],
  ['an empty header', (jws) => `.${parts(jws).slice(1).join('.')}`, null],
  ['an empty payload', (jws) => `${parts(jws)[0]}..${parts(jws)[2]}`, null],
  ['dots alone', () => '..', null],
  ['a dot before', (jws) => `.${jws}`, null],
  ['a dot behind', (jws) => `${jws}.`, null],
  ['padding behind', (jws) => `${jws}==`, null],
  ['padding behind the header', (jws) => jws.replace('.', '=.'), 'request.credentials_malformed'],
  ['a space within', (jws) => jws.replace('.', '. '), 'request.credentials_malformed'],
  ['a tab within', (jws) => jws.replace('.', '.\t'), 'request.credentials_malformed'],
  ['percent-encoded dots', (jws) => jws.replaceAll('.', '%2E'), 'request.credentials_malformed'],
  ['a character outside of the alphabet in the payload', (jws) => jws.replace('.', '.~'), null],
  ['a character outside of ASCII in the payload', (jws) => jws.replace('.', '.é'), 'request.credentials_malformed'],
  ['a quotation mark', (jws) => `${jws}"`, 'request.credentials_malformed'],
  [
    'the flattened JSON serialization',
    (jws) => {
      const [protectedHeader, payload, signature] = parts(jws);
      return JSON.stringify({ payload, protected: protectedHeader, signature });
    },
    'request.credentials_malformed',
  ],
  [
    'the JSON serialization in base64url',
    (jws) => {
      const [protectedHeader, payload, signature] = parts(jws);
      return encode(JSON.stringify({ payload, signatures: [{ protected: protectedHeader, signature }] }));
    },
    null,
  ],
  ['itself in base64url', (jws) => encode(jws), null],
  ['of a length that base64url never has', (jws) => `${jws}AAA`, null],
];

describe('RFC 7515 §7.1: compact serialization and nothing else', () => {
  it.each(SPELLINGS)('RFC 7515 §7.1: refuses a proof that is %s', (_, spell) => withProof(spell, 'proof.malformed'));

  it.each(SPELLINGS)('RFC 7515 §7.1: refuses a token that is %s', (_, spell, reason) =>
    withToken(spell, reason ?? 'token.malformed'),
  );
});

/** Replaces one part of a JWS. */
const replaced = (jws: string, index: 0 | 1 | 2, part: string) => parts(jws).with(index, part).join('.');

describe('RFC 7515 §2: base64url, canonical', () => {
  it('RFC 4648 §3.5: refuses bits that no byte is made of, in the signature: another spelling of a used proof', async () => {
    const token = wire.token();
    const proof = wire.proof(token);
    const [, , signature] = parts(proof);
    expect(Buffer.from(slack(signature), 'base64url')).toEqual(Buffer.from(signature, 'base64url'));
    expectRefused(
      await wire.send({ lines: wire.lines(token, replaced(proof, 2, slack(signature))) }),
      'proof.malformed',
    );
    await withToken((jws) => replaced(jws, 2, slack(parts(jws)[2])), 'token.malformed');
  });

  it('RFC 4648 §5: refuses the standard alphabet', async () => {
    const token = wire.token();
    let proof = wire.proof(token);
    while (!/[-_]/.test(parts(proof)[2])) proof = wire.proof(token);
    expectRefused(await wire.send({ lines: wire.lines(token, standard(proof)) }), 'proof.malformed');
    let jwt = wire.token();
    while (!/[-_]/.test(parts(jwt)[2])) jwt = wire.token();
    await withToken(() => standard(jwt), 'token.malformed');
  });
});

/** JSON of a header and a payload, each as good as the given objects but for one oddity. */
type Odd = (header: Record<string, unknown>, claims: Record<string, unknown>) => readonly [JwsPart, JwsPart];

const text = (value: unknown) => JSON.stringify(value);
/** Puts JSON text before the last brace of an object. */
const grown = (value: Record<string, unknown>, members: string) => `${text(value).slice(0, -1)},${members}}`;
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

const ODDITIES: readonly [name: string, odd: Odd][] = [
  ['a member of the header twice', (header, claims) => [grown(header, '"typ":"dpop+jwt"'), claims]],
  ['a member of the header twice, once escaped', (header, claims) => [grown(header, '"\\u0061lg":"none"'), claims]],
  ['a claim twice', (header, claims) => [header, grown(claims, '"jti":"other"')]],
  ['a claim twice, once escaped', (header, claims) => [header, grown(claims, '"\\u006ati":"other"')]],
  ['a member twice in an object of a claim', (header, claims) => [header, grown(claims, '"x":{"a":1,"a":2}')]],
  ['a byte order mark before the header', (header, claims) => [`\ufeff${text(header)}`, claims]],
  ['a byte order mark before the payload', (header, claims) => [header, `\ufeff${text(claims)}`]],
  ['no JSON in the header', (header, claims) => [text(header).slice(0, -1), claims]],
  ['no JSON in the payload', (header) => [header, 'jti=1']],
  ['JSON with a comma too much', (header, claims) => [header, `${text(claims).slice(0, -1)},}`]],
  ['JSON with a comment', (header, claims) => [header, `${text(claims)}//`]],
  ['JSON in single quotes', (header, claims) => [header, text(claims).replaceAll('"', "'")]],
  ['an array as header', (header, claims) => [text([header]), claims]],
  ['an array as payload', (header, claims) => [header, text([claims])]],
  ['null as payload', (header) => [header, 'null']],
  ['a number as payload', (header) => [header, '17']],
  ['a text as payload', (header, claims) => [header, text(text(claims))]],
  ['bytes that are no UTF-8', (header, claims) => [header, Buffer.from(grown(claims, '"x":"\xff"'), 'latin1')]],
  ['overlong UTF-8', (header, claims) => [header, Buffer.from(grown(claims, '"x":"\xc0\xaf"'), 'latin1')]],
  ['UTF-16', (header, claims) => [header, Buffer.from(text(claims), 'utf16le')]],
  ['half a surrogate pair', (header, claims) => [header, grown(claims, '"x":"\\ud800"')]],
  ['a number that no double holds', (header, claims) => [header, grown(claims, '"x":1e400')]],
  ['NaN', (header, claims) => [header, grown(claims, '"x":NaN')]],
  ['a NUL in the text', (header, claims) => [header, `${text(claims)}\u0000`]],
  ['nesting of 40 levels', (header, claims) => [header, grown(claims, `"x":${nested(40)}`)]],
  ['nesting of 2,500 levels', (header, claims) => [header, grown(claims, `"x":${nested(2500)}`)]],
  ['nesting of 1,000 levels in the header', (header, claims) => [grown(header, `"x":${nested(1000)}`), claims]],
];

describe('RFC 7515 §4, RFC 7519 §7.2: JSON that can be read in one way', () => {
  it.each(ODDITIES)('RFC 7515 §4: refuses a proof with %s', async (_, odd) => {
    const token = wire.token();
    const proof = signJws(...odd(wire.proofHeader(), wire.proofClaims(token)), wire.jobKey);
    expectRefused(await wire.send({ lines: wire.lines(token, proof) }), 'proof.malformed');
  });

  it.each(ODDITIES)('RFC 7515 §4: refuses a token with %s', async (_, odd) => {
    const token = wire.signToken(...odd(wire.tokenHeader(), wire.tokenClaims()));
    expectRefused(await wire.send({ lines: wire.lines(token) }), 'token.malformed');
  });

  it.each([
    ['a member named __proto__', '"__proto__":{"jti":"x"}'],
    ['members named like those of every object', '"constructor":{"prototype":{}},"toString":1,"hasOwnProperty":null'],
    ['white space', ' "x" : [ 1 , 2 ]\n'],
    ['nesting of 20 levels', `"x":${nested(20)}`],
    ['a number with many digits', '"x":123456789012345678901234567890.5e-7'],
    ['text of other scripts', '"x":"\u65e5\u672c \ud83d\udd11"'],
  ])('RFC 7519 §4: takes both with %s', async (_, members) => {
    const token = wire.signToken(wire.tokenHeader(), grown(wire.tokenClaims(), members));
    const proof = signJws(grown(wire.proofHeader(), members), grown(wire.proofClaims(token), members), wire.jobKey);
    expectAllowed(await wire.send({ lines: wire.lines(token, proof) }));
  });
});

/** The order of the group of P-256. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const bytesOf = (number: bigint) => Buffer.from(number.toString(16).padStart(64, '0'), 'hex');
const numberOf = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);
/** (r, n−s) of a signature (r, s): it verifies as well. */
const mirrored = (signature: Buffer) =>
  Buffer.concat([signature.subarray(0, 32), bytesOf(ORDER - numberOf(signature.subarray(32)))]);

/** Signatures that are none, from a good one over the same input. */
const SIGNATURES: readonly [name: string, forge: (signature: Buffer, input: string) => Buffer][] = [
  ['1 byte', () => Buffer.from([1])],
  ['63 bytes', (signature) => signature.subarray(1)],
  ['65 bytes', (signature) => Buffer.concat([signature, Buffer.from([0])])],
  ['96 bytes', (signature) => Buffer.concat([signature, Buffer.alloc(32)])],
  ['128 bytes', (signature) => Buffer.concat([signature, signature])],
  [
    'its first bit flipped',
    (signature) => Buffer.from(signature.map((byte, index) => (index === 0 ? byte ^ 128 : byte))),
  ],
  [
    'its last bit flipped',
    (signature) => Buffer.from(signature.map((byte, index) => (index === 63 ? byte ^ 1 : byte))),
  ],
  ['r and s exchanged', (signature) => Buffer.concat([signature.subarray(32), signature.subarray(0, 32)])],
  ['zeros (CVE-2022-21449)', () => Buffer.alloc(64)],
  ['r alone, s zero', (signature) => Buffer.concat([signature.subarray(0, 32), Buffer.alloc(32)])],
  ['s alone, r zero', (signature) => Buffer.concat([Buffer.alloc(32), signature.subarray(32)])],
  ['the order of the group twice', () => Buffer.concat([bytesOf(ORDER), bytesOf(ORDER)])],
  ['all ones', () => Buffer.alloc(64, 255)],
  ['random', () => randomBytes(64)],
  ['its ASCII in hexadecimal', (signature) => Buffer.from(signature.toString('hex'))],
  ['a SHA-256 HMAC', (_, input) => createHmac('sha256', 'key').update(input).digest()],
];

describe('RFC 7515 §5.2: the signature', () => {
  it.each(SIGNATURES)('RFC 7515 §5.2: refuses a proof with a signature of %s', (_, forge) =>
    withProof((proof) => {
      const [header, payload, signature] = parts(proof);
      const input = `${header}.${payload}`;
      return `${input}.${encode(forge(Buffer.from(signature, 'base64url'), input))}`;
    }, 'proof.signature'),
  );

  it.each(SIGNATURES)('RFC 7515 §5.2: refuses a token with a signature of %s', (_, forge) =>
    withToken((token) => {
      const [header, payload, signature] = parts(token);
      const input = `${header}.${payload}`;
      return `${input}.${encode(forge(Buffer.from(signature, 'base64url'), input))}`;
    }, 'token.signature'),
  );

  it('RFC 7518 §3.4: refuses a signature in DER', async () => {
    const der = (input: string, key: typeof wire.jobKey) =>
      encode(sign('sha256', Buffer.from(input), { key: KeyObject.from(key.privateKey), dsaEncoding: 'der' }));
    const input = (jws: string) => parts(jws).slice(0, 2).join('.');
    await withProof((proof) => replaced(proof, 2, der(input(proof), wire.jobKey)), 'proof.signature');
    await withToken((token) => replaced(token, 2, der(input(token), wire.issuerKey)), 'token.signature');
  });

  it('RFC 7515 §5.2: refuses the signature of another proof, and of the token', async () => {
    await withProof((proof, token) => replaced(proof, 2, parts(wire.proof(token))[2]), 'proof.signature');
    await withProof((proof, token) => replaced(proof, 2, parts(token)[2]), 'proof.signature');
    await withToken((token) => replaced(token, 2, parts(wire.token())[2]), 'token.signature');
  });

  it('RFC 7515 §5.2: refuses changed bytes under a good signature', async () => {
    await withProof((proof, token) => replaced(proof, 1, parts(wire.proof(token))[1]), 'proof.signature');
    const more = wire.tokenClaims({ scope: 'projects:read projects:admin' });
    await withToken((token) => replaced(token, 1, encode(text(more))), 'token.signature');
  });

  it('RFC 9449 §11.1: the mirrored signature (r, n−s) of a used proof is the same proof', async () => {
    const token = wire.token();
    const proof = wire.proof(token);
    const twin = replaced(proof, 2, encode(mirrored(Buffer.from(parts(proof)[2], 'base64url'))));
    expect(twin).not.toBe(proof);
    expectAllowed(await wire.send({ lines: wire.lines(token, proof) }));
    expectRefused(await wire.send({ lines: wire.lines(token, twin) }), 'proof.replayed');
  });

  it('RFC 9449 §11.1: and the other way about', async () => {
    const token = wire.token();
    const proof = wire.proof(token);
    const twin = replaced(proof, 2, encode(mirrored(Buffer.from(parts(proof)[2], 'base64url'))));
    expect((await wire.send({ lines: wire.lines(token, twin) })).upstream).toHaveLength(1);
    expectRefused(await wire.send({ lines: wire.lines(token, proof) }), 'proof.replayed');
  });
});

describe('RFC 8725 §3.1, §3.12: each JWT for what it is', () => {
  it('RFC 8725 §3.11: refuses a proof as token', async () => {
    const token = wire.token();
    await withToken(() => wire.proof(token), 'token.type');
  });

  it('RFC 8725 §3.11: refuses a token as proof, also one that carries the key of the job', async () => {
    await withProof((_, token) => token, 'proof.type');
    const header = { jwk: wire.jobKey.publicJwk };
    const claims = { htm: 'GET' };
    await withProof(() => signJws(wire.tokenHeader(header), wire.tokenClaims(claims), wire.jobKey), 'proof.type');
  });

  it('RFC 8725 §3.1: refuses HS256 with the public key as secret', async () => {
    const pem = KeyObject.from(wire.issuerKey.privateKey).export({ type: 'pkcs8', format: 'pem' });
    for (const secret of [text(wire.issuerKey.publicJwk), wire.issuerKey.thumbprint, pem]) {
      const input = `${encode(text(wire.tokenHeader({ alg: 'HS256' })))}.${encode(text(wire.tokenClaims()))}`;
      const signature = createHmac('sha256', secret).update(input).digest('base64url');
      await withToken(() => `${input}.${signature}`, 'token.algorithm');
    }
  });

  it.each(['none', 'None', 'NONE', 'nOnE'])(
    'RFC 8725 §3.2: refuses alg %s, with a signature and without',
    async (alg) => {
      const token = `${encode(text(wire.tokenHeader({ alg })))}.${encode(text(wire.tokenClaims()))}`;
      await withToken(() => `${token}.AAAA`, 'token.algorithm');
      await withToken(() => `${token}.`, 'token.malformed');
      await withProof((_, good) => {
        const proof = `${encode(text(wire.proofHeader({ alg })))}.${encode(text(wire.proofClaims(good)))}`;
        return `${proof}.AAAA`;
      }, 'proof.algorithm');
    },
  );
});

describe('bounds', () => {
  it('a proof of 8 KB is read, a larger one is refused before it is', async () => {
    const token = wire.token();
    const filled = (size: number) => {
      const bare = wire.proof(token, { claims: { filler: '' } }).length;
      return wire.proof(token, { claims: { filler: 'x'.repeat(Math.floor(((size - bare) * 3) / 4)) } });
    };
    const [most, more] = [filled(8190), filled(8200)];
    expect(most.length).toBeLessThanOrEqual(8192);
    expect(more.length).toBeGreaterThan(8192);
    expectAllowed(await wire.send({ lines: wire.lines(token, most) }));
    expectRefused(await wire.send({ lines: wire.lines(token, more) }), 'proof.malformed');
  });

  it('a token of 10 KB passes, with its proof, through a header section of 16 KB', async () => {
    const token = wire.token({ claims: { filler: 'x'.repeat(7000) } });
    expectAllowed(await wire.send({ lines: wire.lines(token) }));
  });

  it('a header section that is larger than allowed is 431, never 5xx', async () => {
    const token = wire.token({ claims: { filler: 'x'.repeat(20_000) } });
    // Over HTTP/2 the stream or the connection is reset by whoever reads frames (test/security/http2.test.ts).
    const { answer, upstream, summary } = await wire.sendFirst({ lines: wire.lines(token) });
    expect([answer.status, upstream, summary['reason']]).toEqual([431, [], 'request.headers_too_large']);
  });

  it('a signature of another key under the same input is told from a good one', async () => {
    const other = await makeKey();
    await withProof((proof) => {
      const input = parts(proof).slice(0, 2).join('.');
      return `${input}.${encode(signInput(input, other))}`;
    }, 'proof.signature');
  });
});
