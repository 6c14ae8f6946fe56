import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Reason } from '../../src/kernel/reasons.ts';
import { makeKey } from '../support/issuer.ts';
import { sendJson } from '../support/key_server.ts';
import { signJws } from '../support/sign_jws.ts';
import { contextOf, NOW, published } from '../token/fixture.ts';
import { CLIENT_ID, IntrospectionBench } from '../token/introspection_fixture.ts';

let bench: IntrospectionBench;

beforeEach(async () => {
  bench = await IntrospectionBench.start({ introspection: { response: 'jwt' } });
});

afterEach(async () => {
  await bench.stop();
});

const TYPE = 'application/token-introspection+jwt';

interface AnswerChanges {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
  readonly members?: Record<string, unknown>;
}

/** A signed answer about an active token, with changes. */
function signed({ header, claims, members }: AnswerChanges = {}, key = bench.key): string {
  const payload = {
    iss: bench.server.issuer,
    aud: CLIENT_ID,
    iat: NOW,
    token_introspection: bench.active(members),
    ...claims,
  };
  return bench.sign({ typ: 'token-introspection+jwt', ...header }, payload, key);
}

/** The reason of the refusal when the issuer answers with this text. */
async function reasonFor(text: string, contentType = TYPE): Promise<Reason | null> {
  bench.onQuestion((_, response) => response.writeHead(200, { 'content-type': contentType }).end(text));
  return bench.reasonOf(`opaque-${crypto.randomUUID()}`);
}

describe('RFC 9701 §4: the question', () => {
  it('RFC 9701 §4: asks for a signed answer, and for nothing else', async () => {
    expect(await reasonFor(signed())).toBeNull();
    expect(bench.questions[0]?.headers.accept).toBe(TYPE);
  });
});

describe('RFC 9701 §5: the answer', () => {
  it.each([
    ['plainly', {}],
    ['with the whole media type', { header: { typ: 'application/token-introspection+jwt' } }],
    ['in other letters', { header: { typ: 'Token-Introspection+JWT' } }],
    ['for several audiences', { claims: { aud: ['https://cloud.example.com', CLIENT_ID] } }],
    ['with further claims', { claims: { jti: 'x', exp: NOW + 60, nbf: NOW, sub: 'x', extra: 1 } }],
    ['dated ten seconds ahead', { claims: { iat: NOW + 10 } }],
    ['a minute old', { claims: { iat: NOW - 60 } }],
  ] as const)('RFC 9701 §5: takes an answer signed by the issuer, %s', async (_, changes) => {
    expect(await reasonFor(signed(changes))).toBeNull();
  });

  it('RFC 9701 §5: what it says is what the policy learns, and the envelope is not', async () => {
    bench.onQuestion((_, response) =>
      response.writeHead(200, { 'content-type': `${TYPE}; charset=utf-8` }).end(signed({ claims: { extra: 1 } })),
    );
    expect(await bench.factsOf('opaque')).toMatchObject({ kind: 'opaque', subject: 'wf-4711', claims: {} });
  });

  it('RFC 9701 §5: token.inactive: a signed no', async () => {
    expect(await reasonFor(signed({ claims: { token_introspection: { active: false } } }))).toBe('token.inactive');
  });

  it.each([
    ['typ is missing', { header: { typ: undefined } }],
    ['typ is that of an access token', { header: { typ: 'at+jwt' } }],
    ['typ is JWT', { header: { typ: 'JWT' } }],
    ['typ is no text', { header: { typ: 1 } }],
    ['crit', { header: { crit: ['x'], x: 1 } }],
    ['b64', { header: { b64: false } }],
    ['kid is no text', { header: { kid: 1 } }],
    ['kid is unknown', { header: { kid: 'unknown' } }],
    ['alg is none', { header: { alg: 'none' } }],
    ['alg is HS256', { header: { alg: 'HS256' } }],
    ['alg is missing', { header: { alg: undefined } }],
    ['iss is missing', { claims: { iss: undefined } }],
    ['iss is another', { claims: { iss: 'https://as.example.com' } }],
    ['aud is missing', { claims: { aud: undefined } }],
    ['aud is another client', { claims: { aud: 'other' } }],
    ['aud is a list of others', { claims: { aud: ['other', 'gateway2'] } }],
    ['aud is an object', { claims: { aud: { [CLIENT_ID]: 1 } } }],
    ['iat is missing', { claims: { iat: undefined } }],
    ['iat is a text', { claims: { iat: String(NOW) } }],
    ['iat lies ahead', { claims: { iat: NOW + 11 } }],
    ['iat is long ago: an old answer played back', { claims: { iat: NOW - 61 } }],
    ['exp has passed', { claims: { exp: NOW } }],
    ['nbf lies ahead', { claims: { nbf: NOW + 11 } }],
    ['token_introspection is missing', { claims: { token_introspection: undefined } }],
    ['token_introspection is a list', { claims: { token_introspection: [] } }],
    ['token_introspection is null', { claims: { token_introspection: null } }],
    ['the members stand at the top', { claims: { token_introspection: undefined, active: true, exp: NOW + 60 } }],
    ['active is a text', { members: { active: 'true' } }],
  ] as const)('RFC 9701 §5: token.introspection_unavailable: %s', async (_, changes) => {
    expect(await reasonFor(signed(changes))).toBe('token.introspection_unavailable');
  });

  it('RFC 9701 §5: token.introspection_unavailable: signed by another key, not signed, or spoiled', async () => {
    const good = signed();
    const [header, payload, signature] = good.split('.');
    const other = signed({ claims: { iat: NOW - 1 } }).split('.');
    const spoiled = [
      signed({}, await makeKey()),
      `${header}.${payload}.`,
      `${header}.${other[1]}.${signature}`,
      `${header}.${payload}.${signature}.`,
      ` ${good}`,
      `${good}\n`,
      `"${good}"`,
      JSON.stringify(bench.active()),
      '',
    ];
    for (const text of spoiled) expect(await reasonFor(text)).toBe('token.introspection_unavailable');
    expect(await reasonFor(good)).toBeNull();
  });

  it('RFC 9701 §5: token.introspection_unavailable: an unsigned answer, or a signed one under another content type', async () => {
    expect(await reasonFor(JSON.stringify(bench.active()), 'application/json')).toBe('token.introspection_unavailable');
    for (const type of ['application/json', 'application/jwt', 'text/plain']) {
      expect(await reasonFor(signed(), type)).toBe('token.introspection_unavailable');
    }
  });

  it('RFC 9701 §6: token.introspection_unavailable: an algorithm that is not allowed for answers, whatever tokens may use', async () => {
    const rsa = await makeKey('RS256');
    bench.server.keys.push(published(rsa) as never);
    const header = { kid: rsa.thumbprint.slice(0, 8) };
    expect(await reasonFor(signed({ header }, rsa))).toBe('token.introspection_unavailable');
    const verifier = bench.another({
      issuers: [bench.config({ introspection: { response: 'jwt', algorithms: ['RS256'] } })],
    });
    await verifier.settled();
    expect(await verifier.verify(contextOf('opaque'))).toMatchObject({ ok: true });
  });

  it('RFC 9701 §5: token.introspection_unavailable: keys of the issuer cannot be had', async () => {
    bench.server.onJwks((_, response) => sendJson(response, {}, 500));
    const verifier = bench.another();
    await verifier.settled();
    bench.onQuestion((_, response) => response.writeHead(200, { 'content-type': TYPE }).end(signed()));
    expect(await verifier.verify(contextOf('opaque'))).toMatchObject({
      denial: { reason: 'token.introspection_unavailable', note: expect.stringContaining('cannot be had') },
    });
  });
});

describe('RFC 9701 §8.1: an answer is no access token', () => {
  it('RFC 9701 §8.1: token.type: refused as a token, with every claim a token has, and nobody is asked', async () => {
    const claims = {
      aud: ['https://cloud.example.com/v1', CLIENT_ID],
      sub: 'wf-4711',
      client_id: 'wf-4711',
      jti: 'j-1',
      exp: NOW + 300,
    };
    for (const typ of ['token-introspection+jwt', 'application/token-introspection+jwt']) {
      expect(await bench.reasonOf(signed({ header: { typ }, claims }))).toBe('token.type');
    }
    expect(bench.questions).toEqual([]);
  });

  it('RFC 8725 §3.11: an access token is no answer', async () => {
    const token = signJws(
      { typ: 'at+jwt', alg: bench.key.alg, kid: bench.key.thumbprint.slice(0, 8) },
      { iss: bench.server.issuer, aud: CLIENT_ID, iat: NOW, token_introspection: bench.active() },
      bench.key,
    );
    expect(await reasonFor(token)).toBe('token.introspection_unavailable');
  });
});
