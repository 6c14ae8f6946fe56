import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REASONS } from '../../src/kernel/reasons.ts';
import { sha256Base64url } from '../../src/oauth/thumbprint.ts';
import { sendJson } from '../support/key_server.ts';
import { contextOf, JKT, NOW, RESOURCE } from '../token/fixture.ts';
import { CLIENT_ID, IntrospectionBench } from '../token/introspection_fixture.ts';

let bench: IntrospectionBench;

beforeEach(async () => {
  bench = await IntrospectionBench.start();
});

afterEach(async () => {
  await bench.stop();
});

describe('RFC 7662 §2.1: the question', () => {
  it('RFC 7662 §2.1: a POST of a form with the token and a hint, asking for JSON', async () => {
    const token = bench.token();
    expect(await bench.reasonOf(token)).toBeNull();
    expect(bench.questions).toHaveLength(1);
    const [{ form, headers, method }] = bench.questions as [(typeof bench.questions)[0]];
    expect(method).toBe('POST');
    expect(headers['content-type']).toBe('application/x-www-form-urlencoded');
    expect(headers.accept).toBe('application/json');
    expect(headers.authorization).toBeUndefined();
    expect([...form.keys()].sort()).toEqual([
      'client_assertion',
      'client_assertion_type',
      'client_id',
      'token',
      'token_type_hint',
    ]);
    expect(form.get('token')).toBe(token);
    expect(form.get('token_type_hint')).toBe('access_token');
  });

  it('RFC 7662 §2.1, RFC 7523 §3: authenticated by an assertion of its own each time, for this issuer only', async () => {
    for (const token of [bench.token(), bench.token()]) expect(await bench.reasonOf(token)).toBeNull();
    const assertions = await Promise.all(bench.questions.map((question) => bench.assertionOf(question)));
    expect(new Set(assertions.map(({ jti }) => jti)).size).toBe(2);
    for (const [index, assertion] of assertions.entries()) {
      expect(assertion['aud']).toBe(bench.server.issuer);
      expect(assertion['iat']).toBe(NOW);
      expect(bench.questions[index]?.form.get('client_id')).toBe(CLIENT_ID);
      expect(bench.questions[index]?.form.get('client_assertion_type')).toBe(
        'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      );
    }
  });

  it('RFC 7662 §2.1: a token is sent as it is, whatever characters it has', async () => {
    const token = 'Kz~8mXK1.EalYznwH-LC+1fBAo/4Ljp.x_==';
    bench.known.set(token, bench.active());
    expect(await bench.reasonOf(token)).toBeNull();
    expect(bench.questions[0]?.form.get('token')).toBe(token);
  });

  it('RFC 7662 §2.1: a JWT is not asked about, well-formed or not', async () => {
    const jwt = bench.jwt();
    expect(await bench.reasonOf(jwt)).toBeNull();
    const [header, payload, signature] = jwt.split('.');
    const spelled = Buffer.from(`  ${Buffer.from(String(header), 'base64url')}`).toString('base64');
    for (const spoiled of [
      `${header}.${payload}.AAAA`,
      `${header}..${signature}`,
      `${header}.${payload}.`,
      `${header}=.${payload}.${signature}`,
      `${spelled}.${payload}.${signature}`,
    ]) {
      bench.known.set(spoiled, bench.active());
      expect(await bench.reasonOf(spoiled)).toMatch(/^token\.(malformed|signature)$/);
    }
    expect(bench.questions).toHaveLength(0);
  });
});

describe('RFC 7662 §2.2: the answer', () => {
  it('RFC 7662 §2.2: what it says is what the policy learns', async () => {
    const details = [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' }];
    const token = bench.token({
      jti: 'j-1',
      aud: ['https://other.example.com', RESOURCE],
      nbf: NOW - 5,
      username: 'deploy',
      authorization_details: details,
      job: { provider: 'github', claims: { repository: 'acme/infra' } },
      client_auth_method: 'private_key_jwt',
      ext: { team: 'infra' },
    });
    expect(await bench.factsOf(token)).toEqual({
      kind: 'opaque',
      digest: sha256Base64url(token),
      issuer: bench.server.issuer,
      subject: 'wf-4711',
      clientId: 'wf-4711',
      audience: ['https://other.example.com', RESOURCE],
      jti: 'j-1',
      issuedAt: NOW - 5,
      expiresAt: NOW + 300,
      scopes: ['projects:read', 'builds:write'],
      authorizationDetails: details,
      confirmation: { jkt: JKT },
      job: expect.objectContaining({ provider: 'github', repository: 'acme/infra' }),
      clientAuthMethod: 'private_key_jwt',
      claims: { username: 'deploy', ext: { team: 'infra' } },
    });
  });

  it('RFC 7662 §2.2: what it may leave out is completed on the safe side', async () => {
    const token = bench.token({
      sub: undefined,
      jti: undefined,
      iat: undefined,
      iss: undefined,
      scope: undefined,
      token_type: undefined,
    });
    const facts = await bench.factsOf(token);
    expect(facts).toMatchObject({ subject: 'wf-4711', issuer: bench.server.issuer, issuedAt: 0, scopes: [] });
    expect(facts.jti).toBe(facts.digest);
  });

  it.each([undefined, null, 1, 0, 'true', 'false', '', [], [true], {}])(
    'RFC 7662 §2.2: token.introspection_unavailable: active is %j',
    async (active) => {
      expect(await bench.reasonFor({ active })).toBe('token.introspection_unavailable');
    },
  );

  it.each([{}, { exp: NOW + 300, client_id: 'wf-4711', aud: RESOURCE }])(
    'RFC 7662 §2.2: token.inactive: active is false, with the members %j beside it',
    async (members) => {
      const token = bench.token();
      bench.known.set(token, { active: false, ...members });
      const checked = await bench.verify(token);
      expect(checked).toMatchObject({ ok: false, denial: { reason: 'token.inactive' } });
      expect(REASONS['token.inactive']).toMatchObject({ status: 401, error: 'invalid_token' });
    },
  );

  it('RFC 7662 §2.2: token.inactive: a token that the issuer does not know', async () => {
    expect(await bench.reasonOf('unknown')).toBe('token.inactive');
  });

  it.each([
    ['token.issuer_unknown', { iss: 'https://elsewhere.example.com' }],
    ['token.audience', { aud: 'https://other.example.com' }],
    ['token.audience', { aud: [`${RESOURCE}/`] }],
    ['token.audience', { aud: undefined }],
    ['token.claims', { exp: undefined }],
    ['token.claims', { client_id: undefined }],
    ['token.expired', { exp: NOW }],
    ['token.expired', { exp: NOW - 1 }],
    ['token.not_yet_valid', { nbf: NOW + 11 }],
    ['token.not_yet_valid', { iat: NOW + 11 }],
    ['token.type', { token_type: 'refresh_token' }],
    ['token.type', { token_type: 'N_A' }],
    ['token.type', { token_type: '' }],
  ] as const)('RFC 7662 §2.2: %s: a good answer that says %j', async (reason, changes) => {
    expect(await bench.reasonFor(changes)).toBe(reason);
  });

  const wrong: Record<string, unknown[]> = {
    iss: [null, 1, [], {}],
    aud: [null, 1, {}, '', [], [1], [RESOURCE, null]],
    exp: [null, String(NOW + 300), -1, [], {}, 1e15, true],
    iat: [null, String(NOW), -1, {}],
    nbf: [null, String(NOW), []],
    sub: [null, 1, '', [], {}, 'x'.repeat(1025)],
    client_id: [null, 1, '', [], 'a\nb', 'é'],
    jti: [null, 1, '', []],
    scope: [null, 1, [], ['a'], 'a  b', ' a', 'a"b'],
    token_type: [null, 1, [], {}],
    cnf: [null, 'x', 1, []],
    authorization_details: [null, 'x', {}, [1], [{}], [{ type: 1 }]],
    job: [null, 'github', []],
    client_auth_method: [null, 1],
  };
  it.each(Object.entries(wrong).flatMap(([name, values]) => values.map((value) => [name, value] as const)))(
    'RFC 7662 §2.2: token.introspection_unavailable: no well-formed answer has %s %j',
    async (name, value) => {
      expect(await bench.reasonFor({ [name]: value })).toBe('token.introspection_unavailable');
    },
  );

  it.each([{}, { kid: 'x' }, { jkt: JKT, other: 1 }, { jkt: 1 }, { jkt: 'short' }, { 'x5t#S256': '' }, { jwk: {} }])(
    'RFC 7800 §3.1: token.confirmation: cnf is %j',
    async (cnf) => {
      expect(await bench.reasonFor({ cnf, token_type: undefined })).toBe('token.confirmation');
    },
  );

  it('RFC 9449 §6.2: token.confirmation: a DPoP token whose key was lost on the way does not become a bearer token', async () => {
    expect(await bench.reasonFor({ cnf: undefined })).toBe('token.confirmation');
    expect(await bench.reasonFor({ cnf: undefined, token_type: 'dpop' })).toBe('token.confirmation');
    expect(await bench.reasonFor({ cnf: { 'x5t#S256': JKT } })).toBe('token.confirmation');
  });

  it('RFC 8705 §3.2: a certificate-bound token is one of type Bearer', async () => {
    const facts = await bench.factsOf(bench.token({ token_type: 'Bearer', cnf: { 'x5t#S256': JKT } }));
    expect(facts.confirmation).toEqual({ x5tS256: JKT });
  });
});

describe('RFC 7662 §2.3: refusals of the endpoint', () => {
  it.each([400, 401, 403, 404, 429, 500, 503])(
    'RFC 7662 §2.3: token.introspection_unavailable: status %d, whatever the body says',
    async (status) => {
      const token = bench.token();
      bench.onQuestion((_, response) => sendJson(response, bench.active(), status));
      expect(await bench.verify(token)).toMatchObject({
        ok: false,
        denial: { reason: 'token.introspection_unavailable' },
      });
      expect(REASONS['token.introspection_unavailable']).toMatchObject({ status: 503, error: null });
      bench.restore();
      expect(await bench.reasonOf(token)).toBeNull();
    },
  );
});

describe('RFC 7662 §4: answers are remembered', () => {
  it('RFC 7662 §4: for cache_seconds, at once, and then asked for again', async () => {
    const token = bench.token();
    const facts = await bench.factsOf(token);
    bench.now += 29_999;
    const second = bench.verifier.verify(contextOf(token));
    expect(second).not.toBeInstanceOf(Promise);
    expect(second).toMatchObject({ ok: true });
    if (!(second instanceof Promise) && second.ok) expect(second.value).toBe(facts);
    expect(bench.questions).toHaveLength(1);
    bench.known.delete(token);
    bench.now += 1;
    expect(await bench.reasonOf(token)).toBe('token.inactive');
    expect(bench.questions).toHaveLength(2);
  });

  it('RFC 7662 §4: never past exp, also when the issuer goes on calling it active', async () => {
    const token = bench.token({ exp: NOW + 10 });
    expect(await bench.reasonOf(token)).toBeNull();
    bench.now = (NOW + 10) * 1000 - 1;
    expect(bench.verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    bench.now = (NOW + 10) * 1000;
    expect(await bench.reasonOf(token)).toBe('token.expired');
  });

  it('RFC 7662 §4: a clock that was set back makes no answer younger', async () => {
    const token = bench.token({ iat: NOW - 7200 });
    expect(await bench.reasonOf(token)).toBeNull();
    bench.known.delete(token);
    bench.now -= 3_600_000;
    expect(await bench.reasonOf(token)).toBe('token.inactive');
  });

  it('RFC 7662 §4: cache_seconds 0: every request asks', async () => {
    const token = bench.token();
    const verifier = bench.another({ issuers: [bench.config({ introspection: { cache_seconds: 0 } })] });
    for (let round = 1; round <= 3; round++) {
      expect(await verifier.verify(contextOf(token))).toMatchObject({ ok: true });
      expect(bench.questions).toHaveLength(round);
    }
    bench.known.delete(token);
    for (let round = 4; round <= 5; round++) {
      expect(await verifier.verify(contextOf(token))).toMatchObject({ denial: { reason: 'token.inactive' } });
      expect(bench.questions).toHaveLength(round);
    }
    expect(verifier.stats().entries).toBe(0);
  });

  it('token.audience: an answer for one route is none for another, whichever came first', async () => {
    const other = 'https://other.example.com';
    const token = bench.token();
    expect(await bench.reasonOf(token)).toBeNull();
    expect(await bench.reasonOf(token, other)).toBe('token.audience');
    const second = bench.token();
    expect(await bench.reasonOf(second, other)).toBe('token.audience');
    expect(await bench.reasonOf(second)).toBeNull();
  });

  it('each route asks for itself, and each token is judged by its own answer', async () => {
    const token = bench.token();
    const elsewhere = contextOf(token);
    const other = { ...elsewhere, route: { ...elsewhere.route, name: 'other' } };
    expect(await bench.reasonOf(token)).toBeNull();
    expect(await bench.verifier.verify(other)).toMatchObject({ ok: true });
    expect(bench.questions).toHaveLength(2);
    expect(await bench.reasonOf(`${token}x`)).toBe('token.inactive');
  });

  it('token.inactive: an unknown token costs one question in five seconds', async () => {
    for (let round = 0; round < 20; round++) expect(await bench.reasonOf('unknown')).toBe('token.inactive');
    expect(bench.questions).toHaveLength(1);
    bench.known.set('unknown', bench.active());
    bench.now += 4999;
    expect(await bench.reasonOf('unknown')).toBe('token.inactive');
    bench.now += 1;
    expect(await bench.reasonOf('unknown')).toBeNull();
    expect(bench.questions).toHaveLength(2);
  });
});

describe('RFC 7662 §4: many ask at once', () => {
  it('the same token on the same route: one question, one answer for all', async () => {
    const token = bench.token();
    const answers = await Promise.all(Array.from({ length: 50 }, () => bench.verify(token)));
    expect(bench.questions).toHaveLength(1);
    const [first] = answers;
    expect(first).toMatchObject({ ok: true });
    for (const answer of answers) expect(answer).toEqual(first);
  });

  it('different tokens, and a route with another resource: nobody gets what was said to another', async () => {
    const tokens = Array.from({ length: 40 }, (_, index) => bench.token({ sub: `wf-${index}` }));
    const order = [...tokens, ...tokens];
    const answers = await Promise.all([
      ...order.map((token) => bench.verify(token)),
      ...tokens.map((token) => bench.verify(token, 'https://other.example.com')),
    ]);
    const expected = tokens.map((_, index) => `wf-${index}`);
    expect(answers.slice(0, 80).map((answer) => (answer.ok ? answer.value.subject : null))).toEqual([
      ...expected,
      ...expected,
    ]);
    for (const answer of answers.slice(80)) expect(answer).toMatchObject({ denial: { reason: 'token.audience' } });
  });

  it('a flood of unknown tokens costs the issuer so many questions at a time, and remembered tokens nothing', async () => {
    const token = bench.token();
    const verifier = bench.another({ issuers: [bench.config({ introspection: { connections: 4 } })] });
    expect(await verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    let underWay = 0;
    let most = 0;
    bench.onQuestion((_, response) => {
      underWay++;
      most = Math.max(most, underWay);
      setTimeout(() => {
        underWay--;
        sendJson(response, { active: false });
      }, 2);
    });
    const flood = Array.from({ length: 200 }, (_, index) => verifier.verify(contextOf(`unknown-${index}`)));
    for (let round = 0; round < 20; round++) {
      expect(verifier.verify(contextOf(token))).toMatchObject({ ok: true });
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const answer of await Promise.all(flood)) {
      expect(answer).toMatchObject({ ok: false });
      if (!answer.ok) expect(answer.denial.reason).toMatch(/^token\.(inactive|introspection_unavailable)$/);
    }
    expect(most).toBe(3); // The fourth is kept for tokens that were active before.
  });

  it('a flood of unknown tokens keeps none waiting that was active before, when it is asked about again', async () => {
    const token = bench.token();
    const verifier = bench.another({ issuers: [bench.config({ introspection: { connections: 4 } })] });
    expect(await verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    const asked = bench.questions.length;
    bench.onQuestion((_, response) => {
      const isKnown = bench.questions.at(-1)?.form.get('token') === token;
      setTimeout(sendJson, 20, response, isKnown ? bench.active() : { active: false });
    });
    const flood = Array.from({ length: 1500 }, (_, index) => verifier.verify(contextOf(`unknown-${index}`)));
    bench.now += 31_000;
    expect(await verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    // Of the flood hardly anything was asked by then: the known token went first.
    expect(bench.questions.length - asked).toBeLessThan(40);
    await Promise.all(flood);
    // 1 s at most, of which half may be waited: 3 places, 20 ms each.
    expect(bench.questions.length - asked).toBeLessThan(200);
  });

  it('questions about tokens that were never active go no faster than configured', async () => {
    const introspection = { connections: 100, new_tokens_per_second: 20, timeout_ms: 400 };
    const verifier = bench.another({ issuers: [bench.config({ introspection })] });
    const flood = Array.from({ length: 500 }, (_, index) => verifier.verify(contextOf(`unknown-${index}`)));
    const reasons = (await Promise.all(flood)).map((answer) => (answer.ok ? '' : answer.denial.reason));
    expect(new Set(reasons)).toEqual(new Set(['token.inactive', 'token.introspection_unavailable']));
    // 8 that were saved up, and those of the 200 ms that may be waited, however busy this machine is.
    expect(bench.questions.length).toBeGreaterThanOrEqual(8);
    expect(bench.questions.length).toBeLessThan(100);
  });

  it('one about an invented token counts as five', async () => {
    const introspection = { new_tokens_per_second: 5, timeout_ms: 3000 };
    const verifier = bench.another({ issuers: [bench.config({ introspection })] });
    // 2 that were saved up, and as many that are owed for them.
    const invented = Promise.all(['a', 'b'].map((name) => verifier.verify(contextOf(`invented-${name}`))));
    expect((await invented).map(({ ok }) => ok)).toEqual([false, false]);
    const begun = performance.now();
    expect(await verifier.verify(contextOf(bench.token()))).toMatchObject({ ok: true });
    expect(performance.now() - begun).toBeGreaterThan(400);
  });

  it('a token that is not active any more has no precedence any more', async () => {
    const token = bench.token();
    expect(await bench.reasonOf(token)).toBeNull();
    bench.known.set(token, { active: false });
    bench.now += 31_000;
    expect(await bench.reasonOf(token)).toBe('token.inactive');
    bench.now += 6000;
    expect(await bench.reasonOf(token)).toBe('token.inactive');
  });
});
