import { createHmac } from 'node:crypto';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { KeyServer } from '../support/key_server.ts';
import { signInput } from '../support/sign_jws.ts';
import { issuerConfig, published, TokenBench } from '../token/fixture.ts';

let bench: TokenBench;
let stranger: TestKey;

beforeAll(async () => {
  bench = await TokenBench.start((server) => ({
    issuers: [issuerConfig(server.issuer, { keyTimes: { cooldown_seconds: 3600 } })],
  }));
  stranger = await makeKey('ES256');
});

afterAll(async () => {
  await bench.stop();
});

function encode(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

describe('RFC 8725 §2.1, §3.1, §3.2: algorithms', () => {
  it.each(['none', 'None', 'NONE', 'nOnE', 'none ', ''])(
    'token.algorithm: alg "%s", with and without a signature',
    async (alg) => {
      const input = `${encode(bench.header({ alg }))}.${encode(bench.claims())}`;
      const signature = signInput(input, bench.key).toString('base64url');
      expect(await bench.reasonOf(`${input}.${signature}`)).toBe('token.algorithm');
      expect(await bench.reasonOf(`${input}.`)).toBe('token.malformed');
    },
  );

  it.each(['HS256', 'HS384', 'HS512', 'hs256'])('token.algorithm: %s keyed with the public key', async (alg) => {
    const secrets = [JSON.stringify(bench.server.keys[0]), JSON.stringify(bench.key.publicJwk), bench.key.thumbprint];
    for (const secret of secrets) {
      const input = `${encode(bench.header({ alg }))}.${encode(bench.claims())}`;
      const digest = `sha${alg.slice(2)}`;
      const signature = createHmac(digest, secret).update(input).digest('base64url');
      expect(await bench.reasonOf(`${input}.${signature}`)).toBe('token.algorithm');
    }
  });

  it.each(['es256', 'RS256', 'ES384', 'ES256K', 'dir', 'RSA-OAEP', '__proto__', 'constructor'])(
    'token.algorithm: %s, which the issuer may not use',
    async (alg) => {
      expect(await bench.reasonOf(bench.token({ header: { alg } }))).toBe('token.algorithm');
    },
  );

  it.each(['PS256', 'EdDSA', 'Ed25519'])('token.key_unknown: %s claimed for a key of another type', async (alg) => {
    expect(await bench.reasonOf(bench.token({ header: { alg } }))).toBe('token.key_unknown');
  });

  it('token.algorithm: an algorithm that only another issuer may use', async () => {
    const [key, other] = await Promise.all([makeKey('RS256'), KeyServer.start()]);
    other.keys = [published(key) as never];
    const two = await TokenBench.start((server) => ({
      issuers: [issuerConfig(server.issuer), issuerConfig(other.issuer, { algorithms: ['RS256'] })],
    }));
    try {
      const header = { alg: 'RS256', kid: key.thumbprint.slice(0, 8) };
      expect(await two.reasonOf(two.token({ header, claims: { iss: other.issuer } }, key))).toBeNull();
      expect(await two.reasonOf(two.token({ header }, key))).toBe('token.algorithm');
    } finally {
      await two.stop();
      await other.stop();
    }
  });

  it('RFC 8725 §3.8: a key of one issuer does not sign for another', async () => {
    const [key, other] = await Promise.all([makeKey('ES256'), KeyServer.start()]);
    other.keys = [published(key) as never];
    const two = await TokenBench.start((server) => ({
      issuers: [issuerConfig(server.issuer), issuerConfig(other.issuer)],
    }));
    try {
      const header = { kid: key.thumbprint.slice(0, 8) };
      expect(await two.reasonOf(two.token({ header, claims: { iss: other.issuer } }, key))).toBeNull();
      expect(await two.reasonOf(two.token({ header }, key))).toBe('token.key_unknown');
    } finally {
      await two.stop();
      await other.stop();
    }
  });
});

describe('RFC 8725 §3.10: keys that the token names (CVE-2018-0114)', () => {
  it('jwk, jku, x5u and x5c are ignored, and nothing is fetched', async () => {
    const trap = await KeyServer.start();
    try {
      trap.keys = [published(stranger) as never];
      const header = {
        jwk: stranger.publicJwk,
        jku: trap.jwksUri,
        x5u: `${trap.issuer}/cert.pem`,
        x5c: ['MIIB'],
        x5t: 'x',
        'x5t#S256': 'x',
      };
      expect(await bench.reasonOf(bench.token({ header }, stranger))).toBe('token.signature');
      expect(await bench.reasonOf(bench.token({ header: { ...header, kid: undefined } }, stranger))).toBe(
        'token.signature',
      );
      expect(await bench.reasonOf(bench.token({ header }))).toBeNull();
      expect(trap.requests).toEqual([]);
    } finally {
      await trap.stop();
    }
  });

  it('wrong values of those members are ignored too', async () => {
    for (const value of [null, 1, 'x', [], {}, ['x']]) {
      const header = { jwk: value, jku: value, x5u: value, x5c: value };
      expect(await bench.reasonOf(bench.token({ header }))).toBeNull();
    }
  });
});

describe('RFC 8725 §3.3: signatures', () => {
  it('token.signature: changed, empty-valued, short, long, DER', async () => {
    const [header = '', payload = '', signature = ''] = bench.token().split('.');
    const bytes = Buffer.from(signature, 'base64url');
    const flipped = Buffer.from(bytes);
    flipped[40] = (flipped[40] ?? 0) ^ 1;
    // SEQUENCE of two INTEGERs, as OpenSSL writes a signature; JWS wants r and s in a row (RFC 7518 §3.4).
    const half = (part: Buffer) => Buffer.concat([Buffer.from([2, 33, 0]), part]);
    const body = Buffer.concat([half(bytes.subarray(0, 32)), half(bytes.subarray(32))]);
    const der = Buffer.concat([Buffer.from([0x30, body.length]), body]);
    const wrong = [
      flipped,
      Buffer.alloc(64),
      bytes.subarray(0, 63),
      Buffer.concat([bytes, bytes]),
      der,
      Buffer.from([0]),
    ];
    for (const candidate of wrong) {
      expect(await bench.reasonOf(`${header}.${payload}.${candidate.toString('base64url')}`)).toBe('token.signature');
    }
  });

  it('token.signature: (0, 0) and other values without meaning (CVE-2022-21449)', async () => {
    const [header = '', payload = ''] = bench.token().split('.');
    const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
    const zero = Buffer.alloc(32);
    const one = Buffer.concat([Buffer.alloc(31), Buffer.from([1])]);
    for (const [r, s] of [
      [zero, zero],
      [order, order],
      [zero, one],
      [one, zero],
      [one, one],
    ] as const) {
      expect(await bench.reasonOf(`${header}.${payload}.${Buffer.concat([r, s]).toString('base64url')}`)).toBe(
        'token.signature',
      );
    }
  });

  it('token.signature: any byte of header or payload changed', async () => {
    const [, , signature = ''] = bench.token().split('.');
    const other = bench.token({ claims: { sub: 'someone-else' } }).split('.');
    expect(await bench.reasonOf(`${other[0]}.${other[1]}.${signature}`)).toBe('token.signature');
  });
});

describe('RFC 7515 §5.2, RFC 8725 §3.4, §3.7: form', () => {
  const malformed: readonly (readonly [string, (token: string) => string])[] = [
    ['no part', () => ''],
    ['one part', (token) => token.replaceAll('.', '')],
    ['two parts', (token) => token.slice(0, token.lastIndexOf('.'))],
    ['four parts', (token) => `${token}.AAAA`],
    ['five parts', (token) => `${token}.AAAA.AAAA`],
    ['an empty header', (token) => token.slice(token.indexOf('.'))],
    ['an empty payload', (token) => token.replace(/\.[^.]+\./, '..')],
    ['an empty signature', (token) => token.slice(0, token.lastIndexOf('.') + 1)],
    ['padding', (token) => `${token}==`],
    ['white space inside', (token) => token.replace('.', '. ')],
    ['white space behind', (token) => `${token}\n`],
    ['a character of the standard alphabet', (token) => `${token.slice(0, -4)}+/aa`],
    ['a character outside any alphabet', (token) => `${token.slice(0, -4)}*aaa`],
    [
      'the JSON serialisation',
      (token) => {
        const [header, payload, signature] = token.split('.');
        return JSON.stringify({ protected: header, payload, signature });
      },
    ],
    ['an opaque text', () => 'mF_9.B5f-4.1JqM'],
  ];

  it.each(malformed)('token.malformed: %s', async (_, change) => {
    expect(await bench.reasonOf(change(bench.token()))).toBe('token.malformed');
  });

  it('token.malformed: spare bits of the last character, so that one token has one text', async () => {
    const token = bench.token();
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    // 64 bytes leave four spare bits in the last character.
    const last = alphabet.indexOf(token.at(-1) ?? '');
    expect(last % 16).toBe(0);
    for (let spare = 1; spare < 16; spare++) {
      expect(await bench.reasonOf(token.slice(0, -1) + alphabet[last + spare])).toBe('token.malformed');
    }
  });

  it('token.malformed: JSON that can be read in two ways, or not at all', async () => {
    const header = JSON.stringify(bench.header());
    const payload = JSON.stringify(bench.claims());
    const repeated = payload.replace('{', '{"iss":"https://evil.example.com",');
    const escaped = payload.replace('{', '{"\\u0069ss":"https://evil.example.com",');
    const deep = payload.replace('{', `{"deep":${'['.repeat(5000)}${']'.repeat(5000)},`);
    const wrong: readonly (readonly [string | Buffer, string | Buffer])[] = [
      [header, repeated],
      [header, escaped],
      [header.replace('{', '{"alg":"none",'), payload],
      [header.replace('{', '{"x":{"y":1,"y":2},'), payload],
      [`\ufeff${header}`, payload],
      [header, `\ufeff${payload}`],
      [header, payload.replace('{', '{"big":1e400,')],
      [header, payload.replace(/"exp":\d+/, '"exp":1e400')],
      [header, deep],
      [header, payload.replace('{', '{"lone":"\\ud800",')],
      [
        header,
        Buffer.concat([
          Buffer.from(payload.slice(0, -1)),
          Buffer.from(',"x":"'),
          Buffer.from([0xff]),
          Buffer.from('"}'),
        ]),
      ],
      [header, `${payload} {}`],
      [header, payload.slice(0, -1)],
      [header, `[${payload}]`],
      [header, '"text"'],
      [header, 'null'],
      ['null', payload],
      ['[]', payload],
      [header, ''],
    ];
    for (const [first, second] of wrong) {
      expect(await bench.reasonOf(bench.sign(first, second))).toBe('token.malformed');
    }
  });

  it('__proto__ is a claim like any other and changes nothing', async () => {
    const payload = JSON.stringify(bench.claims());
    const header = JSON.stringify(bench.header());
    const polluted = payload.replace('{', '{"__proto__":{"scope":"admin","polluted":true},');
    const facts = await bench.factsOf(bench.sign(header.replace('{', '{"__proto__":{"crit":["x"]},'), polluted));
    expect(facts.scopes).toEqual(['projects:read', 'builds:write']);
    expect(Object.getPrototypeOf(facts.claims)).toBe(Object.prototype);
    expect(Object.hasOwn(facts.claims, '__proto__')).toBe(true);
    expect((facts.claims as { polluted?: unknown }).polluted).toBeUndefined();
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    // Members that only the prototype would have are missing ones.
    const claims = bench.claims();
    delete claims['jti'];
    const inherited = JSON.stringify(claims).replace('{', '{"__proto__":{"jti":"j"},');
    expect(await bench.reasonOf(bench.sign(header, inherited))).toBe('token.claims');
  });

  it('token.malformed: more than 16 KiB', async () => {
    const token = bench.token({ claims: { padding: 'x'.repeat(12_500) } });
    expect(token.length).toBeGreaterThan(16_384);
    expect(await bench.reasonOf(token)).toBe('token.malformed');
    expect(await bench.reasonOf(bench.token({ claims: { padding: 'x'.repeat(11_000) } }))).toBeNull();
  });
});

describe('RFC 8725 §3.11, §3.12: a JWT of another kind', () => {
  it('token.type: a DPoP proof, an ID token and an introspection answer are no access tokens', async () => {
    const proof = await new SignJWT({ htm: 'GET', htu: 'https://cloud.example.com/v1', jti: 'j' })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: stranger.publicJwk as never })
      .setIssuedAt()
      .sign(stranger.privateKey);
    expect(await bench.reasonOf(proof)).toBe('token.type');
    for (const typ of ['JWT', 'token-introspection+jwt', undefined]) {
      expect(await bench.reasonOf(bench.token({ header: { typ } }))).toBe('token.type');
    }
  });
});
