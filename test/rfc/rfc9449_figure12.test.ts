import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generatePrivateJwk } from '../../src/oauth/signing_key.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { closedPort, KeyServer, sendJson } from '../support/key_server.ts';
import { OK, RecordingUpstream } from '../support/recording_upstream.ts';

/** RFC 9449 figure 12: the token and the proof of a request to https://resource.example.org/protectedresource. */
const TOKEN = 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU';
const PROOF = [
  'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19',
  'eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9',
  '2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA',
].join('.');
const CLOCK = 1_562_262_618;
/** What the issuer says of the token, after RFC 9449 figure 10. */
const GOOD = {
  active: true,
  sub: 'someone@example.com',
  client_id: 'wf-4711',
  aud: 'https://resource.example.org',
  nbf: 1_562_262_611,
  exp: 1_562_266_216,
  scope: 'resource:read',
  cnf: { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' },
};

let issuer: KeyServer;
let upstream: RecordingUpstream;
let gateway: TestGateway;
let folder: string;
let port: number;
let now: number;
let answer: Record<string, unknown>;

beforeEach(async () => {
  now = CLOCK * 1000;
  issuer = await KeyServer.start();
  upstream = await new RecordingUpstream(async (connection) => {
    for (let n = 1; ; n++) {
      await connection.request(n);
      connection.socket.write(OK);
    }
  }).listen();
  answer = { ...GOOD, iss: issuer.issuer };
  issuer.answers.set('/introspect', (_, response) => sendJson(response, answer));
  port = await closedPort();
  folder = mkdtempSync(join(tmpdir(), 'sallyport-figure12-'));
  writeFileSync(join(folder, 'client.jwk.json'), JSON.stringify(await generatePrivateJwk()));
  writeFileSync(
    join(folder, 'operations.yaml'),
    `service: example
operations:
  - { name: resource.get, request: GET /protectedresource, resource: protectedresource, access: read, scopes: ["resource:read"] }
`,
  );
  gateway = await startTestGateway({
    upstream: upstream.origin,
    clock: () => now,
    config: {
      listen: { port },
      public_origin: 'https://resource.example.org',
      issuers: [
        {
          issuer: issuer.issuer,
          introspection: {
            endpoint: `${issuer.issuer}/introspect`,
            client_id: 'gateway',
            private_key_file: join(folder, 'client.jwk.json'),
          },
        },
      ],
    },
    route: {
      path_prefix: '/protectedresource',
      resource: 'https://resource.example.org',
      operations: join(folder, 'operations.yaml'),
    },
  });
});

afterEach(async () => {
  await gateway.close();
  await upstream.close();
  await issuer.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Seen {
  readonly status: number | undefined;
  readonly challenge: string | undefined;
  readonly body: string;
}

function send(): Promise<Seen> {
  const { promise, resolve, reject } = Promise.withResolvers<Seen>();
  const headers = { host: 'resource.example.org', authorization: `DPoP ${TOKEN}`, dpop: PROOF };
  const sent = request({ host: '127.0.0.1', port, path: '/protectedresource', headers }, async (response) => {
    let body = '';
    for await (const chunk of response) body += String(chunk);
    resolve({ status: response.statusCode, challenge: response.headers['www-authenticate'], body });
  });
  sent.on('error', reject).end();
  return promise;
}

describe('RFC 9449 §7.1 figure 12: the request of the specification, with an introspection answer, through the gateway', () => {
  it('RFC 9449 §11.1: is accepted exactly once', async () => {
    expect(await send()).toEqual({ status: 200, challenge: undefined, body: 'ok' });
    const again = await send();
    expect(again.status).toBe(401);
    expect(again.challenge).toContain('error="invalid_dpop_proof"');
    expect(JSON.parse(again.body)).toMatchObject({ reason: 'proof.replayed' });
    expect(upstream.requests).toHaveLength(1);
    expect(upstream.received).not.toContain(TOKEN);
    expect(upstream.received).not.toContain(PROOF);
    expect(issuer.requests.filter((path) => path === '/introspect')).toHaveLength(1);
    const records = await gateway.records(2);
    expect(records).toHaveLength(2);
    expect(records[0]).toMatchObject({
      result: { allow: true },
      input: {
        client: { id: 'wf-4711' },
        token: { kind: 'opaque', issuer: issuer.issuer, subject: 'someone@example.com', expires_at: 1_562_266_216 },
      },
    });
    expect(JSON.stringify(records)).not.toContain(TOKEN);
  });

  it('RFC 9449 §11.1: twenty copies at once: one is accepted', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => send()));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(19);
    expect(upstream.requests).toHaveLength(1);
  });

  it.each([
    ['proof.too_old', 61],
    ['proof.issued_in_future', -11],
    ['token.expired', 3598],
    ['token.not_yet_valid', -18],
  ])('%s: is refused %d s after its time', async (reason, seconds) => {
    now += seconds * 1000;
    const { status, body } = await send();
    expect([status, JSON.parse(body).reason]).toEqual([401, reason]);
    expect(upstream.requests).toHaveLength(0);
  });

  it.each([
    ['token.inactive', 401, { active: false }],
    ['token.introspection_unavailable', 503, { active: 'true' }],
    ['proof.key_mismatch', 401, { cnf: { jkt: 'A'.repeat(43) } }],
    ['proof.unbound_token', 401, { cnf: undefined }],
    ['token.confirmation', 401, { cnf: { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I', kid: '1' } }],
    ['policy.insufficient_scope', 403, { scope: 'other:read' }],
  ])('%s: is refused with %d when the issuer says %j', async (reason, status, members) => {
    Object.assign(answer, members);
    const seen = await send();
    expect([seen.status, JSON.parse(seen.body).reason]).toEqual([status, reason]);
    expect(upstream.requests).toHaveLength(0);
    // A refused proof burns nothing.
    Object.assign(answer, GOOD);
    now += 30_000;
    if (status !== 403) expect((await send()).status).toBe(200);
  });
});
