import { createHash, createHmac, generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { sha256Base64url } from '../../src/oauth/thumbprint.ts';
import {
  type Bench,
  benchOf,
  type Changes,
  goodClaims,
  makeKey,
  NOW,
  ORIGIN,
  PATH,
  proofBy,
  type RequestChanges,
  type TestKey,
} from '../proof/fixture.ts';
import { signInput, signJws } from '../support/sign_jws.ts';

let key: TestKey;
let other: TestKey;
let bench: Bench;

beforeAll(async () => {
  [key, other] = await Promise.all([makeKey(), makeKey()]);
  bench = benchOf();
});

const verify = (proof: string | null, changes: Omit<RequestChanges, 'proof'> = {}) =>
  bench.verify({ proof, ...changes }, { jkt: key.thumbprint });
const withHeader = (header: Changes) => verify(proofBy(key, {}, header));
const withClaims = (claims: Changes) => verify(proofBy(key, claims));

const text = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const parts = (proof: string) => proof.split('.') as [string, string, string];

describe('RFC 9449 §4.3 check 1: one DPoP header field', () => {
  it('proof.missing: refuses a bound token without a proof', async () => {
    expect(await verify(null)).toBe('proof.missing');
  });

  it('proof.malformed: refuses two proofs joined by a comma', async () => {
    expect(await verify(`${proofBy(key)}, ${proofBy(key)}`)).toBe('proof.malformed');
    expect(await verify(`${proofBy(key)},${proofBy(key)}`)).toBe('proof.malformed');
  });
});

describe('RFC 9449 §4.3 check 2: a single and well-formed JWT', () => {
  it('accepts a good one', async () => {
    expect(await verify(proofBy(key))).toBe('passed');
  });

  it.each([
    ['empty', () => ''],
    ['one part', () => 'abc'],
    ['two parts', () => parts(proofBy(key)).slice(0, 2).join('.')],
    ['no signature', () => `${parts(proofBy(key)).slice(0, 2).join('.')}.`],
    ['four parts', () => `${proofBy(key)}.abcd`],
    ['five parts', () => `${proofBy(key)}.abcd.efgh`],
    ['an empty header', () => `.${parts(proofBy(key)).slice(1).join('.')}`],
    ['an empty payload', () => `${parts(proofBy(key))[0]}..${parts(proofBy(key))[2]}`],
    ['dots only', () => '..'],
    ['a space before', () => ` ${proofBy(key)}`],
    ['a space after', () => `${proofBy(key)} `],
    ['a line break inside', () => proofBy(key).replace('.', '.\n')],
    ['padding', () => `${proofBy(key)}==`],
    ['the standard alphabet', () => standardAlphabet()],
    ['a JSON serialisation', () => jsonSerialisation(proofBy(key))],
    ['quotes around it', () => `"${proofBy(key)}"`],
    ['more than 8 KB', () => proofBy(key, { padding: 'x'.repeat(8192) })],
    ['not ASCII', () => `${proofBy(key)}é`],
  ])('proof.malformed: refuses %s', async (_, proof) => {
    expect(await verify(proof())).toBe('proof.malformed');
  });

  /** A proof one of whose parts contains + or / when it is encoded so. */
  function standardAlphabet(): string {
    for (;;) {
      const [header, payload, signature] = parts(proofBy(key));
      const standard = signature.replaceAll('-', '+').replaceAll('_', '/');
      if (standard !== signature) return `${header}.${payload}.${standard}`;
    }
  }

  function jsonSerialisation(proof: string): string {
    const [header, payload, signature] = parts(proof);
    return JSON.stringify({ protected: header, payload, signature });
  }

  it('proof.malformed: refuses spare bits in the last character of each part', async () => {
    for (const index of [0, 1, 2]) {
      const proof = parts(proofBy(key, {}, { padding: 'x'.repeat(index) }));
      const part = proof[index] as string;
      if (part.length % 4 === 0) continue;
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const last = alphabet[alphabet.indexOf(part.at(-1) as string) + 1] as string;
      proof[index] = part.slice(0, -1) + last;
      expect(await verify(proof.join('.'))).toBe('proof.malformed');
    }
  });

  it.each([
    ['header not JSON', '{', '{}'],
    ['header an array', '[]', '{}'],
    ['header a string', '"x"', '{}'],
    ['header null', 'null', '{}'],
    ['header with a byte order mark', '\ufeff{"typ":"dpop+jwt"}', '{}'],
    ['header with a repeated member', '{"typ":"dpop+jwt","alg":"none","alg":"ES256"}', '{}'],
    ['header with a member repeated by escapes', '{"typ":"dpop+jwt","alg":"ES256","\\u0061lg":"ES256"}', '{}'],
    ['payload not JSON', '{"typ":"dpop+jwt"}', 'x'],
    ['payload an array', '{"typ":"dpop+jwt"}', '[1]'],
    ['payload a number', '{"typ":"dpop+jwt"}', '1'],
    ['payload with a repeated member', '{"typ":"dpop+jwt"}', '{"jti":"a","jti":"b"}'],
    ['payload with a repeated member deep inside', '{"typ":"dpop+jwt"}', '{"a":[{"b":1,"b":1}]}'],
    ['payload with 1e400', '{"typ":"dpop+jwt"}', '{"iat":1e400}'],
    ['payload with a lone surrogate', '{"typ":"dpop+jwt"}', '{"jti":"\\ud800"}'],
    ['payload nested too deeply', '{"typ":"dpop+jwt"}', `{"a":${'['.repeat(2000)}${']'.repeat(2000)}}`],
  ])('proof.malformed: refuses %s', async (_, header, payload) => {
    expect(await verify(signJws(header, payload, key))).toBe('proof.malformed');
  });

  it('proof.malformed: refuses bytes that are not UTF-8', async () => {
    expect(await verify(signJws({ typ: 'dpop+jwt' }, Buffer.from([0x7b, 0xff, 0x7d]), key))).toBe('proof.malformed');
  });

  it('accepts a member named __proto__, which changes nothing', async () => {
    const payload = JSON.stringify(goodClaims()).replace('{', '{"__proto__":{"nonce":1,"exp":1},');
    expect(await verify(signJws({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.publicJwk }, payload, key))).toBe('passed');
  });

  it('proof.type: refuses an access token in its place', async () => {
    const token = signJws({ typ: 'at+jwt', alg: 'ES256' }, goodClaims() as Record<string, unknown>, key);
    expect(await verify(token)).toBe('proof.type');
  });
});

describe('RFC 9449 §4.3 check 3: all required claims', () => {
  const wrong: Record<string, unknown> = {
    missing: undefined,
    null: null,
    true: true,
    'an array': ['x'],
    'an empty array': [],
    'an object': { a: 1 },
    'an empty object': {},
  };
  const cases = Object.entries(wrong);

  for (const claim of ['jti', 'htm', 'htu', 'ath']) {
    it.each([...cases, ['a number', 1], ['an empty string', '']])(
      `proof.claims: refuses ${claim} %s`,
      async (_, value) => {
        expect(await withClaims({ [claim]: value })).toBe('proof.claims');
      },
    );
  }

  it.each([...cases, ['a string', String(NOW)], ['an empty string', '']])(
    'proof.claims: refuses iat %s',
    async (_, value) => {
      expect(await withClaims({ iat: value })).toBe('proof.claims');
    },
  );

  for (const claim of ['exp', 'nbf']) {
    it.each(cases.slice(1).concat([['a string', String(NOW)]]))(
      `proof.claims: refuses ${claim} %s`,
      async (_, value) => {
        expect(await withClaims({ [claim]: value })).toBe('proof.claims');
      },
    );
  }

  it.each(cases.slice(1).concat([['a number', 5]]))('proof.claims: refuses nonce %s', async (_, value) => {
    expect(await withClaims({ nonce: value })).toBe('proof.claims');
  });

  it('RFC 9449 §11.1: takes a jti of 1 to 256 bytes, not of characters', async () => {
    expect(await withClaims({ jti: 'x' })).toBe('passed');
    expect(await withClaims({ jti: 'x'.repeat(256) })).toBe('passed');
    expect(await withClaims({ jti: 'é'.repeat(128) })).toBe('passed');
    expect(await withClaims({ jti: 'x'.repeat(257) })).toBe('proof.claims');
    expect(await withClaims({ jti: 'é'.repeat(129) })).toBe('proof.claims');
    expect(await withClaims({ jti: '💡'.repeat(65) })).toBe('proof.claims');
    expect(await withClaims({ jti: 'x'.repeat(5000) })).toBe('proof.claims');
  });

  it('RFC 9449 §4.2: takes further claims and header parameters', async () => {
    expect(
      await verify(
        proofBy(key, { sub: 'x', deep: { a: [1, { b: null }] } }, { kid: 'k', jku: 'https://x', x5c: ['x'] }),
      ),
    ).toBe('passed');
  });

  it('takes nonce, exp and nbf of the right type', async () => {
    expect(await withClaims({ nonce: 'x', exp: NOW + 5, nbf: NOW - 5 })).toBe('passed');
  });
});

describe('RFC 9449 §4.3 check 4: typ is dpop+jwt', () => {
  it.each(['dpop+jwt', 'DPoP+JWT', 'application/dpop+jwt', 'application/DPOP+jwt'])(
    'RFC 7515 §4.1.9: accepts the media type %s',
    async (typ) => {
      expect(await withHeader({ typ })).toBe('passed');
    },
  );

  it.each([
    ['missing', undefined],
    ['null', null],
    ['empty', ''],
    ['a number', 1],
    ['an array', ['dpop+jwt']],
    ['an object', {}],
    ['JWT', 'JWT'],
    ['jwt', 'jwt'],
    ['at+jwt', 'at+jwt'],
    ['a space after', 'dpop+jwt '],
    ['another subtype', 'application/x-dpop+jwt'],
    ['another type', 'text/dpop+jwt'],
    ['twice prefixed', 'application/application/dpop+jwt'],
    ['parameters', 'dpop+jwt;v=1'],
    ['oversize', 'dpop+jwt'.repeat(100)],
    ['a Kelvin sign', 'dpop+jwt'.replace('w', 'ẇ')],
  ])('proof.type: refuses %s', async (_, typ) => {
    expect(await withHeader({ typ })).toBe('proof.type');
  });
});

describe('RFC 9449 §4.3 check 5: alg is asymmetric and allowed', () => {
  it.each(['ES256', 'PS256', 'EdDSA'])('accepts %s by default', async (alg) => {
    const own = await makeKey(alg);
    expect(await bench.verify({ proof: proofBy(own) }, { jkt: own.thumbprint })).toBe('passed');
  });

  it('RFC 9864 §2.2: accepts EdDSA under its new name Ed25519', async () => {
    const own = await makeKey('EdDSA');
    expect(await bench.verify({ proof: proofBy(own, {}, { alg: 'Ed25519' }) }, { jkt: own.thumbprint })).toBe('passed');
  });

  it.each(['RS256', 'RS384', 'RS512', 'PS384', 'PS512', 'ES384', 'ES512', 'Ed25519'])(
    'accepts %s where it is configured',
    async (alg) => {
      const own = await makeKey(alg);
      const configured = benchOf({ algorithms: [alg as 'RS256'] });
      expect(await configured.verify({ proof: proofBy(own) }, { jkt: own.thumbprint })).toBe('passed');
      expect(await configured.verify({ proof: proofBy(key) }, { jkt: key.thumbprint })).toBe('proof.algorithm');
    },
  );

  it.each([
    ['missing', undefined],
    ['null', null],
    ['empty', ''],
    ['a number', 256],
    ['an array', ['ES256']],
    ['an object', {}],
    ['RS256, which is not configured', 'RS256'],
    ['ES384, which is not configured', 'ES384'],
    ['ES256K', 'ES256K'],
    ['HS256', 'HS256'],
    ['HS384', 'HS384'],
    ['HS512', 'HS512'],
    ['lower case', 'es256'],
    ['a space after', 'ES256 '],
    ['none', 'none'],
    ['None', 'None'],
    ['NONE', 'NONE'],
    ['nOnE', 'nOnE'],
    ['RSA-OAEP', 'RSA-OAEP'],
    ['dir', 'dir'],
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['oversize', 'E'.repeat(2000)],
  ])('proof.algorithm: refuses %s', async (_, alg) => {
    expect(await withHeader({ alg })).toBe('proof.algorithm');
  });

  it('proof.algorithm: refuses none without a signature, and HS256 keyed with the public key', async () => {
    const claims = text(goodClaims());
    const unsigned = `${text({ typ: 'dpop+jwt', alg: 'none', jwk: key.publicJwk })}.${claims}`;
    expect(await verify(`${unsigned}.`)).toBe('proof.malformed');
    expect(await verify(`${unsigned}.AAAA`)).toBe('proof.algorithm');
    const input = `${text({ typ: 'dpop+jwt', alg: 'HS256', jwk: key.publicJwk })}.${claims}`;
    const mac = createHmac('sha256', JSON.stringify(key.publicJwk)).update(input).digest('base64url');
    expect(await verify(`${input}.${mac}`)).toBe('proof.algorithm');
  });
});

describe('RFC 7515 §4.1.11: critical header parameters', () => {
  it.each([
    ['crit empty', { crit: [] }],
    ['crit unknown', { crit: ['x'], x: 1 }],
    ['crit naming b64', { crit: ['b64'], b64: false }],
    ['crit b64 true', { crit: ['b64'], b64: true }],
    ['crit null', { crit: null }],
    ['crit a string', { crit: 'b64' }],
    ['b64 false alone', { b64: false }],
    ['b64 null', { b64: null }],
    ['crit naming alg', { crit: ['alg'] }],
  ])('proof.critical_header: refuses %s', async (_, header) => {
    expect(await withHeader(header)).toBe('proof.critical_header');
  });
});

describe('RFC 9449 §4.3 checks 5 and 7: jwk is one public key of the right kind', () => {
  const jwk = (changes: Changes) => withHeader({ jwk: { ...key.publicJwk, ...changes } });

  it.each([
    ['missing', undefined],
    ['null', null],
    ['a string', 'x'],
    ['a number', 1],
    ['an array', [{}]],
    ['empty', {}],
  ])('proof.key: refuses jwk %s', async (_, value) => {
    expect(await withHeader({ jwk: value })).toBe('proof.key');
  });

  it.each(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'])('proof.key: refuses the private member %s', async (member) => {
    expect(await jwk({ [member]: 'AQAB' })).toBe('proof.key');
    expect(await jwk({ [member]: null })).toBe('proof.key');
  });

  it('proof.key: refuses a symmetric key', async () => {
    expect(await withHeader({ jwk: { kty: 'oct', k: 'AQAB' } })).toBe('proof.key');
  });

  it.each([
    ['kty of another kind', { kty: 'RSA' }],
    ['kty in another case', { kty: 'ec' }],
    ['no kty', { kty: undefined }],
    ['another curve', { crv: 'P-384' }],
    ['a curve of another name', { crv: 'p-256' }],
    ['no curve', { crv: undefined }],
    ['secp256k1', { crv: 'secp256k1' }],
    ['no x', { x: undefined }],
    ['no y', { y: undefined }],
    ['x a number', { x: 1 }],
    ['x empty', { x: '' }],
    ['x short', { x: 'AQAB' }],
    ['use for encryption', { use: 'enc' }],
    ['use null', { use: null }],
    ['key_ops to sign', { key_ops: ['sign'] }],
    ['key_ops a string', { key_ops: 'verify' }],
    ['alg of another kind', { alg: 'RS256' }],
    ['alg for agreement', { alg: 'ECDH-ES' }],
    ['alg null', { alg: null }],
  ])('proof.key: refuses %s', async (_, changes) => {
    expect(await jwk(changes)).toBe('proof.key');
  });

  it.each([
    ['use sig', { use: 'sig' }],
    ['key_ops verify', { key_ops: ['verify'] }],
    ['the alg of the header', { alg: 'ES256' }],
    ['kid and ext', { kid: 'x', ext: true }],
  ])('accepts %s', async (_, changes) => {
    expect(await jwk(changes)).toBe('passed');
  });

  it('proof.key: refuses coordinates in another spelling of the same bytes, so that one key has one thumbprint', async () => {
    const { x } = key.publicJwk as { x: string };
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const slack = x.slice(0, -1) + alphabet[alphabet.indexOf(x.at(-1) as string) + 1];
    const padded = Buffer.concat([Buffer.alloc(1), Buffer.from(x, 'base64url')]).toString('base64url');
    for (const spelling of [slack, `${x}=`, padded, `${x.slice(0, 10)}\n${x.slice(10)}`, ` ${x}`]) {
      expect(await jwk({ x: spelling })).toBe('proof.key');
    }
  });

  it('proof.key: refuses a point that is not on the curve, whatever the token is bound to', async () => {
    const { x, y } = key.publicJwk as { x: string; y: string };
    const off = { kty: 'EC', crv: 'P-256', x, y: x };
    const thumbprint = sha256Base64url(`{"crv":"P-256","kty":"EC","x":"${x}","y":"${x}"}`);
    expect(await withHeader({ jwk: off })).toBe('proof.key');
    expect(await bench.verify({ proof: proofBy(key, {}, { jwk: off }) }, { jkt: thumbprint })).toBe('proof.key');
    const zero = Buffer.alloc(32).toString('base64url');
    expect(await withHeader({ jwk: { kty: 'EC', crv: 'P-256', x: zero, y: zero } })).toBe('proof.key');
    expect(await withHeader({ jwk: { kty: 'EC', crv: 'P-256', x: y, y: x } })).toBe('proof.key');
  });

  const rsaJwk = (modulusLength: number, publicExponent = 0x10001) =>
    generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' });

  it.each([1024, 2040])('proof.key: refuses an RSA modulus of %i bits', async (bits) => {
    expect(await withHeader({ alg: 'PS256', jwk: rsaJwk(bits) })).toBe('proof.key');
  });

  it('proof.key: refuses an RSA modulus above 4096 bits or a large exponent before any work with it', async () => {
    const { n } = rsaJwk(2048) as { n: string };
    const huge = Buffer.alloc(2048, 0xff).toString('base64url');
    expect(await withHeader({ alg: 'PS256', jwk: { kty: 'RSA', n: huge, e: 'AQAB' } })).toBe('proof.key');
    expect(await withHeader({ alg: 'PS256', jwk: { kty: 'RSA', n, e: n } })).toBe('proof.key');
    expect(await withHeader({ alg: 'PS256', jwk: { kty: 'RSA', n, e: 'AQAAAAE' } })).toBe('proof.key');
  });

  it.each([
    ['e of 1', 'AQ'],
    ['e of 0', 'AA'],
    ['e even', 'Ag'],
    ['e with a leading zero', 'AAEAAQ'],
    ['e empty', ''],
    ['e padded', 'AQAB='],
  ])('proof.key: refuses an RSA key with %s', async (_, e) => {
    expect(await withHeader({ alg: 'PS256', jwk: { ...rsaJwk(2048), e } })).toBe('proof.key');
  });

  it('accepts RSA keys of 2048 to 4096 bits with exponents 3 and 65537', async () => {
    for (const [bits, exponent] of [
      [2048, 3],
      [3072, 65537],
      [4096, 65537],
    ] as const) {
      const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits, publicExponent: exponent });
      const publicJwk = publicKey.export({ format: 'jwk' }) as { n: string; e: string };
      const jkt = sha256Base64url(`{"e":"${publicJwk.e}","kty":"RSA","n":"${publicJwk.n}"}`);
      const own = {
        alg: 'PS256',
        privateKey: privateKey.toCryptoKey({ name: 'RSA-PSS', hash: 'SHA-256' }, true, ['sign']),
      };
      const proof = proofBy({ ...own, publicJwk: { kty: 'RSA', ...publicJwk }, thumbprint: jkt } as TestKey);
      expect(await bench.verify({ proof }, { jkt })).toBe('passed');
    }
  });
});

describe('RFC 9449 §4.3 check 6: the signature verifies with the key in the header', () => {
  const resigned = (change: (signature: Buffer) => Buffer) => {
    const [header, payload, signature] = parts(proofBy(key));
    return verify(`${header}.${payload}.${change(Buffer.from(signature, 'base64url')).toString('base64url')}`);
  };
  const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const number = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);
  const bytes = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex');

  it.each<[string, (signature: Buffer) => Buffer]>([
    ['one bit changed', (s) => Buffer.from(s.map((byte, index) => (index === 5 ? byte ^ 1 : byte)))],
    ['the last bit changed', (s) => Buffer.from(s.map((byte, index) => (index === 63 ? byte ^ 1 : byte)))],
    ['all zero (CVE-2022-21449)', () => Buffer.alloc(64)],
    ['r zero', (s) => Buffer.concat([Buffer.alloc(32), s.subarray(32)])],
    ['s zero', (s) => Buffer.concat([s.subarray(0, 32), Buffer.alloc(32)])],
    ['r the order', (s) => Buffer.concat([bytes(ORDER), s.subarray(32)])],
    ['s the order', (s) => Buffer.concat([s.subarray(0, 32), bytes(ORDER)])],
    ['s above the order', (s) => Buffer.concat([s.subarray(0, 32), Buffer.alloc(32, 0xff)])],
    ['r and s swapped', (s) => Buffer.concat([s.subarray(32), s.subarray(0, 32)])],
    ['one byte short', (s) => s.subarray(0, 63)],
    ['one byte long', (s) => Buffer.concat([s, Buffer.alloc(1)])],
    ['one byte', () => Buffer.alloc(1, 1)],
    ['in DER', (s) => der(s)],
  ])('proof.signature: refuses a signature with %s', async (_, change) => {
    expect(await resigned(change)).toBe('proof.signature');
  });

  function der(s: Buffer): Buffer {
    const integer = (value: Buffer) => {
      const padded = (value[0] as number) > 127 ? Buffer.concat([Buffer.alloc(1), value]) : value;
      return Buffer.concat([Buffer.from([2, padded.length]), padded]);
    };
    const content = Buffer.concat([integer(s.subarray(0, 32)), integer(s.subarray(32))]);
    return Buffer.concat([Buffer.from([0x30, content.length]), content]);
  }

  it('counts the malleable twin (r, n - s) as the same proof', async () => {
    const [header, payload, signature] = parts(proofBy(key));
    const good = Buffer.from(signature, 'base64url');
    const twin = Buffer.concat([good.subarray(0, 32), bytes(ORDER - number(good.subarray(32)))]);
    expect(await verify(`${header}.${payload}.${twin.toString('base64url')}`)).toBe('passed');
    expect(await verify(`${header}.${payload}.${signature}`)).toBe('proof.replayed');
  });

  it('proof.signature: refuses a signature by another key', async () => {
    expect(await verify(proofBy({ ...other, publicJwk: key.publicJwk }))).toBe('proof.signature');
  });

  it('proof.signature: refuses header or payload of another proof', async () => {
    const [one, two] = [parts(proofBy(key)), parts(proofBy(key))];
    expect(await verify(`${one[0]}.${two[1]}.${one[2]}`)).toBe('proof.signature');
    expect(await verify(`${text({ ...header(one[0]), x: 1 })}.${one[1]}.${one[2]}`)).toBe('proof.signature');
  });

  const header = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString()) as object;

  it('RFC 7518 §3.5: refuses an RSA signature padded by PKCS #1 v1.5 under PS256', async () => {
    const own = await makeKey('RS256');
    const input = `${text({ typ: 'dpop+jwt', alg: 'PS256', jwk: own.publicJwk })}.${text(goodClaims())}`;
    const proof = `${input}.${signInput(input, own).toString('base64url')}`;
    expect(await bench.verify({ proof }, { jkt: own.thumbprint })).toBe('proof.signature');
  });

  it.each(['PS256', 'EdDSA'])('proof.signature: refuses %s signatures short, long, zero and changed', async (alg) => {
    const own = await makeKey(alg);
    const [head, payload, signature] = parts(proofBy(own));
    const good = Buffer.from(signature, 'base64url');
    const changed = Buffer.from(good.map((byte, index) => (index === 9 ? byte ^ 4 : byte)));
    for (const bad of [good.subarray(1), Buffer.concat([good, good]), Buffer.alloc(good.length), changed]) {
      const proof = `${head}.${payload}.${bad.toString('base64url')}`;
      expect(await bench.verify({ proof }, { jkt: own.thumbprint })).toBe('proof.signature');
    }
  });

  it('RFC 8032 §5.1.7: refuses an Ed25519 signature whose s was raised by the order', async () => {
    const own = await makeKey('EdDSA');
    const [head, payload, signature] = parts(proofBy(own));
    const good = Buffer.from(signature, 'base64url');
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const raised = BigInt(`0x${Buffer.from(good.subarray(32)).reverse().toString('hex')}`) + order;
    const s = Buffer.from(raised.toString(16).padStart(64, '0'), 'hex').reverse();
    const proof = `${head}.${payload}.${Buffer.concat([good.subarray(0, 32), s]).toString('base64url')}`;
    expect(await bench.verify({ proof }, { jkt: own.thumbprint })).toBe('proof.signature');
  });
});

describe('RFC 9449 §4.3 check 8: htm is the method', () => {
  it.each(['POST', 'get', 'Get', 'GET ', ' GET', 'HEAD', 'GETT', 'G', '*'])(
    'proof.method: refuses %j for GET',
    async (htm) => {
      expect(await withClaims({ htm })).toBe('proof.method');
    },
  );

  it('accepts any method of the request', async () => {
    for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND']) {
      expect(await verify(proofBy(key, { htm: method }), { method })).toBe('passed');
    }
  });
});

describe('RFC 9449 §4.3 check 9: htu is the URI, without query and fragment', () => {
  it.each([
    ['as it is', ORIGIN + PATH],
    ['with a query', `${ORIGIN}${PATH}?a=b`],
    ['with an empty query', `${ORIGIN}${PATH}?`],
    ['with a fragment', `${ORIGIN}${PATH}#x`],
    ['with query and fragment', `${ORIGIN}${PATH}?a=/b#c?d`],
    ['scheme in upper case', `HTTPS://cloud.example.com${PATH}`],
    ['host in upper case', `https://Cloud.EXAMPLE.com${PATH}`],
    ['the default port', `${ORIGIN}:443${PATH}`],
    ['an empty port', `${ORIGIN}:${PATH}`],
    ['an unreserved character escaped', `${ORIGIN}/v1/%70rojects/p%31`],
    ['unreserved punctuation escaped in the host', `https://cloud%2Eexample.com${PATH}`],
  ])('accepts it %s', async (_, htu) => {
    expect(await withClaims({ htu })).toBe('passed');
  });

  it.each([
    ['another path', `${ORIGIN}/v1/projects/p2`],
    ['a longer path', `${ORIGIN}${PATH}/`],
    ['a shorter path', `${ORIGIN}/v1/projects`],
    ['no path', ORIGIN],
    ['the path in another case', `${ORIGIN}/V1/projects/p1`],
    ['another host', `https://evil.example.com${PATH}`],
    ['a host that begins alike', `https://cloud.example.com.evil.example${PATH}`],
    ['a trailing dot', `https://cloud.example.com.${PATH}`],
    ['another scheme', `http://cloud.example.com${PATH}`],
    ['another port', `${ORIGIN}:8443${PATH}`],
    ['the port of the other scheme', `${ORIGIN}:80${PATH}`],
    ['a port with a leading zero', `${ORIGIN}:0443${PATH}`],
    ['user information', `https://user@cloud.example.com${PATH}`],
    ['empty user information', `https://@cloud.example.com${PATH}`],
    ['a password', `https://a:b@cloud.example.com${PATH}`],
    ['the host as user information', `https://cloud.example.com@evil.example${PATH}`],
    ['a path only', PATH],
    ['a network path', `//cloud.example.com${PATH}`],
    ['another kind of URI', 'urn:x'],
    ['websocket', `wss://cloud.example.com${PATH}`],
    ['one slash', `https:/cloud.example.com${PATH}`],
    ['three slashes', `https:///cloud.example.com${PATH}`],
    ['no host', `https://${PATH}`],
    ['a backslash', `https://cloud.example.com\\v1\\projects\\p1`],
    ['dot segments', `${ORIGIN}/v1/projects/x/../p1`],
    ['a dot segment', `${ORIGIN}/v1/./projects/p1`],
    ['escaped dot segments', `${ORIGIN}/v1/projects/x/%2e%2e/p1`],
    ['an empty segment', `${ORIGIN}/v1//projects/p1`],
    ['an escaped slash', `${ORIGIN}/v1%2Fprojects/p1`],
    ['double encoding', `${ORIGIN}/v1/%2570rojects/p1`],
    ['a broken escape', `${ORIGIN}/v1/projects/p1%`],
    ['a broken escape, hex', `${ORIGIN}/v1/projects/%g1`],
    ['a space before', ` ${ORIGIN}${PATH}`],
    ['a space after', `${ORIGIN}${PATH} `],
    ['a tab inside', `${ORIGIN}/v1/\tprojects/p1`],
    ['a path parameter', `${ORIGIN}${PATH};x`],
    [
      'a letter that folds onto an ASCII one',
      `https://cloud.example.com/v1/projects/p1`.replace('cloud', 'cloud\u212a'),
    ],
    ['the token endpoint', 'https://as.example.com/token'],
    ['oversize', `${ORIGIN}/${'x'.repeat(4000)}`],
  ])('proof.target: refuses %s', async (_, htu) => {
    expect(await withClaims({ htu })).toBe('proof.target');
  });

  it('RFC 3986 §6.2.2.2: the request may carry the escapes instead', async () => {
    expect(await verify(proofBy(key), { path: '/v1/%70rojects/p1' })).toBe('passed');
    expect(await verify(proofBy(key, { htu: `${ORIGIN}/a%2fb` }), { path: '/a%2Fb' })).toBe('passed');
    expect(await verify(proofBy(key, { htu: `${ORIGIN}/a/b` }), { path: '/a%2Fb' })).toBe('proof.target');
  });

  it('RFC 3986 §6.2.3: an empty path is /', async () => {
    expect(await verify(proofBy(key, { htu: ORIGIN }), { path: '/' })).toBe('passed');
    expect(await verify(proofBy(key, { htu: `${ORIGIN}?x` }), { path: '/' })).toBe('passed');
  });

  it('a folding letter in the host is no ASCII letter', async () => {
    const origin = 'https://k8s.example.com';
    expect(await verify(proofBy(key, { htu: `https://\u212a8s.example.com${PATH}` }), { origin })).toBe('proof.target');
    expect(await verify(proofBy(key, { htu: `https://K8S.example.com${PATH}` }), { origin })).toBe('passed');
  });

  it('compares with origins on other ports and on IPv6', async () => {
    const local = 'http://127.0.0.1:8080';
    expect(await verify(proofBy(key, { htu: `${local}${PATH}` }), { origin: local })).toBe('passed');
    expect(await verify(proofBy(key, { htu: `http://127.0.0.1${PATH}` }), { origin: local })).toBe('proof.target');
    expect(await verify(proofBy(key, { htu: `HTTP://[::1]:80${PATH}` }), { origin: 'http://[::1]' })).toBe('passed');
    expect(await verify(proofBy(key, { htu: `http://[::2]${PATH}` }), { origin: 'http://[::1]' })).toBe('proof.target');
  });
});

describe('RFC 9449 §4.3 check 11: iat within the window', () => {
  it.each([0, -1, -10, -59, -60, 1, 8, 9, 10, -0.5, 9.5])('accepts iat %d s from now', async (seconds) => {
    expect(await withClaims({ iat: NOW + seconds })).toBe('passed');
  });

  it.each([-61, -60.5, -3600, -NOW, -NOW - 1, -1e15, -1e300])(
    'proof.too_old: refuses iat %d s from now',
    async (seconds) => {
      expect(await withClaims({ iat: NOW + seconds })).toBe('proof.too_old');
    },
  );

  it.each([11, 10.5, 60, 61, 3600, 1e15, 1e300])(
    'proof.issued_in_future: refuses iat %d s from now',
    async (seconds) => {
      expect(await withClaims({ iat: NOW + seconds })).toBe('proof.issued_in_future');
    },
  );

  it('proof.issued_in_future: refuses milliseconds', async () => {
    expect(await withClaims({ iat: NOW * 1000 })).toBe('proof.issued_in_future');
  });

  it('the window is configured', async () => {
    const narrow = benchOf({ max_age_seconds: 5, leeway_seconds: 0 });
    const at = (seconds: number) =>
      narrow.verify({ proof: proofBy(key, { iat: NOW + seconds }) }, { jkt: key.thumbprint });
    expect([await at(-6), await at(-5), await at(0), await at(1)]).toEqual([
      'proof.too_old',
      'passed',
      'passed',
      'proof.issued_in_future',
    ]);
  });

  it('RFC 7519 §4.1.4: proof.expired', async () => {
    expect(await withClaims({ exp: NOW + 1 })).toBe('passed');
    for (const exp of [NOW, NOW - 1, 0, -1, -1e300]) expect(await withClaims({ exp })).toBe('proof.expired');
  });

  it('RFC 7519 §4.1.5: proof.not_yet_valid', async () => {
    for (const nbf of [NOW - 60, NOW, NOW + 8, NOW + 10]) expect(await withClaims({ nbf })).toBe('passed');
    for (const nbf of [NOW + 11, NOW + 60, 1e300]) expect(await withClaims({ nbf })).toBe('proof.not_yet_valid');
  });
});

describe('RFC 9449 §4.3 check 12: ath and the key of the token', () => {
  it.each([
    ['of another token', sha256Base64url('another')],
    ['in hex', createHash('sha256').update('an-access-token').digest('hex')],
    ['in standard base64', createHash('sha256').update('an-access-token').digest('base64')],
    ['of SHA-512', createHash('sha512').update('an-access-token').digest('base64url')],
    [
      'of the first half',
      createHash('sha256').update('an-access-token').digest().subarray(0, 16).toString('base64url'),
    ],
    ['the token itself', 'an-access-token'],
    ['with a character more', `${sha256Base64url('an-access-token')}A`],
    ['oversize', 'x'.repeat(5000)],
  ])('proof.token_hash: refuses ath %s', async (_, ath) => {
    expect(await withClaims({ ath })).toBe('proof.token_hash');
  });

  it('proof.key_mismatch: refuses a good proof by a key that the token is not bound to', async () => {
    expect(await verify(proofBy(other))).toBe('proof.key_mismatch');
    expect(await bench.verify({ proof: proofBy(key) }, { jkt: key.thumbprint.toLowerCase() })).toBe(
      'proof.key_mismatch',
    );
  });

  it('proof.key_mismatch comes before the signature: no work with keys of others', async () => {
    const [header, payload] = parts(proofBy(other));
    expect(await verify(`${header}.${payload}.AAAA`)).toBe('proof.key_mismatch');
  });
});

describe('the order of refusals', () => {
  it('each check wins over all that come after it', async () => {
    const wrongs: [string, Changes, Changes][] = [
      ['proof.type', {}, { typ: 'JWT' }],
      ['proof.algorithm', {}, { alg: 'RS256' }],
      ['proof.critical_header', {}, { crit: ['x'] }],
      ['proof.key', {}, { jwk: { ...key.publicJwk, d: 'x' } }],
      ['proof.claims', { jti: 1 }, {}],
      ['proof.method', { htm: 'PUT' }, {}],
      ['proof.target', { htu: 'https://x' }, {}],
      ['proof.key_mismatch', {}, { jwk: other.publicJwk }],
      ['proof.too_old', { iat: 1 }, {}],
      ['proof.expired', { exp: 1 }, {}],
      ['proof.not_yet_valid', { nbf: NOW + 100 }, {}],
      ['proof.token_hash', { ath: 'x' }, {}],
    ];
    for (let first = 0; first < wrongs.length; first++) {
      let claims: Changes = {};
      let header: Changes = {};
      for (const [, wrongClaims, wrongHeader] of wrongs.slice(first).reverse()) {
        claims = { ...claims, ...wrongClaims };
        header = { ...header, ...wrongHeader };
      }
      const proof = proofBy(key, claims, header);
      expect(await verify(proof)).toBe(wrongs[first]?.[0]);
    }
  });

  it('proof.signature wins over time and token hash', async () => {
    const [header, payload] = parts(proofBy(key, { iat: 1, ath: 'x' }));
    expect(await verify(`${header}.${payload}.${'A'.repeat(86)}`)).toBe('proof.signature');
  });
});

describe('RFC 9449 §7.1, figure 13 and the other examples', () => {
  const header =
    'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19';
  const figure5 = `${header}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg`;
  const figure7 = `${header}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA`;
  const figure13 = `${header}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA`;
  const jkt = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I';
  const accessToken = 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU';

  async function verifyExample(example: Bench, proof: string, place: { method: string; origin: string; path: string }) {
    const { contextOf, tokenOf } = await import('../proof/fixture.ts');
    const checked = await example.verifier.verify(contextOf({ proof, ...place }), tokenOf({ jkt }, accessToken));
    return checked.ok ? checked.value : checked.denial;
  }

  it('accepts the proof of figure 13 at its time exactly once', async () => {
    const then = benchOf();
    then.now = 1_562_262_618_000;
    const place = { method: 'GET', origin: 'https://resource.example.org', path: '/protectedresource' };
    expect(await verifyExample(then, figure13, place)).toEqual({
      method: 'dpop',
      thumbprint: jkt,
      certificate: null,
      jti: 'e1j3V_bKic8-LAEB',
      issuedAt: 1_562_262_618,
      nonce: null,
    });
    expect(await verifyExample(then, figure13, place)).toMatchObject({ reason: 'proof.replayed' });
    then.now += 61_000;
    expect(await verifyExample(then, figure13, place)).toMatchObject({ reason: 'proof.too_old' });
  });

  it.each([
    ['figure 5', figure5],
    ['figure 7', figure7],
  ])('the proof of %s, for a token endpoint, lacks ath and is good otherwise', async (_, proof) => {
    const place = { method: 'POST', origin: 'https://server.example.com', path: '/token' };
    expect(await verifyExample(benchOf(), proof, place)).toMatchObject({
      reason: 'proof.claims',
      // Told to the holder of the key only, so the signature was found good.
      disclosure: { expected: { ath: 'a non-empty string' }, seen: { ath: 'missing' } },
    });
  });
});
