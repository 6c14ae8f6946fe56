import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { type Outcome, PATH, Wire } from '../support/wire.ts';

/** Requests made to be misread, on a whole gateway: what the caller saw, what the upstream received, what the record says. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start();
});
afterAll(() => wire.close());

/** A good request with further lines. */
function withLines(...lines: string[]): Promise<Outcome> {
  return wire.send({ lines: [...wire.lines(wire.token()), ...lines] });
}

describe('cases “Headers”: fields that say another path, address or method change nothing', () => {
  it.each([
    'X-Original-URL: /v1/projects/p2',
    'X-Original-URI: /admin',
    'X-Rewrite-URL: /admin',
    'X-Forwarded-Uri: /v1/projects/p2',
    'X-Forwarded-Path: /admin',
    'X-Forwarded-Prefix: /admin',
    'X-Forwarded-Method: DELETE',
    'X-Forwarded-Host: evil.example',
    'X-Forwarded-Server: evil.example',
    'X-Forwarded-Client-Cert: Hash=00',
    'X_Forwarded_Uri: /admin',
    'x_original_url: /admin',
    'X-Envoy-Original-Path: /admin',
    'X-Host: evil.example',
    'X-HTTP-Host-Override: evil.example',
    'X-HTTP-Method-Override: DELETE',
    'X-HTTP-Method: DELETE',
    'X-Method-Override: DELETE',
    'X_HTTP_Method_Override: DELETE',
    '_method: DELETE',
    'Forwarded: for=127.0.0.1;host=evil.example;proto=http',
    'X-Real-IP: 127.0.0.1',
    'True-Client-IP: 127.0.0.1',
    'Client-Cert: :AAAA:',
    'Client-Cert-Chain: :AAAA:',
    'Client_Cert: :AAAA:',
    'SSL-Client-Cert: x',
    'Ssl-Client-Verify: SUCCESS',
    'Remote-User: admin',
    'Proxy: http://evil.example',
    'Sallyport-Subject: admin',
    'SALLYPORT_SUBJECT: admin',
    'sallyport-decision-id: 0',
    'Sallyport-Anything: x',
    'Cookie: access_token=x',
    'Proxy-Authorization: DPoP x',
  ])('cases “Headers”: %s does not reach the upstream', async (line) => {
    const outcome = await withLines(line);
    expectAllowed(outcome);
    const [name = '', value = ''] = line.split(': ');
    const folded = name.toLowerCase().replaceAll('_', '-');
    const [request] = outcome.upstream;
    expect([request?.method, request?.target]).toEqual(['GET', PATH]);
    const left = request?.headers.filter(([each]) => each.toLowerCase().replaceAll('_', '-') === folded) ?? [];
    expect(left.map((pair) => pair[1])).not.toContain(value);
  });
});

describe('cases “Headers”: more fields than are read are refused, not dropped', () => {
  it.each([
    [101, 431],
    [2500, 431],
  ])('cases “Headers”: %d further fields', async (count, status) => {
    const lines = Array.from({ length: count }, (_, index) => `A${index}: b`);
    const { answer, upstream } = await withLines(...lines);
    expect([answer.status, upstream]).toEqual([status, []]);
  });

  it('cases “Headers”: a credential behind them is not overlooked', async () => {
    const lines = [...Array.from({ length: 3000 }, () => 'A:'), ...wire.lines(wire.token())];
    const { answer, upstream } = await wire.send({ lines });
    expect([answer.status, upstream]).toEqual([431, []]);
  });
});

describe('cases “Transport”: places and forms of credentials', () => {
  const TOKEN_AS = (form: (token: string) => string, reason: string) => async () => {
    const token = wire.token();
    expectRefused(await wire.send({ lines: [form(token), `DPoP: ${wire.proof(token)}`] }), reason);
  };
  it.each<[string, () => Promise<void>]>([
    [
      'a comma-joined second credential',
      TOKEN_AS((t) => `Authorization: DPoP ${t}, Bearer ${t}`, 'request.credentials_malformed'),
    ],
    ['a semicolon after the token', TOKEN_AS((t) => `Authorization: DPoP ${t};`, 'request.credentials_malformed')],
    ['the token as auth-param', TOKEN_AS((t) => `Authorization: DPoP token="${t}"`, 'request.credentials_malformed')],
    [
      'a percent-encoded token',
      TOKEN_AS((t) => `Authorization: DPoP ${t.replace('.', '%2E')}`, 'request.credentials_malformed'),
    ],
    [
      'a no-break space after the scheme',
      TOKEN_AS((t) => `Authorization: DPoP\xa0${t}`, 'request.credentials_malformed'),
    ],
    [
      'a scheme with a byte above ASCII',
      TOKEN_AS((t) => `Authorization: DPo\xd0 ${t}`, 'request.credentials_malformed'),
    ],
    ['a fullwidth scheme', TOKEN_AS((t) => `Authorization: \xef\xbc\xa4PoP ${t}`, 'request.credentials_malformed')],
    ['the scheme twice', TOKEN_AS((t) => `Authorization: DPoP DPoP ${t}`, 'request.credentials_malformed')],
    ['PoP for DPoP', TOKEN_AS((t) => `Authorization: PoP ${t}`, 'request.scheme_unsupported')],
    ['an underscore alias alone', TOKEN_AS((t) => `Author_ization: DPoP ${t}`, 'request.credentials_missing')],
    ['X-Authorization', TOKEN_AS((t) => `X-Authorization: DPoP ${t}`, 'request.credentials_missing')],
    ['Proxy-Authorization', TOKEN_AS((t) => `Proxy-Authorization: DPoP ${t}`, 'request.credentials_missing')],
    ['a cookie', TOKEN_AS((t) => `Cookie: access_token=${t}; Authorization=DPoP ${t}`, 'request.credentials_missing')],
    ['Sec-WebSocket-Protocol', TOKEN_AS((t) => `Sec-WebSocket-Protocol: bearer, ${t}`, 'request.credentials_missing')],
    ['padding after the token', TOKEN_AS((t) => `Authorization: DPoP ${t}==`, 'token.malformed')],
    ['a dot after the token', TOKEN_AS((t) => `Authorization: DPoP ${t}.`, 'token.malformed')],
    ['a dot before the token', TOKEN_AS((t) => `Authorization: DPoP .${t}`, 'token.malformed')],
    ['two tokens in a row', TOKEN_AS((t) => `Authorization: DPoP ${t}${t}`, 'token.malformed')],
    ['the token in the standard alphabet', TOKEN_AS((t) => `Authorization: DPoP ${t}+/`, 'token.malformed')],
    [
      'only its signed part',
      TOKEN_AS((t) => `Authorization: DPoP ${t.slice(0, t.lastIndexOf('.') + 1)}`, 'token.malformed'),
    ],
  ])('cases “Transport”: %s', (_, run) => run());

  it.each<[string, (proof: string) => string[], string]>([
    ['two proofs in one field', (p) => [`DPoP: ${p}, ${p}`], 'proof.malformed'],
    ['two proofs with a space', (p) => [`DPoP: ${p} ${p}`], 'proof.malformed'],
    ['a proof in quotes', (p) => [`DPoP: "${p}"`], 'proof.malformed'],
    ['a proof as sf-binary', (p) => [`DPoP: :${p}:`], 'proof.malformed'],
    ['a proof with a parameter', (p) => [`DPoP: ${p};q=1`], 'proof.malformed'],
    ['a proof under an alias', (p) => [`D_PoP: ${p}`], 'proof.missing'],
    ['a proof under X-DPoP', (p) => [`X-DPoP: ${p}`], 'proof.missing'],
    ['a proof in a trailer announced', (p) => ['Trailer: DPoP', `X: ${p}`], 'proof.missing'],
    ['a good proof and an empty one', (p) => [`DPoP: ${p}`, 'DPoP:'], 'request.proof_repeated'],
    ['an empty proof and a good one', (p) => ['DPoP:', `DPoP: ${p}`], 'request.proof_repeated'],
    ['three proofs', (p) => [`DPoP: ${p}`, `DPoP: ${p}`, `DPoP: ${p}`], 'request.proof_repeated'],
    [
      'a proof that Connection names, twice',
      (p) => ['Connection: DPoP', `DPoP: ${p}`, `dpop: ${p}`],
      'request.proof_repeated',
    ],
  ])('cases “Transport”: %s', async (_, lines, reason) => {
    const token = wire.token();
    expectRefused(await wire.send({ lines: [`Authorization: DPoP ${token}`, ...lines(wire.proof(token))] }), reason);
  });

  it('cases “Transport”: Connection cannot name the credentials away from the checks', async () => {
    expectAllowed(await withLines('Connection: authorization, dpop'));
    expectRefused(
      await wire.send({ lines: ['Connection: authorization', 'Authorization: DPoP x'] }),
      'token.malformed',
    );
  });
});

describe('cases “Targets”: what is judged is what is sent, or nothing is', () => {
  it.each([
    '/v1/projects/p1/../p2',
    '/v1/projects/p1/%2e%2e/p2',
    '/v1/projects/p1/%252e%252e/p2',
    '/v1/projects/p1/..%2fp2',
    '/v1/projects/p1/..%5cp2',
    '/v1/projects/p1/..;/p2',
    '/v1/projects/p1/.;x=1/p2',
    '/v1/projects/p1/%2e;/p2',
    '/v1/projects/p1//p2',
    '//evil.example/v1/projects/p1',
    '/\\evil.example/v1/projects/p1',
    '/v1/projects/p1\\..\\p2',
    '/v1/projects/p1%00',
    '/v1/projects/p1%0d%0aX: y',
    '/v1/projects/p1%0a',
    '/v1/projects/p1%c0%ae%c0%ae/p2',
    '/v1/projects/p1/%ef%bc%8f',
    '/v1/projects/p1/%ef%bc%8e%ef%bc%8e/p2',
    '/v1/projects/p1/%u002e%u002e/p2',
    '/v1/projects/p1%',
    '/v1/projects/p1%2',
    '/v1/projects/p1%zz',
    '/v1/projects/p1#frag',
    '/v1/projects/p1|p2',
    '/v1/projects/{p1}',
    '/v1/projects/"p1"',
    '/v1/projects/<p1>',
    '/v1/projects/p1`id`',
    '/v1/projects/p1^',
    '/v1/projects/\xe9',
    'v1/projects/p1',
    '?/v1/projects/p1',
    '*',
    'https://cloud.example.com@evil.example/v1/projects/p1',
    'https://user@cloud.example.com/v1/projects/p1',
    'https:/v1/projects/p1',
    'https:///v1/projects/p1',
    'javascript:/v1/projects/p1',
    'http://cloud.example.com/v1/projects/p1',
    'https://cloud.example.com:444/v1/projects/p1',
    'https://cloud.example.com.evil.example/v1/projects/p1',
    'https://cloud.example.com\\@evil.example/v1/projects/p1',
  ])('cases “Targets”: %s', async (target) => {
    const { answer, upstream, summary } = await wire.send({ target, lines: wire.lines(wire.token()) });
    expect([answer.status, upstream]).toEqual([400, []]);
    expect(['request.target_ambiguous', 'request.malformed']).toContain(summary['reason']);
  });

  it.each([
    '/v1/projects/p1?x=/../../admin',
    '/v1/projects/p1?redirect=//evil.example',
    '/v1/projects/p1?%2e%2e%2f=1',
    '/v1/projects/p1?a=1&a=2&a[]=3',
    '/v1/projects/p1?__proto__[x]=1&constructor=2',
  ])('cases “Targets”: %s passes byte for byte, since a query says no path', async (target) => {
    const outcome = await wire.send({ target, lines: wire.lines(wire.token()) });
    expectAllowed(outcome);
    expect(outcome.upstream[0]?.target).toBe(target);
  });

  it.each(['get', 'Get', 'GETT', 'PROPFIND', 'OPTIONS', 'TRACE', 'PRI', 'M-SEARCH'])(
    'cases “Targets”: the method %s is no method of the route',
    async (method) => {
      const token = wire.token();
      const { answer, upstream } = await wire.send({ method, lines: wire.lines(token, wire.proof(token, { method })) });
      expect([400, 405]).toContain(answer.status);
      expect(upstream).toEqual([]);
    },
  );
});

describe('cases “Answers”: nobody gets much for little', () => {
  it.each<[string, () => { target?: string; lines: string[] }]>([
    ['no credentials', () => ({ lines: [] })],
    ['a token that is none', () => ({ lines: ['Authorization: DPoP x', 'DPoP: y'] })],
    ['a token with a forged signature', () => ({ lines: wire.lines(`${wire.token().slice(0, -8)}AAAAAAAA`) })],
    ['no proof', () => ({ lines: [`Authorization: DPoP ${wire.token()}`] })],
    ['no route', () => ({ target: '/x', lines: [] })],
    ['a path of 8 kB', () => ({ target: `${PATH}/${'x'.repeat(8000)}`, lines: [] })],
    ['a query of 8 kB', () => ({ target: `${PATH}?${'a=b&'.repeat(2000)}`, lines: [] })],
  ])('cases “Answers”: %s is answered in less than 2 kB', async (_, request) => {
    const { answer, upstream } = await wire.send(request());
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.head.length + answer.body.length).toBeLessThan(2048);
    expect(upstream).toEqual([]);
  });
});
