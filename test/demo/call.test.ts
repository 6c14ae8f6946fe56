import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CallRequest, runCall } from '../../src/demo/call.ts';
import { loadSession, prepareFolder, saveSession } from '../../src/demo/session.ts';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { BUILDS, claimsOf, RESOURCE, startTestServer, type TestServer } from '../authserver/fixture.ts';

/** What stands where the gateway would: it keeps what it received and answers as the test says. */
interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

let authserver: TestServer;
let target: Server;
let origin: string;
let received: Received[] = [];
let answer: (response: ServerResponse, count: number) => void;
let jobThumbprint: string;

beforeAll(async () => {
  const clientJwk = await generatePrivateJwk();
  const jobKey = await generatePrivateJwk();
  jobThumbprint = await calculateJwkThumbprint(jobKey);
  const { publicJwk } = await importSigningKey(clientJwk);
  authserver = await startTestServer({ jwks: { keys: [publicJwk] }, job: { from_assertion: ['run_id'] } });
  target = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    received.push({ method: String(request.method), url: String(request.url), headers: request.headers, body });
    answer(response, received.length);
  });
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(target.address() as AddressInfo).port}`;
  await prepareFolder(authserver.directory);
  await saveSession(authserver.directory, {
    gateway: origin,
    issuer: authserver.issuer,
    clientId: 'ci',
    resource: RESOURCE,
    scopes: ['builds:write'],
    authorizationDetails: [BUILDS],
    job: { run_id: '7' },
    clientKey: clientJwk,
    jobKey,
  });
});
afterAll(async () => {
  await authserver.close();
  target.closeAllConnections();
  await new Promise((resolve) => target.close(resolve));
});

beforeEach(() => {
  answer = (response) => response.writeHead(201, { 'sallyport-decision-id': 'd-1' }).end('{"id":"b2"}');
});
afterEach(() => {
  received = [];
});

async function call(changes: Partial<CallRequest> = {}): Promise<{ code: number; text: string }> {
  const lines: string[] = [];
  const output = { colour: false, line: (text: string) => void lines.push(text) };
  const request = { method: 'POST', target: '/v1/projects/p1/builds', headers: [], repeatProof: false, ...changes };
  const code = await runCall(request, { directory: authserver.directory, output, clock: Date.now });
  return { code, text: lines.join('\n') };
}

const problem = (status: number, body: Record<string, unknown>) => (response: ServerResponse) =>
  void response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(body));

describe('sallyport call', () => {
  it("sends a token and a proof of the job's key, and says what came back", async () => {
    const { code, text } = await call();
    expect(code).toBe(0);
    expect(text).toBe(`POST ${origin}/v1/projects/p1/builds\n201 Created  {"id":"b2"}\n  Decision d-1.`);
    const [{ method, url, headers }] = received as [Received];
    expect([method, url]).toEqual(['POST', '/v1/projects/p1/builds']);
    const token = String(headers.authorization).replace(/^DPoP /, '');
    expect(claimsOf(token)).toMatchObject({ cnf: { jkt: jobThumbprint }, job: { run_id: '7' }, aud: RESOURCE });
    const proof = String(headers['dpop']);
    expect(decodeProtectedHeader(proof).typ).toBe('dpop+jwt');
    expect(decodeJwt(proof)).toMatchObject({
      htm: 'POST',
      htu: `${origin}/v1/projects/p1/builds`,
      ath: expect.any(String),
    });
    for (const secret of [token, proof]) expect(text).not.toContain(secret.slice(10, 40));
  });

  it('sends body and headers as given', async () => {
    await call({ method: 'put', data: '{"value":"x"}', headers: ['X-One: 1', 'Content-Type: text/plain'] });
    expect(received[0]).toMatchObject({
      method: 'PUT',
      body: '{"value":"x"}',
      headers: { 'x-one': '1', 'content-type': 'text/plain' },
    });
    await call({ data: '{}' });
    expect(received[1]?.headers['content-type']).toBe('application/json');
  });

  it('a refusal of the gateway is told in sentences, and the exit code is 1', async () => {
    answer = problem(403, {
      title: 'The scope of the access token does not cover this operation',
      status: 403,
      reason: 'policy.insufficient_scope',
      decision_id: 'd-9',
      required: { scopes: ['projects:admin'] },
    });
    const { code, text } = await call({ method: 'DELETE', target: `${origin}/v1/projects/p1` });
    expect(code).toBe(1);
    expect(text.split('\n')).toEqual([
      `DELETE ${origin}/v1/projects/p1`,
      '403 Forbidden',
      '  The scope of the access token does not cover this operation (policy.insufficient_scope).',
      '  What would do: scope projects:admin.',
      '  Decision d-9.',
    ]);
  });

  it('a refusal of the cloud is shown as it is', async () => {
    answer = (response) => response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not_found"}');
    expect(await call()).toMatchObject({
      code: 1,
      text: expect.stringContaining('404 Not Found  {"error":"not_found"}'),
    });
  });

  it('--repeat-proof: sends the same bytes twice, and the second answer counts', async () => {
    answer = (response, count) =>
      count === 1
        ? response.writeHead(201).end()
        : problem(401, { title: 'Used', reason: 'proof.replayed', decision_id: 'd' })(response);
    const { code, text } = await call({ repeatProof: true });
    expect(code).toBe(1);
    expect(text).toContain('401 Unauthorized\n  Used (proof.replayed).');
    expect(received).toHaveLength(2);
    expect(received[1]?.headers['dpop']).toBe(received[0]?.headers['dpop']);
    expect(received[1]?.headers.authorization).toBe(received[0]?.headers.authorization);
  });

  it('two calls have two proofs', async () => {
    await call();
    await call();
    expect(received[1]?.headers['dpop']).not.toBe(received[0]?.headers['dpop']);
  });

  it('RFC 9449 §9: a nonce is used once', async () => {
    answer = (response, count) =>
      count === 1
        ? response.writeHead(401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'n1' }).end()
        : response.writeHead(200).end();
    expect((await call()).code).toBe(0);
    expect(received.map(({ headers }) => decodeJwt(String(headers['dpop']))['nonce'])).toEqual([undefined, 'n1']);
  });

  it('does not follow a redirect with the token', async () => {
    answer = (response) => response.writeHead(302, { location: `${origin}/elsewhere` }).end();
    await call();
    expect(received).toHaveLength(1);
  });

  it.each([
    ['https://evil.example/v1', 'is not sent to https://evil.example'],
    ['//evil.example/v1', 'is not sent to http://evil.example'],
    ['http://[', 'is not a URL or a path'],
  ])('sends the token nowhere else: %s', async (url, words) => {
    await expect(call({ target: url })).rejects.toThrow(words);
    expect(received).toEqual([]);
  });

  it('a header without a colon is wrong', async () => {
    await expect(call({ headers: ['X-One'] })).rejects.toThrow('--header expects "Name: value"');
  });

  it('says when the authorization server is not there', async () => {
    const own = await startTestServer();
    await own.close();
    const directory = authserver.directory;
    const session = await loadSession(directory);
    await saveSession(directory, { ...session, issuer: own.issuer });
    await expect(call()).rejects.toThrow(
      'does not answer (the metadata cannot be reached (ECONNREFUSED)): is the demo running?',
    );
    await saveSession(directory, session);
  });

  it('says when the gateway is not there', async () => {
    const gone = await startTestServer();
    await gone.close();
    const session = await loadSession(authserver.directory);
    await saveSession(authserver.directory, { ...session, gateway: gone.address });
    await expect(call()).rejects.toThrow(`no answer from ${gone.address}`);
    await saveSession(authserver.directory, session);
  });

  it('shows nothing that a terminal would obey', async () => {
    answer = (response) => response.writeHead(200, { 'sallyport-decision-id': 'd' }).end('\x1b[2J\r\nforged');
    const { text } = await call();
    expect(text.split('\n')).toHaveLength(3);
    expect(text).not.toContain('\x1b');
  });
});
