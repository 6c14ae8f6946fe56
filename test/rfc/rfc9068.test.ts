import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKey } from '../support/issuer.ts';
import { JKT, NOW, published, RESOURCE, TokenBench } from '../token/fixture.ts';

let bench: TokenBench;

beforeAll(async () => {
  bench = await TokenBench.start();
});

afterAll(async () => {
  await bench.stop();
});

describe('RFC 9068 §2, §4: a good access token', () => {
  it('RFC 9068 §2.2: passes, and every claim reaches its place', async () => {
    const details = [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' }];
    const claims = { authorization_details: details, act: { sub: 'engine' }, jti: 'j-1', auth_time: NOW - 60 };
    const token = await bench.factsOf(bench.token({ claims }));
    expect(token).toEqual({
      kind: 'jwt',
      digest: expect.stringMatching(/^[\w-]{43}$/),
      issuer: bench.server.issuer,
      subject: 'wf-4711',
      clientId: 'wf-4711',
      audience: [RESOURCE],
      jti: 'j-1',
      issuedAt: NOW - 5,
      expiresAt: NOW + 300,
      scopes: ['projects:read', 'builds:write'],
      authorizationDetails: details,
      confirmation: { jkt: JKT },
      job: null,
      clientAuthMethod: null,
      claims: { act: { sub: 'engine' }, auth_time: NOW - 60 },
    });
  });

  it.each(['at+jwt', 'AT+JWT', 'at+JWT', 'application/at+jwt', 'Application/At+Jwt'])(
    'RFC 9068 §4, RFC 7515 §4.1.9: takes typ %s',
    async (typ) => {
      expect(await bench.reasonOf(bench.token({ header: { typ } }))).toBeNull();
    },
  );

  it.each([
    ['one text', RESOURCE],
    ['an array', [RESOURCE]],
    ['an array with others', ['https://other.example.com', RESOURCE]],
  ])('RFC 9068 §3: takes an audience that is %s', async (_, aud) => {
    expect(await bench.reasonOf(bench.token({ claims: { aud } }))).toBeNull();
  });

  it('takes members and claims it does not know', async () => {
    const changes = { header: { extra: [1, { a: null }] }, claims: { 'https://example.com/extra': { deep: [1] } } };
    expect(await bench.reasonOf(bench.token(changes))).toBeNull();
  });

  it.each(['ES256', 'PS256', 'EdDSA', 'Ed25519', 'RS256', 'ES384', 'ES512', 'PS512'])(
    'RFC 9068 §2.1: takes %s where the issuer may use it',
    async (alg) => {
      const other = await TokenBench.start(
        (server) => ({
          issuers: [
            {
              issuer: server.issuer,
              algorithms: [alg as 'ES256'],
              allow_insecure: false,
              keys: { timeout_ms: 5000, max_age_seconds: 600, stale_seconds: 600, cooldown_seconds: 30 },
            },
          ],
        }),
        alg,
      );
      try {
        expect(await other.reasonOf(other.token())).toBeNull();
      } finally {
        await other.stop();
      }
    },
  );
});

/** The wrong values of one member: every JSON type, nothing, and too much. */
const WRONG: readonly (readonly [string, unknown])[] = [
  ['missing', undefined],
  ['null', null],
  ['a number', 42],
  ['a negative number', -1],
  ['a text', 'text'],
  ['true', true],
  ['an array', []],
  ['an array of a text', ['text']],
  ['an array of an array', [['text']]],
  ['an object', {}],
  ['an empty text', ''],
  ['a text of 5,000 characters', 'x'.repeat(5000)],
];

const OK = null;
/** What each member answers where it is not simply refused with its reason; the other cells are. */
const MEMBERS: Readonly<Record<string, { reason: string; except?: Readonly<Record<string, string | null>> }>> = {
  iss: { reason: 'token.issuer_unknown' },
  sub: { reason: 'token.claims', except: { 'a text': OK } },
  client_id: { reason: 'token.claims', except: { 'a text': OK } },
  jti: { reason: 'token.claims', except: { 'a text': OK } },
  aud: { reason: 'token.claims', except: { 'a text': 'token.audience', 'an array of a text': 'token.audience' } },
  exp: { reason: 'token.claims', except: { 'a number': 'token.expired' } },
  iat: { reason: 'token.claims', except: { 'a number': OK } },
  nbf: { reason: 'token.claims', except: { missing: OK, 'a number': OK } },
  scope: {
    reason: 'token.claims',
    except: { missing: OK, 'a text': OK, 'a text of 5,000 characters': OK },
  },
  cnf: { reason: 'token.confirmation', except: { missing: OK } },
  authorization_details: { reason: 'token.authorization_details', except: { missing: OK, 'an array': OK } },
  job: { reason: 'token.claims', except: { missing: OK, 'an object': OK } },
};

describe.each(Object.entries(MEMBERS))('RFC 9068 §2.2: the claim %s', (name, { reason, except }) => {
  it.each(WRONG)('%s', async (form, value) => {
    const expected = except !== undefined && form in except ? except[form] : reason;
    expect(await bench.reasonOf(bench.token({ claims: { [name]: value } }))).toBe(expected);
  });
});

const HEADER_MEMBERS: typeof MEMBERS = {
  typ: { reason: 'token.type' },
  alg: { reason: 'token.algorithm' },
  kid: {
    reason: 'token.malformed',
    except: { missing: OK, 'a text': 'token.key_unknown', 'an empty text': 'token.key_unknown' },
  },
  crit: { reason: 'token.critical_header', except: { missing: OK } },
  b64: { reason: 'token.critical_header', except: { missing: OK } },
};

describe.each(Object.entries(HEADER_MEMBERS))(
  'RFC 9068 §4, RFC 7515 §4.1: the header member %s',
  (name, { reason, except }) => {
    it.each(WRONG)('%s', async (form, value) => {
      const expected = except !== undefined && form in except ? except[form] : reason;
      expect(await bench.reasonOf(bench.token({ header: { [name]: value } }))).toBe(expected);
    });
  },
);

describe('RFC 9068 §4: refusals', () => {
  it.each([
    'jwt',
    'JWT',
    'dpop+jwt',
    'secevent+jwt',
    'logout+jwt',
    'token-introspection+jwt',
    'at',
    'at+jwt ',
    'a/at+jwt',
  ])('token.type: typ %s', async (typ) => {
    expect(await bench.reasonOf(bench.token({ header: { typ } }))).toBe('token.type');
  });

  it('token.issuer_unknown: an issuer that differs in one byte is another issuer', async () => {
    const { issuer } = bench.server;
    for (const iss of [`${issuer}/`, issuer.toUpperCase(), ` ${issuer}`, 'https://as.example.com', '__proto__']) {
      expect(await bench.reasonOf(bench.token({ claims: { iss } }))).toBe('token.issuer_unknown');
    }
  });

  it('token.audience: a resource that differs in one byte is another resource', async () => {
    for (const aud of [
      `${RESOURCE}/`,
      'https://cloud.example.com',
      `${RESOURCE}2`,
      RESOURCE.toUpperCase(),
      [` ${RESOURCE}`],
    ]) {
      expect(await bench.reasonOf(bench.token({ claims: { aud } }))).toBe('token.audience');
    }
  });

  it('token.claims: more audiences than a token may have, or one that is not a text', async () => {
    const many = Array.from({ length: 101 }, () => RESOURCE);
    for (const aud of [many, [RESOURCE, 1], [RESOURCE, null], [RESOURCE, '']]) {
      expect(await bench.reasonOf(bench.token({ claims: { aud } }))).toBe('token.claims');
    }
  });

  it('token.expired: at exp and after it, without leeway', async () => {
    for (const [exp, reason] of [
      [NOW - 1, 'token.expired'],
      [NOW, 'token.expired'],
      [NOW + 0.001, null],
      [NOW + 1, null],
      [0, 'token.expired'],
    ] as const) {
      expect(await bench.reasonOf(bench.token({ claims: { exp } }))).toBe(reason);
    }
  });

  it('token.not_yet_valid: nbf and iat up to ten seconds ahead pass, further ahead they do not', async () => {
    for (const name of ['nbf', 'iat']) {
      for (const [ahead, reason] of [
        [8, null],
        [10, null],
        [11, 'token.not_yet_valid'],
        [61, 'token.not_yet_valid'],
      ] as const) {
        expect(await bench.reasonOf(bench.token({ claims: { [name]: NOW + ahead } }))).toBe(reason);
      }
    }
  });

  it('token.claims: times that are not seconds', async () => {
    for (const exp of [(NOW + 300) * 1000, 1e300, Number.MAX_SAFE_INTEGER, '1795376300', true, [NOW + 300]]) {
      expect(await bench.reasonOf(bench.token({ claims: { exp } }))).toBe('token.claims');
    }
  });

  it('token.claims: a scope that RFC 6749 §3.3 does not allow', async () => {
    for (const scope of ['a  b', ' a', 'a ', ' ', 'a"b', 'a\\b', 'a\tb', 'a\nb', 'é', 'a,b\u0000']) {
      expect(await bench.reasonOf(bench.token({ claims: { scope } }))).toBe('token.claims');
    }
  });

  it('token.claims: a client_id outside RFC 6749 appendix A.1', async () => {
    for (const client_id of ['wf\n4711', 'wf\u0000', 'wf-é']) {
      expect(await bench.reasonOf(bench.token({ claims: { client_id } }))).toBe('token.claims');
    }
  });

  it('RFC 9396 §2 token.authorization_details: items without a type', async () => {
    for (const item of [
      null,
      'cloud_api',
      1,
      [],
      {},
      { type: '' },
      { type: 1 },
      { type: null },
      { type: ['cloud_api'] },
    ]) {
      const claims = { authorization_details: [{ type: 'cloud_api' }, item] };
      expect(await bench.reasonOf(bench.token({ claims }))).toBe('token.authorization_details');
    }
    expect(await bench.reasonOf(bench.token({ claims: { authorization_details: { type: 'cloud_api' } } }))).toBe(
      'token.authorization_details',
    );
  });

  it('token.malformed: 10,000 authorization_details do not fit a token', async () => {
    const authorization_details = Array.from({ length: 10_000 }, () => ({ type: 'a' }));
    expect(await bench.reasonOf(bench.token({ claims: { authorization_details } }))).toBe('token.malformed');
  });

  it('token.signature: another key with the kid of the issuer', async () => {
    const stranger = await makeKey('ES256');
    expect(await bench.reasonOf(bench.token({}, stranger))).toBe('token.signature');
  });

  it('token.key_unknown: a kid that the issuer does not publish', async () => {
    const stranger = await makeKey('ES256');
    const token = bench.token({ header: { kid: 'other' } }, stranger);
    expect(await bench.reasonOf(token)).toBe('token.key_unknown');
  });
});

describe('RFC 9068 §4: the order of refusals', () => {
  it('each reason stands before the next when everything after it is wrong too', async () => {
    const stranger = await makeKey('ES256');
    const header: Record<string, unknown> = { typ: 'jwt', alg: 'HS256', crit: ['x'], kid: 'other' };
    const claims: Record<string, unknown> = {
      iss: 'https://evil.example.com',
      sub: 1,
      aud: 'https://other.example.com',
      exp: NOW - 1,
      cnf: null,
      authorization_details: 1,
    };
    const seen: (string | null)[] = [await bench.reasonOf(`${bench.token({ header, claims }, stranger)}=`)];
    let key = stranger;
    const repairs: (() => void)[] = [
      () => undefined,
      () => delete header['typ'],
      () => delete header['alg'],
      () => delete header['crit'],
      () => delete claims['iss'],
      () => delete header['kid'],
      () => {
        key = bench.key;
      },
      () => delete claims['sub'],
      () => delete claims['aud'],
      () => delete claims['exp'],
      () => delete claims['cnf'],
      () => delete claims['authorization_details'],
    ];
    for (const repair of repairs) {
      repair();
      seen.push(await bench.reasonOf(bench.token({ header, claims }, key)));
    }
    expect(seen).toEqual([
      'token.malformed',
      'token.type',
      'token.algorithm',
      'token.critical_header',
      'token.issuer_unknown',
      'token.key_unknown',
      'token.signature',
      'token.claims',
      'token.audience',
      'token.expired',
      'token.confirmation',
      'token.authorization_details',
      null,
    ]);
  });

  it('what a refusal tells of an unverified token is one short printable line', async () => {
    const forged = 'https://evil.example.com/\n{"level":"fatal"}\u001b[31m';
    for (const token of [
      bench.token({ claims: { iss: forged } }),
      bench.token({ header: { kid: forged } }),
      bench.token({ header: { typ: forged } }),
      bench.token({ header: { alg: forged } }),
    ]) {
      const checked = await bench.verify(token);
      expect(checked).toMatchObject({ ok: false });
      if (!checked.ok) expect(checked.denial.note ?? '').toMatch(/^[\x20-\x7e]{0,300}$/);
      if (!checked.ok) expect(checked.denial.note).not.toContain('fatal');
    }
  });
});

describe('RFC 9068 §4: tokens without a kid', () => {
  it('the one fitting key is taken', async () => {
    expect(await bench.reasonOf(bench.token({ header: { kid: undefined } }))).toBeNull();
  });

  it('token.signature: no key of the issuer made the signature', async () => {
    const stranger = await makeKey('ES256');
    expect(await bench.reasonOf(bench.token({ header: { kid: undefined } }, stranger))).toBe('token.signature');
  });

  it('each of a few fitting keys is tried, of many none is guessed', async () => {
    const keys = await Promise.all(Array.from({ length: 5 }, () => makeKey('ES256')));
    const other = await TokenBench.start((server) => {
      server.keys = keys.slice(0, 4).map((key) => published(key) as never);
      return {};
    });
    try {
      const header = { kid: undefined };
      expect(await other.reasonOf(other.token({ header }, keys[3]))).toBeNull();
      expect(await other.reasonOf(other.token({ header }, keys[4]))).toBe('token.signature');
      other.server.keys = keys.map((key) => published(key) as never);
      other.now += 601_000;
      expect(await other.reasonOf(other.token({ header, claims: { exp: NOW + 900 } }, keys[0]))).toBeNull();
      await other.verifier.settled();
      expect(await other.reasonOf(other.token({ header, claims: { exp: NOW + 900 } }, keys[4]))).toBe(
        'token.key_unknown',
      );
    } finally {
      await other.stop();
    }
  });
});
