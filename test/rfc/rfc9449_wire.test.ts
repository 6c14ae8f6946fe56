import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { type MemberCase, spoil } from '../support/mutations.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { NOW, ORIGIN, PATH, type ProofChanges, Wire } from '../support/wire.ts';

/**
 * RFC 9449 as a caller meets it: every check of §4.3 over the wire of a whole gateway, §7 and §11.1. Each case looks at the answer, at what
 * the upstream received, and at the record.
 */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

/** Sends the request and asserts its outcome; reason null: it is allowed. */
async function outcomeIs(reason: string | null, changes: ProofChanges = {}): Promise<void> {
  const outcome = await wire.call(changes);
  if (reason === null) expectAllowed(outcome);
  else expectRefused(outcome, reason);
}

describe('RFC 9449 §4.3 check 1: exactly one DPoP header', () => {
  it('RFC 9449 §4.3 check 1: refuses a request without one', async () => {
    expectRefused(await wire.send({ lines: [`Authorization: DPoP ${wire.token()}`] }), 'proof.missing');
  });

  it.each(['dpop', 'DPOP', 'dPoP'])('RFC 9449 §4.1: the header may be written %s', async (name) => {
    const token = wire.token();
    expectAllowed(await wire.send({ lines: [`Authorization: DPoP ${token}`, `${name}: ${wire.proof(token)}`] }));
  });

  it.each([
    ['two', 2],
    ['three', 3],
  ])('RFC 9449 §4.3 check 1: refuses %s of them, each good', async (_, count) => {
    const token = wire.token();
    const proofs = Array.from({ length: count }, () => `DPoP: ${wire.proof(token)}`);
    expectRefused(await wire.send({ lines: [`Authorization: DPoP ${token}`, ...proofs] }), 'request.proof_repeated');
  });

  it('RFC 9449 §4.3 check 1: refuses the same proof twice, in two cases of the name', async () => {
    const token = wire.token();
    const proof = wire.proof(token);
    const lines = [`DPoP: ${proof}`, `Authorization: DPoP ${token}`, `dpop: ${proof}`];
    expectRefused(await wire.send({ lines }), 'request.proof_repeated');
  });

  it.each([
    ['joined with a comma', (proof: string) => `${proof},${proof}`],
    ['joined with a comma and a space', (proof: string) => `${proof}, ${proof}`],
    ['with a comma behind it', (proof: string) => `${proof},`],
    ['empty', () => ''],
    ['in quotes', (proof: string) => `"${proof}"`],
    ['with its scheme', (proof: string) => `DPoP ${proof}`],
  ])('RFC 9449 §4.3 check 2: refuses a header value that is %s', async (_, spell) => {
    const token = wire.token();
    expectRefused(await wire.send({ lines: wire.lines(token, spell(wire.proof(token))) }), 'proof.malformed');
  });
});

const HEADER: readonly MemberCase[] = [
  ...spoil('typ', 'proof.type'),
  ...spoil('alg', 'proof.algorithm'),
  ...spoil('jwk', 'proof.key'),
  ...spoil('crit', 'proof.critical_header', { missing: null }),
  ...spoil('b64', 'proof.critical_header', { missing: null }),
];

describe('RFC 9449 §4.2, §4.3 checks 2 to 7: members of the header', () => {
  it.each(HEADER)('RFC 9449 §4.3: header, %s', (_, member, value, reason) =>
    outcomeIs(reason, { header: { [member]: value } }),
  );

  it.each(['DPoP+JWT', 'dPoP+jwt', 'application/dpop+jwt'])(
    'RFC 9449 §4.3 check 4: typ %s is the same media type (RFC 7515 §4.1.9)',
    (typ) => outcomeIs(null, { header: { typ } }),
  );

  it.each(['JWT', 'at+jwt', 'dpop', 'jwt+dpop', 'dpop+jwt ', 'text/dpop+jwt', 'dpop+jwt; v=1', 'dpop+jwt\u0000'])(
    'RFC 9449 §4.3 check 4: typ %j is another one',
    (typ) => outcomeIs('proof.type', { header: { typ } }),
  );

  it.each([
    'none',
    'None',
    'NONE',
    'nOnE',
    'HS256',
    'HS512',
    'RS256',
    'ES384',
    'ES256K',
    'es256',
    'ES256 ',
    'dir',
    'ECDH-ES',
  ])('RFC 9449 §4.3 check 5: alg %j is not one that is allowed here', (alg) =>
    outcomeIs('proof.algorithm', { header: { alg } }),
  );

  it.each([
    ['exp', ['exp']],
    ['b64', ['b64']],
    ['an empty list', []],
    ['what nobody knows', ['https://example.com/critical']],
  ])('RFC 7515 §4.1.11: crit with %s is not understood', (_, crit) =>
    outcomeIs('proof.critical_header', { header: { crit, 'https://example.com/critical': 1 } }),
  );

  it('RFC 9449 §4.2: further members of header and payload do not count', () =>
    outcomeIs(null, {
      header: { kid: 'k1', cty: 'json', jku: 'https://evil.example/jwks', x5c: ['AA'], 'https://example.com/h': [1] },
      claims: { sub: 'somebody', aud: ['x'], iss: 7, __proto__x: {}, 'https://example.com/c': null },
    }));
});

const CLAIMS: readonly MemberCase[] = [
  ...spoil('jti', 'proof.claims', { text: null }),
  ...spoil('htm', 'proof.claims', { text: 'proof.method', oversize: 'proof.method' }),
  ...spoil('htu', 'proof.claims', { text: 'proof.target', oversize: 'proof.target' }),
  ...spoil('iat', 'proof.claims', { number: 'proof.too_old' }),
  ...spoil('ath', 'proof.claims', { text: 'proof.token_hash', oversize: 'proof.token_hash' }),
  ...spoil('exp', 'proof.claims', { missing: null, number: 'proof.expired' }),
  ...spoil('nbf', 'proof.claims', { missing: null, number: null }),
  ...spoil('nonce', 'proof.claims', { missing: null, text: null, empty: null, oversize: null }),
];

describe('RFC 9449 §4.2, §4.3 check 3: claims', () => {
  it.each(CLAIMS)('RFC 9449 §4.3 check 3: claim, %s', (_, member, value, reason) =>
    outcomeIs(reason, { claims: { [member]: value } }),
  );

  it.each([
    ['1 byte', 'j', null],
    ['256 bytes', 'j'.repeat(256), null],
    ['257 bytes', 'j'.repeat(257), 'proof.claims'],
    ['256 bytes of two-byte characters', 'é'.repeat(128), null],
    ['258 bytes of two-byte characters', 'é'.repeat(129), 'proof.claims'],
    ['a line break and an escape sequence', '\n\u001b[31mjti', null],
  ])('RFC 9449 §11.1: a jti of %s', (_, jti, reason) => outcomeIs(reason, { claims: { jti } }));
});

describe('RFC 9449 §4.3 check 8: htm is the method', () => {
  it.each(['get', 'Get', 'GET ', ' GET', 'POST', 'HEAD', '*', 'GET,POST'])(
    'RFC 9449 §4.3 check 8: htm %j is not GET',
    (htm) => outcomeIs('proof.method', { claims: { htm } }),
  );

  it('RFC 9449 §4.3 check 8: HEAD needs a proof for HEAD', async () => {
    const outcome = await wire.call({ method: 'HEAD' });
    expectAllowed(outcome);
    const refused = await wire.call({ method: 'HEAD', claims: { htm: 'GET' } });
    expect([refused.answer.status, refused.answer.body, refused.upstream]).toEqual([401, '', []]);
    expect(refused.summary['reason']).toBe('proof.method');
  });

  it('RFC 9449 §4.3 check 8: an overriding method in a header does not count', async () => {
    const token = wire.token();
    const lines = [...wire.lines(token, wire.proof(token, { method: 'DELETE' })), 'X-HTTP-Method-Override: DELETE'];
    expectRefused(await wire.send({ lines }), 'proof.method');
  });
});

describe('RFC 9449 §4.3 check 9: htu is the URI', () => {
  it.each([
    `${ORIGIN}${PATH}?page=2`,
    `${ORIGIN}${PATH}#part`,
    `${ORIGIN}${PATH}?page=2#part`,
    `HTTPS://cloud.example.com${PATH}`,
    `https://Cloud.EXAMPLE.com${PATH}`,
    `https://cloud.example.com:443${PATH}`,
    `https://cloud.example.com:${PATH}`,
    `https://cloud.example.com/v1/projects/%70%31`,
    `https://cloud.example.com/%76%31/project%73/p1`,
    `https://cloud%2Eexample.com${PATH}`,
  ])('RFC 9449 §4.3 check 9: %s names it', (htu) => outcomeIs(null, { claims: { htu } }));

  it.each([
    `https://cloud.example.com/V1/projects/p1`,
    `https://cloud.example.com/v1/projects/P1`,
    `${ORIGIN}${PATH}/`,
    `${ORIGIN}/v1/projects`,
    `${ORIGIN}/v1/projects/p10`,
    `${ORIGIN}`,
    `${ORIGIN}//v1/projects/p1`,
    `${ORIGIN}/v1/projects/./p1`,
    `${ORIGIN}/v1/other/../projects/p1`,
    `${ORIGIN}/v1/projects%2Fp1`,
    `${ORIGIN}/v1/projects/p1%`,
    `${ORIGIN}/v1/projects/p1;v=1`,
    `${ORIGIN}\\v1\\projects\\p1`,
    `http://cloud.example.com${PATH}`,
    `https://cloud.example.com:8443${PATH}`,
    `https://cloud.example.com:80${PATH}`,
    `https://cloud.example.com:0443${PATH}`,
    `https://other.example.com${PATH}`,
    `https://cloud.example.com.evil.example${PATH}`,
    `https://cloud.example.com.${PATH}`,
    `https://user@cloud.example.com${PATH}`,
    `https://user:pass@cloud.example.com${PATH}`,
    `https://evil.example#@cloud.example.com${PATH}`,
    `https://сloud.example.com${PATH}`,
    ` ${ORIGIN}${PATH}`,
    `${ORIGIN}${PATH} `,
    `${ORIGIN}${PATH}\n`,
    `https:cloud.example.com${PATH}`,
    `https:/cloud.example.com${PATH}`,
    `//cloud.example.com${PATH}`,
    `cloud.example.com${PATH}`,
    `ftp://cloud.example.com${PATH}`,
    `urn:cloud:v1`,
    PATH,
    '*',
  ])('RFC 9449 §4.3 check 9: %j names another one', (htu) => outcomeIs('proof.target', { claims: { htu } }));

  it.each(['?', '?x=1', '?x=1&x=2&y=%2F', '?htu=https://evil.example/'])(
    'RFC 9449 §4.3 check 9: a request with the query %s needs no word of it in htu',
    async (query) => {
      const token = wire.token();
      const outcome = await wire.send({ target: PATH + query, lines: wire.lines(token) });
      expectAllowed(outcome);
      expect(outcome.upstream[0]?.target).toBe(PATH + query);
    },
  );

  it('RFC 9449 §4.3 check 9: %62 in the request and b in htu are one URI; the path is sent as it came', async () => {
    const token = wire.token();
    const lines = wire.lines(token, wire.proof(token, { path: '/v1/projects/p1/builds' }));
    const outcome = await wire.send({ target: '/v1/projects/p1/%62uilds', lines });
    expectAllowed(outcome);
    expect(outcome.upstream[0]?.target).toBe('/v1/projects/p1/%62uilds');
  });

  it('RFC 9449 §4.3 check 9: a wrong htu is shown to the holder of the key, beside the right one', async () => {
    const { problem } = await wire.call({ claims: { htu: `http://127.0.0.1:8080${PATH}` } });
    expect(problem).toMatchObject({
      expected: { htu: ORIGIN + PATH },
      seen: { htu: `http://127.0.0.1:8080${PATH}` },
    });
  });

  it('RFC 9449 §4.3 check 9: to others nothing of it is shown', async () => {
    const stranger = await makeKey();
    const changes = {
      key: stranger,
      header: { jwk: wire.jobKey.publicJwk },
      claims: { htu: `https://evil.example${PATH}` },
    };
    const outcome = await wire.call(changes);
    expectRefused(outcome, 'proof.target');
    expect(outcome.answer.head + outcome.answer.body).not.toContain('evil.example');
    expect(outcome.problem).not.toHaveProperty('seen');
  });
});

describe('RFC 9449 §4.3 check 10: nonce', () => {
  it('RFC 9449 §4.3 check 10: where none was given out, none is asked for and any text is ignored', async () => {
    const outcome = await wire.call({ claims: { nonce: 'eyJ7S_zG.eyJH0-Z.HX4w-7v' } });
    expectAllowed(outcome);
    expect(outcome.answer.headers).not.toHaveProperty('dpop-nonce');
  });
});

describe('RFC 9449 §4.3 check 11: time', () => {
  it.each([
    [-60, null],
    [-59.5, null],
    [-10, null],
    [0, null],
    [8, null],
    [10, null],
    [-60.5, 'proof.too_old'],
    [-61, 'proof.too_old'],
    [-3600, 'proof.too_old'],
    [-NOW - 1, 'proof.too_old'],
    [10.5, 'proof.issued_in_future'],
    [11, 'proof.issued_in_future'],
    [60, 'proof.issued_in_future'],
    [NOW * 999, 'proof.issued_in_future'],
  ])('RFC 9449 §4.3 check 11: iat %d seconds from now', (offset, reason) =>
    outcomeIs(reason, { claims: { iat: NOW + offset } }),
  );

  it.each([
    ['exp', 1, null],
    ['exp', 0, 'proof.expired'],
    ['exp', -1, 'proof.expired'],
    ['nbf', 0, null],
    ['nbf', 10, null],
    ['nbf', 11, 'proof.not_yet_valid'],
    ['nbf', 61, 'proof.not_yet_valid'],
  ])('RFC 7519 §4.1: %s %d seconds from now', (claim, offset, reason) =>
    outcomeIs(reason, { claims: { [claim]: NOW + offset } }),
  );

  it('RFC 9449 §4.3 check 11: tells the holder of the key the time of the gateway and the window', async () => {
    const { problem } = await wire.call({ claims: { iat: NOW - 3600 } });
    expect(problem).toMatchObject({
      expected: { server_time: NOW, earliest: NOW - 60, latest: NOW + 10 },
      seen: { iat: NOW - 3600 },
    });
  });
});

describe('RFC 9449 §4.3 check 12: token and key', () => {
  it.each([
    ['of another text', (ath: string) => `${ath.startsWith('A') ? 'B' : 'A'}${ath.slice(1)}`],
    ['with padding', (ath: string) => `${ath}=`],
    ['in hexadecimal', (ath: string) => Buffer.from(ath, 'base64url').toString('hex')],
    ['in base64', (ath: string) => Buffer.from(ath, 'base64url').toString('base64')],
    ['cut short', (ath: string) => ath.slice(0, -1)],
    ['in lower case', (ath: string) => ath.toLowerCase()],
  ])('RFC 9449 §4.3 check 12: refuses an ath %s', async (_, spell) => {
    const token = wire.token();
    const { ath } = wire.proofClaims(token);
    const proof = wire.proof(token, { claims: { ath: spell(ath as string) } });
    expectRefused(await wire.send({ lines: wire.lines(token, proof) }), 'proof.token_hash');
  });

  it('RFC 9449 §4.3 check 12: refuses a good proof for another good token of the same key', async () => {
    const [token, other] = [wire.token(), wire.token()];
    expectRefused(await wire.send({ lines: wire.lines(token, wire.proof(other)) }), 'proof.token_hash');
    expectAllowed(await wire.send({ lines: wire.lines(other) }));
  });

  it('RFC 9449 §4.3 check 12: refuses a proof of another key', async () => {
    await outcomeIs('proof.key_mismatch', { key: await makeKey() });
    await outcomeIs('proof.key_mismatch', { key: await makeKey('EdDSA') });
  });

  it('RFC 9449 §4.3 check 6: refuses a proof of another key that carries the right one in its header', async () => {
    await outcomeIs('proof.signature', { key: await makeKey(), header: { jwk: wire.jobKey.publicJwk } });
  });
});

describe('RFC 9449 §7.1, §7.2: the scheme', () => {
  it.each(['dpop', 'DPOP', 'dPoP'])('RFC 9449 §7.1: %s is the scheme, too', async (scheme) => {
    const token = wire.token();
    expectAllowed(await wire.send({ lines: [`authorization: ${scheme} ${token}`, `DPoP: ${wire.proof(token)}`] }));
  });

  it('RFC 9449 §7.1: refuses an unbound token with a proof', async () => {
    const token = wire.token({ claims: { cnf: undefined } });
    expectRefused(await wire.send({ lines: wire.lines(token) }), 'proof.unbound_token');
  });

  it.each([
    ['alone', () => []],
    ['with a good proof', (token: string) => [`DPoP: ${wire.proof(token)}`]],
    ['with two proofs', (token: string) => [`DPoP: ${wire.proof(token)}`, `DPoP: ${wire.proof(token)}`]],
  ])('RFC 9449 §7.2: refuses a bound token under Bearer, %s', async (_, proofs) => {
    const token = wire.token();
    const outcome = await wire.send({ lines: [`Authorization: Bearer ${token}`, ...proofs(token)] });
    if (proofs(token).length > 1) expectRefused(outcome, 'request.proof_repeated');
    else expectRefused(outcome, 'proof.bound_token_as_bearer');
  });
});

describe('RFC 9449 §11.1: a proof is used once', () => {
  const send = (token: string, proof: string) => wire.send({ lines: wire.lines(token, proof) });

  it('RFC 9449 §11.1: refuses it the second time, and every time after that', async () => {
    const token = wire.token();
    const proof = wire.proof(token);
    expectAllowed(await send(token, proof));
    for (let n = 0; n < 3; n++) expectRefused(await send(token, proof), 'proof.replayed');
  });

  it('RFC 9449 §11.1: a new proof with a used jti is a replay, also for another path and another token', async () => {
    const claims = { jti: 'used-once' };
    expectAllowed(await wire.call({ claims }));
    expectRefused(await wire.call({ claims, path: '/v1/projects/p1/builds' }), 'proof.replayed');
    expectRefused(await wire.call({ claims: { ...claims, iat: NOW + 5 } }), 'proof.replayed');
  });

  it('RFC 9449 §11.1: the jti of one key is free to another', async () => {
    const other = await makeKey();
    const token = wire.token({ claims: { cnf: { jkt: other.thumbprint } } });
    const claims = { jti: 'of-two-keys' };
    expectAllowed(await wire.call({ claims }));
    expectAllowed(await wire.send({ lines: wire.lines(token, wire.proof(token, { key: other, claims })) }));
  });

  it.each<[string, ProofChanges]>([
    ['for another path', { path: '/v1/projects/p2' }],
    ['for another method', { claims: { htm: 'POST' } }],
    ['without an iat', { claims: { iat: undefined } }],
    ['too old', { claims: { iat: NOW - 100 } }],
    ['for another token', { claims: { ath: 'x' } }],
  ])('RFC 9449 §11.1: a proof that was refused, %s, burns no jti', async (_, changes) => {
    const jti = `unburnt ${_}`;
    const token = wire.token();
    const refused = wire.proof(token, { ...changes, claims: { ...changes.claims, jti } });
    expect((await send(token, refused)).answer.status).toBe(401);
    expectAllowed(await send(token, wire.proof(token, { claims: { jti } })));
  });

  it('RFC 9449 §11.1: a proof dated ahead is remembered until its window has closed', async () => {
    const token = wire.token();
    const proof = wire.proof(token, { claims: { iat: NOW + 10 } });
    expectAllowed(await send(token, proof));
    const seen = new Set<unknown>();
    for (let second = 1; second <= 90; second++) {
      wire.now = NOW + second;
      const { summary, upstream } = await send(token, proof);
      expect(upstream).toEqual([]);
      seen.add(summary['reason']);
    }
    wire.now = NOW;
    expect([...seen]).toEqual(['proof.replayed', 'proof.too_old']);
  });

  it('RFC 9449 §11.1: what the policy refused has used its proof', async () => {
    const token = wire.token({ claims: { scope: 'builds:read' } });
    const proof = wire.proof(token);
    expectRefused(await send(token, proof), 'policy.insufficient_scope');
    expectRefused(await send(token, proof), 'proof.replayed');
  });
});

describe('RFC 9449 §4.3 check 5: other keys', () => {
  const keys = new Map<string, TestKey>();
  beforeAll(async () => {
    for (const alg of ['PS256', 'EdDSA', 'RS256', 'ES384']) keys.set(alg, await makeKey(alg));
  });

  async function withKey(alg: string, changes: ProofChanges = {}) {
    const key = keys.get(alg) as TestKey;
    const token = wire.token({ claims: { cnf: { jkt: key.thumbprint } } });
    return wire.send({ lines: wire.lines(token, wire.proof(token, { key, ...changes })) });
  }

  it.each(['PS256', 'EdDSA'])('RFC 9449 §4.3 check 5: %s is allowed', async (alg) => {
    expectAllowed(await withKey(alg));
    expectRefused(await withKey(alg, { key: await makeKey(alg) }), 'proof.key_mismatch');
  });

  it('RFC 9864 §2.2: Ed25519 is EdDSA by its new name', async () => {
    expectAllowed(await withKey('EdDSA', { header: { alg: 'Ed25519' } }));
  });

  it.each(['RS256', 'ES384'])('RFC 9449 §4.3 check 5: %s is refused unless configured', async (alg) => {
    expectRefused(await withKey(alg), 'proof.algorithm');
  });

  it('RFC 9449 §4.3 check 6: a signature of one RSA padding is none of the other', async () => {
    const { privateKey } = keys.get('RS256') as TestKey;
    expect(privateKey.algorithm.name).toBe('RSASSA-PKCS1-v1_5');
    expectRefused(await withKey('RS256', { header: { alg: 'PS256' } }), 'proof.signature');
  });
});
