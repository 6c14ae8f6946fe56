import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { discoverMetadata, metadataUrls } from '../../src/oauth/metadata.ts';
import { closedPort, KeyServer, sendJson } from '../support/key_server.ts';

const OAUTH = '/.well-known/oauth-authorization-server';
const OPENID = '/.well-known/openid-configuration';
let server: KeyServer;

beforeAll(async () => {
  server = await KeyServer.start();
});

afterEach(() => {
  server.restore();
  server.requests.length = 0;
});

afterAll(async () => {
  await server.stop();
});

function discover(issuer = server.issuer) {
  return discoverMetadata(issuer, { timeoutMs: 2000 });
}

describe('RFC 8414 §3.1: where metadata are', () => {
  it.each([
    ['https://as.example.com', `https://as.example.com${OAUTH}`, `https://as.example.com${OPENID}`],
    ['https://as.example.com/', `https://as.example.com${OAUTH}`, `https://as.example.com${OPENID}`],
    ['https://as.example.com/t/1', `https://as.example.com${OAUTH}/t/1`, `https://as.example.com/t/1${OPENID}`],
    [
      'https://as.example.com:8443/t/',
      `https://as.example.com:8443${OAUTH}/t`,
      `https://as.example.com:8443/t${OPENID}`,
    ],
  ])('%s', (issuer, ...urls) => {
    expect(metadataUrls(issuer)).toEqual(urls);
  });
});

describe('RFC 8414 §3: discovery', () => {
  it('finds the metadata of an issuer without a path', async () => {
    const document = { issuer: server.issuer, jwks_uri: server.jwksUri };
    expect(await discover()).toEqual({
      ok: true,
      value: { issuer: server.issuer, jwksUri: server.jwksUri, document },
    });
    expect(server.requests).toEqual([OAUTH]);
  });

  it('RFC 8414 §3.1: finds those of an issuer with a path', async () => {
    const issuer = `${server.issuer}/tenant/1`;
    server.answers.set(`${OAUTH}/tenant/1`, (_, response) => sendJson(response, { issuer }));
    expect(await discover(issuer)).toMatchObject({ ok: true, value: { issuer, jwksUri: null } });
  });

  it.each([
    ['404', 404, '{}'],
    ['a page for people', 200, '<html>'],
    ['metadata of another issuer', 200, '{"issuer":"https://other.example.com"}'],
  ])('asks at the address of OpenID Connect when the first one answers with %s', async (_, status, body) => {
    server.answers.set(OAUTH, (__, response) => sendJson(response, body, status));
    server.answers.set(OPENID, (__, response) =>
      sendJson(response, { issuer: server.issuer, jwks_uri: server.jwksUri }),
    );
    expect(await discover()).toMatchObject({ ok: true, value: { jwksUri: server.jwksUri } });
    expect(server.requests).toEqual([OAUTH, OPENID]);
  });

  it('RFC 8414 §3.3: refuses metadata whose issuer is not the same, byte for byte', async () => {
    for (const issuer of [
      `${server.issuer}/`,
      server.issuer.toUpperCase(),
      'https://as.example.com',
      1,
      null,
      undefined,
      [server.issuer],
    ]) {
      server.answers.set(OAUTH, (_, response) => sendJson(response, { issuer, jwks_uri: server.jwksUri }));
      expect(await discover()).toEqual({ ok: false, problem: 'the metadata names another issuer' });
    }
  });

  it('RFC 8414 §2: refuses a jwks_uri that is not https, loopback aside', async () => {
    for (const jwks_uri of [
      'http://as.example.com/jwks',
      '/jwks',
      '',
      1,
      null,
      [],
      'file:///etc/keys',
      'https://u:p@as.example.com',
    ]) {
      server.answers.set(OAUTH, (_, response) => sendJson(response, { issuer: server.issuer, jwks_uri }));
      expect(await discover()).toEqual({ ok: false, problem: 'the jwks_uri of the metadata is not an https URL' });
    }
  });

  it('RFC 8414 §6.1: refuses an issuer that is not https, without asking', async () => {
    for (const issuer of ['http://as.example.com', 'urn:example:as', 'as.example.com']) {
      expect(await discover(issuer)).toEqual({ ok: false, problem: 'the issuer is not an https URL' });
    }
  });

  it('refuses what is no JSON object', async () => {
    for (const body of ['[]', 'null', '"x"', '1']) {
      server.answers.set(OAUTH, (_, response) => sendJson(response, body));
      expect(await discover()).toEqual({ ok: false, problem: 'the metadata is not a JSON object' });
    }
  });

  it('an issuer that is down is asked once, and a redirect is not followed', async () => {
    const down = `http://127.0.0.1:${await closedPort()}`;
    expect(await discover(down)).toEqual({ ok: false, problem: 'the metadata cannot be reached (ECONNREFUSED)' });
    server.answers.set(OAUTH, (_, response) => response.writeHead(302, { location: OPENID }).end());
    expect(await discover()).toEqual({ ok: false, problem: 'the metadata answered with a redirect (302)' });
    expect(server.requests).toEqual([OAUTH, OPENID]);
  });
});
