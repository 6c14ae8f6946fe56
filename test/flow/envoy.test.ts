import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diagnose, type Finding } from '../../src/diagnosis/doctor.ts';
import { makeCertificate, type TestCertificate, thumbprintOf } from '../support/certificate.ts';
import { type EnvoyListener, startEnvoy } from '../support/envoy.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { NO_ENVOY } from '../support/load_balancer.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { freePort } from '../support/redis_server.ts';

/** A real Envoy: what it writes about certificates, and what sallyport doctor says of one that is set up wrongly. */

const PATH = '/v1/projects/p1';
const TOKEN = 'a-doctors-token-of-more-than-32-characters';
const running: (() => Promise<unknown>)[] = [];
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-envoy-test-'));
  writeFileSync(join(folder, 'doctor.token'), TOKEN, { mode: 0o600 });
});
afterAll(async () => {
  for (const close of running.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

const ALL_KEYS = { subject: true, cert: true, chain: true, dns: true, uri: true };
const WAYS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'every key': { forward_client_cert_details: 'SANITIZE_SET', set_current_client_cert_details: ALL_KEYS },
  'the certificate': { forward_client_cert_details: 'SANITIZE_SET', set_current_client_cert_details: { cert: true } },
  'the hash alone': { forward_client_cert_details: 'SANITIZE_SET' },
  'hash and names': {
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: { subject: true, dns: true, uri: true },
  },
};

describe.skipIf(NO_ENVOY)('X-Forwarded-Client-Cert as Envoy writes it', { timeout: 60_000 }, () => {
  const victim = makeCertificate({ name: 'victim' });
  const hex = Buffer.from(thumbprintOf(victim), 'base64url').toString('hex');
  const escaped = encodeURIComponent(victim.cert);
  /** Certificates that callers make themselves: whatever they say, they are not the victim's. */
  const CALLERS: Readonly<Record<string, TestCertificate>> = {
    'a plain one': makeCertificate({ name: 'job' }),
    'a Subject with quotes, commas and backslashes': makeCertificate({ name: 'a", O="b; c\\\\", "\\' }),
    'a Subject that ends its quotes': makeCertificate({ name: `a";Hash=${hex};Subject="` }),
    'a Subject that begins another element': makeCertificate({ name: `a",Hash=${hex};Subject="` }),
    'a Subject that is not ASCII': makeCertificate({ name: 'Jöb ☃' }),
    'several names': makeCertificate({ name: 'a', hosts: ['a.example', 'b.example', 'uri:spiffe://a/b', 'uri:urn:c'] }),
    'a URI with a Hash in it': makeCertificate({ name: 'a', hosts: [`uri:spiffe://a;Hash=${hex}`] }),
    'a URI with a Cert in it': makeCertificate({ name: 'a', hosts: [`uri:spiffe://a;Cert="${escaped}"`] }),
    'a URI with another element in it': makeCertificate({ name: 'a', hosts: [`uri:spiffe://a,Hash=${hex}`] }),
    'a URI with a quote in it': makeCertificate({ name: 'a', hosts: [`uri:spiffe://a";Hash=${hex};X="`] }),
    'a DNS name with a Hash in it': makeCertificate({ name: 'a', hosts: [`a;Hash=${hex}`, `b,hash=${hex}`] }),
  };
  let gateway: TestGateway;
  let upstream: RecordingUpstream;
  const ports = new Map<string, number>();
  let ca: string;

  beforeAll(async () => {
    upstream = await startRecordingUpstream();
    running.push(() => upstream.close());
    const front_proxies = [{ addresses: ['127.0.0.1'], client_certificate: 'envoy' }];
    gateway = await startTestGateway({
      upstream: upstream.origin,
      config: { public_origin: 'https://cloud.example.com', listen: { port: 0, front_proxies } },
    });
    running.push(() => gateway.close());
    const certificate = makeCertificate({ name: 'cloud', hosts: ['cloud.example.com'] });
    ca = certificate.cert;
    const ways = { ...WAYS, APPEND_FORWARD: { ...WAYS['every key'], forward_client_cert_details: 'APPEND_FORWARD' } };
    const listeners: EnvoyListener[] = [];
    for (const [way, manager] of Object.entries(ways)) {
      const port = await freePort();
      ports.set(way, port);
      listeners.push({ port, gatewayPort: gateway.port, manager, tls: { certificate, folder } });
    }
    const envoy = await startEnvoy(listeners);
    running.push(() => envoy.stop());
  });

  /** One request with a certificate and a token that is bound to one. */
  async function call(way: string, client: TestCertificate | null, bound: TestCertificate, xfcc?: string) {
    const token = await gateway.issuer.token(null, { claims: { cnf: { 'x5t#S256': thumbprintOf(bound) } } });
    const headers = {
      host: 'cloud.example.com',
      authorization: `Bearer ${token}`,
      ...(xfcc !== undefined && { 'x-forwarded-client-cert': xfcc }),
    };
    const own = client === null ? {} : { cert: client.cert, key: client.key };
    const options = {
      host: '127.0.0.1',
      port: ports.get(way),
      servername: 'cloud.example.com',
      path: PATH,
      headers,
      ca,
    };
    return new Promise<[number | undefined, string | null]>((resolve, reject) => {
      const outgoing = request({ ...options, ...own, agent: false }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        answer.on('end', () => resolve([answer.statusCode, /"reason":"([^"]+)"/.exec(text)?.[1] ?? null]));
      });
      outgoing.on('error', reject).end();
    });
  }

  describe.each(Object.keys(WAYS))('%s', (way) => {
    it.each(Object.keys(CALLERS))('%s: is itself, and never another', async (name) => {
      const own = CALLERS[name] as TestCertificate;
      // Envoy escapes no URI and no DNS name: an element that may be read in two ways is none.
      const unreadable = /^a (URI|DNS name) /.test(name) && /^(every key|hash and names)$/.test(way);
      const refused = [400, 'request.certificate_malformed'];
      expect(await call(way, own, own)).toEqual(unreadable ? refused : [200, null]);
      expect(await call(way, own, victim)).toEqual(unreadable ? refused : [401, 'proof.key_mismatch']);
    });

    it('what callers send under its name is nothing', async () => {
      const own = CALLERS['a plain one'] as TestCertificate;
      for (const xfcc of [`Hash=${hex}`, `Hash=${hex};X="`, `Cert="${escaped}"`, '']) {
        expect(await call(way, null, victim, xfcc)).toEqual([401, 'proof.certificate_missing']);
        expect(await call(way, own, victim, xfcc)).toEqual([401, 'proof.key_mismatch']);
        expect(await call(way, own, own, xfcc)).toEqual([200, null]);
      }
    });
  });

  it('APPEND_FORWARD: an element of the caller’s before that of Envoy is refused, however it is written', async () => {
    const own = CALLERS['a plain one'] as TestCertificate;
    expect(await call('APPEND_FORWARD', own, own)).toEqual([200, null]);
    const elements = [
      `Hash=${hex}`,
      `Hash=${hex};X="`,
      `Hash=${hex};X="\\`,
      `Cert="${escaped}"`,
      `Hash=${hex};URI=`,
      'x',
    ];
    for (const xfcc of elements) {
      for (const bound of [own, victim]) {
        expect(await call('APPEND_FORWARD', own, bound, xfcc)).toEqual([400, 'request.certificate_malformed']);
      }
    }
    expect(await call('APPEND_FORWARD', null, victim, `Hash=${hex}`)).toEqual([401, 'proof.certificate_missing']);
  });
});

const BUFFER = 'type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer';
const LUA = 'type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua';
const WHOLE = 'function envoy_on_response(handle) handle:body() end';
/** What is wrong with an Envoy, and what the doctor finds. */
const WRONG: readonly [string, Partial<EnvoyListener>, Readonly<Record<string, Finding['level']>>][] = [
  ['nothing', {}, {}],
  ['normalize_path', { manager: { normalize_path: true } }, { path_normalised: 'problem' }],
  ['merge_slashes', { manager: { merge_slashes: true } }, { path_normalised: 'problem' }],
  [
    'UNESCAPE_AND_FORWARD',
    { manager: { path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' } },
    { path_normalised: 'problem' },
  ],
  ['no upgrade_configs', { manager: { upgrade_configs: [] } }, { no_upgrade: 'warning' }],
  ['small max_request_headers_kb', { manager: { max_request_headers_kb: 8 } }, { header_too_small: 'problem' }],
  ['a rewritten host', { route: { host_rewrite_literal: 'internal.example' } }, { host_rewritten: 'problem' }],
  [
    'fields that are taken away',
    { host: { request_headers_to_remove: ['authorization', 'dpop'] } },
    {
      authorization_stripped: 'problem',
      dpop_stripped: 'problem',
      dpop_joined: 'warning',
      header_size_unknown: 'unknown',
    },
  ],
  [
    'bodies that are kept back',
    { filters: [['envoy.filters.http.buffer', { '@type': BUFFER, max_request_bytes: 65_536 }]] },
    { request_buffering: 'warning' },
  ],
  [
    'answers that are kept back',
    { filters: [['envoy.filters.http.lua', { '@type': LUA, default_source_code: { inline_string: WHOLE } }]] },
    { response_buffering: 'warning' },
  ],
];

describe.skipIf(NO_ENVOY)('sallyport doctor through Envoy', { timeout: 60_000 }, () => {
  const urls = new Map<string, string>();

  beforeAll(async () => {
    const listeners: EnvoyListener[] = [];
    for (const [wrong, changes] of WRONG) {
      const port = await freePort();
      const url = `http://127.0.0.1:${port}`;
      const doctor = { token_file: join(folder, 'doctor.token') };
      const gateway = await startTestGateway({
        upstream: 'http://127.0.0.1:9',
        config: { public_origin: url, doctor },
      });
      running.push(() => gateway.close());
      urls.set(wrong, url);
      listeners.push({ port, gatewayPort: gateway.port, ...changes });
    }
    const envoy = await startEnvoy(listeners);
    running.push(() => envoy.stop());
  });

  it.concurrent.each(WRONG)('%s', async (wrong, _, found) => {
    const findings = await diagnose({ url: new URL(urls.get(wrong) as string), token: TOKEN });
    const bad = findings.filter(
      ({ level, id }) => level !== 'ok' && id !== 'plaintext' && id !== 'certificate_not_tried',
    );
    expect(Object.fromEntries(bad.map(({ id, level }) => [id, level]))).toEqual(found);
    for (const { level, change } of bad) if (level !== 'unknown') expect(change).toMatch(/\S/);
  });
});
