import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { diagnose, type Finding, type Patient } from '../../src/diagnosis/doctor.ts';
import { makeCertificate, type TestCertificate } from '../support/certificate.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type LoadBalancer, startHaproxy, startNginx } from '../support/load_balancer.ts';
import { freePort } from '../support/redis_server.ts';

/** sallyport doctor through real load balancers, put right and misconfigured in each way. */

const TOKEN = 'a-doctors-token-of-more-than-32-characters';
const UPSTREAM = 'http://127.0.0.1:9';

let folder: string;
let tokenFile: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-doctor-'));
  tokenFile = join(folder, 'doctor.token');
  writeFileSync(tokenFile, TOKEN, { mode: 0o600 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const running: { close?: () => Promise<void>; stop?: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const each of running.splice(0).reverse()) await (each.close?.() ?? each.stop?.());
});

interface Scene {
  readonly gateway: TestGateway;
  readonly port: number;
  readonly url: string;
}

/** A gateway whose callers come through a load balancer on `port`. */
async function scene(changes: Partial<Parameters<typeof startTestGateway>[0]> = {}, scheme = 'http'): Promise<Scene> {
  const port = await freePort();
  const url = `${scheme}://127.0.0.1:${port}`;
  const { config, ...others } = changes;
  const gateway = await startTestGateway({
    upstream: UPSTREAM,
    config: { public_origin: url, doctor: { token_file: tokenFile }, ...config },
    ...others,
  });
  running.push(gateway);
  return { gateway, port, url };
}

async function behind(balancer: Promise<LoadBalancer>): Promise<void> {
  running.push(await balancer);
}

async function findingsFor(url: string, patient: Partial<Patient> = {}): Promise<Map<string, Finding>> {
  const findings = await diagnose({ url: new URL(url), token: TOKEN, ...patient });
  return new Map(findings.map((finding) => [finding.id, finding]));
}

function expectFinding(findings: Map<string, Finding>, id: string, level: Finding['level']): void {
  expect([...findings.keys()]).toContain(id);
  expect(findings.get(id)).toMatchObject({
    level,
    seen: expect.stringMatching(/\S/),
    change: expect.stringMatching(/\S/),
  });
}

const UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgraded;';
const MAP = 'map $http_upgrade $upgraded { default upgrade; "" ""; }';
const GOOD = `proxy_set_header Host $http_host; ${UPGRADE} proxy_buffering off; proxy_request_buffering off;`;
const pass = ({ gateway }: Scene) => `proxy_pass http://127.0.0.1:${gateway.port};`;

describe('sallyport doctor', { timeout: 60_000 }, () => {
  it('nginx that passes everything: no finding but plain HTTP', async () => {
    const here = await scene();
    await behind(startNginx(here.port, `location / { ${GOOD} ${pass(here)} }`, MAP));
    const findings = await findingsFor(here.url);
    const bad = [...findings.values()].filter(({ level }) => level !== 'ok');
    expect(bad.map(({ id }) => id).sort()).toEqual(['certificate_not_tried', 'plaintext']);
  });

  it('HAProxy that passes everything: no finding but plain HTTP', async () => {
    const here = await scene();
    await behind(startHaproxy(here.port, here.gateway.port, []));
    const findings = await findingsFor(here.url);
    const bad = [...findings.values()].filter(({ level }) => level !== 'ok');
    expect(bad.map(({ id }) => id).sort()).toEqual(['certificate_not_tried', 'plaintext']);
  });

  it('nginx as it comes: Host rewritten, no upgrade, bodies kept back', async () => {
    const here = await scene();
    await behind(startNginx(here.port, `location / { proxy_set_header Host internal.example; ${pass(here)} }`));
    const findings = await findingsFor(here.url);
    expectFinding(findings, 'host_rewritten', 'problem');
    expectFinding(findings, 'no_upgrade', 'warning');
    expectFinding(findings, 'request_buffering', 'warning');
  });

  it('HAProxy that waits for whole answers and bodies', async () => {
    const here = await scene();
    const wait = ['option http-buffer-request', 'http-response wait-for-body time 10s at-least 10k'];
    await behind(startHaproxy(here.port, here.gateway.port, wait));
    const findings = await findingsFor(here.url);
    expectFinding(findings, 'response_buffering', 'warning');
    expectFinding(findings, 'request_buffering', 'warning');
  });

  it('HAProxy that rewrites Host to a name that is served all the same: a warning', async () => {
    const here = await scene();
    await behind(startHaproxy(here.port, here.gateway.port, ['http-request set-header Host 127.0.0.1:1234']));
    const findings = await findingsFor(here.url);
    expect(findings.get('host_rewritten')?.seen).toMatch(/127\.0\.0\.1:1234 arrived/);
  });

  it('a WebSocket that a route needs and nginx does not pass: a problem', async () => {
    const here = await scene({ route: { websocket: true } });
    await behind(startNginx(here.port, `location / { proxy_set_header Host $http_host; ${pass(here)} }`));
    expectFinding(await findingsFor(here.url), 'no_upgrade', 'problem');
  });

  it('a path prefix that is stripped, and one that is kept', async () => {
    const here = await scene();
    await behind(
      startNginx(
        here.port,
        `location /cloud/ { ${GOOD} proxy_pass http://127.0.0.1:${here.gateway.port}/; }
         location /kept/ { ${GOOD} ${pass(here)} }`,
        MAP,
      ),
    );
    expectFinding(await findingsFor(`${here.url}/cloud`), 'path_changed', 'problem');
    expectFinding(await findingsFor(`${here.url}/kept`), 'path_changed', 'problem');
  });

  it('Authorization and DPoP stripped', async () => {
    const here = await scene();
    await behind(
      startHaproxy(here.port, here.gateway.port, [
        'http-request del-header Authorization',
        'http-request del-header DPoP',
      ]),
    );
    const findings = await findingsFor(here.url);
    expectFinding(findings, 'authorization_stripped', 'problem');
    expectFinding(findings, 'dpop_stripped', 'problem');
  });

  it('Authorization of the load balancer’s own, and DPoP joined with something', async () => {
    const here = await scene();
    await behind(
      startHaproxy(here.port, here.gateway.port, [
        'http-request add-header Authorization "Basic eA=="',
        'http-request set-header DPoP "%[req.fhdr(DPoP)], x" if { req.hdr(DPoP) -m found }',
      ]),
    );
    const findings = await findingsFor(here.url);
    expectFinding(findings, 'authorization_repeated', 'problem');
    expectFinding(findings, 'dpop_changed', 'problem');
    expectFinding(findings, 'dpop_joined', 'warning');
  });

  it('Authorization replaced, two proofs of which one is dropped', async () => {
    const here = await scene();
    const fields = 'proxy_set_header Authorization "Basic eA=="; proxy_set_header DPoP $http_dpop;';
    await behind(startNginx(here.port, `location / { ${GOOD} ${fields} ${pass(here)} }`, MAP));
    const findings = await findingsFor(here.url);
    expectFinding(findings, 'authorization_changed', 'problem');
    expectFinding(findings, 'dpop_joined', 'warning');
    expect(findings.get('dpop')?.level).toBe('ok');
  });

  it.each<[string, (here: Scene) => Promise<LoadBalancer>]>([
    [
      'nginx',
      (here) => startNginx(here.port, `large_client_header_buffers 4 4k; location / { ${GOOD} ${pass(here)} }`, MAP),
    ],
    ['HAProxy', (here) => startHaproxy(here.port, here.gateway.port, [], 'tune.bufsize 8192')],
  ])('big header fields refused by %s: says at which size tokens die, and by whom', async (_, start) => {
    const here = await scene();
    await behind(start(here));
    const findings = await findingsFor(here.url);
    expectFinding(findings, 'header_too_small', 'problem');
    const [, bytes] = /more than about (\d+) bytes/.exec(findings.get('header_too_small')?.seen ?? '') ?? [];
    expect(Number(bytes)).toBeGreaterThan(2000);
    expect(Number(bytes)).toBeLessThan(8192);
    expect(findings.get('header_too_small')?.seen).toContain('what stands in front of the gateway');
  });

  it.each([
    [3600, 'problem'],
    [-3600, 'problem'],
    [6, 'warning'],
  ] as const)('a clock that is %d seconds ahead: a %s', async (seconds, level) => {
    const here = await scene({ clock: () => Date.now() + seconds * 1000 });
    await behind(startNginx(here.port, `location / { ${GOOD} ${pass(here)} }`, MAP));
    const findings = await findingsFor(here.url);
    expectFinding(findings, 'clock_offset', level);
    expect(findings.get('clock_offset')?.seen).toContain(seconds > 0 ? 'ahead of' : 'behind');
  });

  it('an origin that is not the configured one', async () => {
    const here = await scene({
      config: { public_origin: 'https://cloud.example.com', doctor: { token_file: tokenFile } },
    });
    await behind(startNginx(here.port, `location / { ${GOOD} ${pass(here)} }`, MAP));
    expectFinding(await findingsFor(here.url), 'origin_differs', 'problem');
  });

  it('nobody there, somebody else there, and a token that is not the gateway’s', async () => {
    const here = await scene();
    expectFinding(await findingsFor(here.url), 'unreachable', 'problem');
    await behind(startNginx(here.port, 'location /.well-known/ { return 404; } location / { return 200; }'));
    expectFinding(await findingsFor(here.url), 'not_the_gateway', 'problem');
    const direct = `http://127.0.0.1:${here.gateway.port}`;
    expectFinding(await findingsFor(direct, { token: 'x'.repeat(40) }), 'path_changed', 'problem');
  });
});

describe('sallyport doctor: TLS that ends in front', { timeout: 60_000 }, () => {
  let authority: TestCertificate;
  let server: string;
  let job: TestCertificate;
  beforeAll(() => {
    authority = makeCertificate({ name: 'authority', authority: true });
    const certificate = makeCertificate({ name: 'lb', hosts: ['127.0.0.1'], issuer: authority });
    job = makeCertificate({ name: 'job' });
    writeFileSync(join(folder, 'lb.crt'), certificate.cert);
    writeFileSync(join(folder, 'lb.key'), certificate.key, { mode: 0o600 });
    server = `ssl_certificate ${join(folder, 'lb.crt')}; ssl_certificate_key ${join(folder, 'lb.key')}; ssl_verify_client optional_no_ca;`;
  });

  const asJob = () => ({ tls: { ca: authority.cert, certificate: job.cert, key: job.key } });

  it('without certificate forwarding', async () => {
    const here = await scene({}, 'https');
    await behind(startNginx(here.port, `${server} location / { ${GOOD} ${pass(here)} }`, MAP, 'ssl'));
    const findings = await findingsFor(here.url, asJob());
    expectFinding(findings, 'certificate_missing', 'problem');
    expect(findings.get('certificate_missing')?.change).toContain('listen.front_proxies');
    expect(findings.get('tls')?.seen).toContain('in front of the gateway');
  });

  it('with it, in the form of nginx, from a front proxy that the gateway knows', async () => {
    const front_proxies = [{ addresses: ['127.0.0.1'], client_certificate: 'nginx' }];
    const here = await scene({ config: { listen: { port: 0, front_proxies } } }, 'https');
    const field = 'proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;';
    await behind(startNginx(here.port, `${server} location / { ${GOOD} ${field} ${pass(here)} }`, MAP, 'ssl'));
    const findings = await findingsFor(here.url, asJob());
    expect(findings.get('certificate')?.level).toBe('ok');
  });

  it('a certificate that callers do not trust', async () => {
    const here = await scene({}, 'https');
    await behind(startNginx(here.port, `${server} location / { ${GOOD} ${pass(here)} }`, MAP, 'ssl'));
    expectFinding(await findingsFor(here.url), 'tls_untrusted', 'problem');
  });
});

describe('the gateway’s part of it', () => {
  it('is off unless configured, and to others there is nothing', async () => {
    const off = await startTestGateway({ upstream: UPSTREAM });
    running.push(off);
    const on = await startTestGateway({ upstream: UPSTREAM, config: { doctor: { token_file: tokenFile } } });
    running.push(on);
    const at = (origin: string, headers: Record<string, string> = {}) =>
      fetch(`${origin}/.well-known/sallyport/doctor`, { headers });
    const direct = on.origin;
    expect((await at(direct, { 'sallyport-doctor': TOKEN })).status).toBe(200);
    for (const answer of [
      await at(off.origin, { 'sallyport-doctor': TOKEN }),
      await at(direct),
      await at(direct, { 'sallyport-doctor': TOKEN.slice(1) }),
      await at(direct, { authorization: `Bearer ${TOKEN}` }),
    ]) {
      expect([answer.status, ((await answer.json()) as { reason: string }).reason]).toEqual([
        404,
        'request.route_unknown',
      ]);
    }
  });

  it('tells digests of credentials, never their text, and is recorded', async () => {
    const here = await scene();
    const response = await fetch(`http://127.0.0.1:${here.gateway.port}/.well-known/sallyport/doctor`, {
      headers: { 'sallyport-doctor': TOKEN, authorization: 'DPoP some-secret-token', cookie: 'a-cookie' },
    });
    const text = await response.text();
    expect(response.headers.get('cache-control')).toBe('no-store');
    for (const secret of ['some-secret-token', 'a-cookie', TOKEN]) expect(text).not.toContain(secret);
    const [record] = await here.gateway.records(1);
    expect(JSON.stringify(record)).not.toContain(TOKEN);
    expect(record).toMatchObject({ custom: { sallyport: { outcome: 'answered', status: 200 } } });
  });
});
