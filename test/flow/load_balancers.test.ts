import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { connect as connectHttp2, constants } from 'node:http2';
import { Agent, request as requestHttps } from 'node:https';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { diagnose } from '../../src/diagnosis/doctor.ts';
import { Scene, UPGRADE } from '../faults/scene.ts';
import { makeCertificate, type TestCertificate, thumbprintOf } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { blockOf, placed } from '../support/guide.ts';
import { type LoadBalancer, startFromFile } from '../support/load_balancer.ts';
import { isHere, KINDS, type Kind } from '../support/load_balancer_kinds.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRawTls } from '../support/raw_connection.ts';
import { OK, type RecordingUpstream } from '../support/recording_upstream.ts';
import { freePort, startRedis } from '../support/redis_server.ts';

/**
 * docs/guides/load_balancer.md as it stands: its files, with other ports, addresses and paths and nothing else, in real nginx, HAProxy and Envoy, in
 * front of two gateways that are processes of their own.
 */

const GUIDE = 'load_balancer.md';
const PATH = '/v1/projects/p1';
const SLOW = `${PATH}?slow`;
const TOKEN = 'a-doctors-token-of-more-than-32-characters';
const ca = makeCertificate({ name: 'ca', authority: true });
const clientCa = makeCertificate({ name: 'client ca', authority: true });
const edgeCa = makeCertificate({ name: 'edge ca', authority: true });
const job = makeCertificate({ name: 'job', issuer: clientCa });
const other = makeCertificate({ name: 'job', issuer: clientCa });
const der = ({ cert }: TestCertificate) => cert.replace(/-----[^-]+-----|\n/g, '');

/** Everything a caller could claim to have been shown, in every form and under every spelling. */
const FORGED = [
  ['Client-Cert', `:${der(job)}:`],
  ['X-SSL-Client-Cert', encodeURIComponent(job.cert)],
  ['X-SSL-Client-Cert', der(job)],
  ['X-Forwarded-Client-Cert', `Cert="${encodeURIComponent(job.cert)}"`],
  ['X-Forwarded-Tls-Client-Cert', der(job)],
].flatMap(([name = '', value = '']) => [name, name.toLowerCase(), name.replaceAll('-', '_')].map((as) => [as, value]));

const AMBIGUOUS = 'request.target_ambiguous';
/** Targets that some load balancers rewrite, and what the gateway refuses them for; null: they reach the upstream. */
const TARGETS: readonly [string, string | null][] = [
  ...[
    '/v1/projects/p1/builds/b~1',
    '/v1/projects/p1/builds/b%7E1',
    '/v1/projects/p1/builds/b%7e1',
    '/v1/projects/p1/builds/%C3%A9',
    '/v1/projects/p1/builds/%c3%a9',
    '/v1/projects/p1/builds/a%20b',
    '/v1/projects/p1/builds/a+b;c=d,e',
    '/v1/projects/%70%31',
    '/v1/projects/p1?',
    '/v1/projects/p1?a=b//c/../d/./e',
    '/v1/projects/p1?a=b%2F%2f%5C%20+&a=%2e%2E&&=',
  ].map((target): [string, null] => [target, null]),
  ['/v1/projects/p1/', 'policy.denied'],
  ['/v1/projects/p1;a=b', 'policy.insufficient_authorization_details'],
  ...[
    '/v1//projects/p1',
    '//v1/projects/p1',
    '/v1/projects/p1//',
    '/v1/./projects/p1',
    '/v1/projects/p1/.',
    '/v1/projects/p2/../p1',
    '/v1/projects/p1/..',
    '/../v1/projects/p1',
    '/v1/projects/p2/%2e%2e/p1',
    '/v1/projects/p2/.%2E/p1',
    '/v1/projects/p2%2F..%2Fp1',
    '/v1/projects%2Fp1',
    '/v1/projects%2fp1',
    '/v1/projects%5Cp1',
    '/v1\\projects\\p1',
    '/v1/projects/p1%00',
    '/v1/projects/p1%0d%0a',
    '/v1/projects/p1%252F',
    '/v1/projects/p1#fragment',
  ].map((target): [string, string] => [target, AMBIGUOUS]),
];

/** What only a proxy may say, and what Envoy would do when it believed its callers. */
const SAID_BY_PROXIES = {
  'x-envoy-retry-on': '5xx,gateway-error,reset,retriable-4xx,retriable-status-codes',
  'x-envoy-retriable-status-codes': '401,503',
  'x-envoy-max-retries': '5',
  'x-envoy-hedge-on-per-try-timeout': 'true',
  'x-envoy-upstream-rq-timeout-ms': '1',
  'x-envoy-upstream-rq-per-try-timeout-ms': '1',
  'x-envoy-internal': 'true',
  'x-envoy-original-path': '/v1/projects/other',
  'x-envoy-original-dst-host': '127.0.0.1:1',
  // Of a network that Envoy may take for its own: who is there may ask for retries.
  'x-forwarded-for': '10.0.0.1',
  'x-forwarded-host': 'other.example',
  'x-forwarded-proto': 'http',
  'x-forwarded-port': '1',
  'x-real-ip': '192.0.2.1',
  forwarded: 'for=192.0.2.1;host=other.example',
};

/** An answer to the handshake of UPGRADE that holds what RFC 6455 §4.2.2 asks for: HAProxy looks at it. */
const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

/** What a caller saw. */
interface Seen {
  readonly status: number;
  readonly reason: string | null;
  readonly headers: Readonly<Record<string, unknown>>;
}

describe.each(Object.keys(KINDS).filter(isHere))('%s', (name) => {
  const kind = KINDS[name] as Kind;
  let scene: Scene;
  let upstream: RecordingUpstream;
  let gateways: GatewayProcess[];
  let balancer: LoadBalancer;
  let origin: string;
  let start: (one: 0 | 1) => Promise<GatewayProcess>;
  /** What the upstream waits for before it answers a request for SLOW. */
  let held = Promise.withResolvers<void>();

  beforeAll(async () => {
    scene = await Scene.create();
    upstream = await scene.upstream(async (connection) => {
      for (let n = 1; ; n++) {
        const { head, target } = await connection.request(n);
        if (target === SLOW) await held.promise;
        connection.send(/^upgrade: websocket/im.test(head) ? SWITCHED : OK);
      }
    });
    const redis = await startRedis();
    scene.atEnd(() => redis.stop());
    const [front = 0, gatewayPort = 0, second = 0, admin = 0] = await Promise.all([1, 2, 3, 4].map(() => freePort()));
    const here = { front, gateways: gatewayPort, second, admin, folder: scene.folder };
    writeFiles(scene.folder);
    start = (one) => {
      const text = placed(blockOf(GUIDE, kind.gateway), kind.gatewayPlaces(here, one));
      const config = parse(text) as { limits?: Record<string, unknown> };
      return scene.start(
        scene.config(
          upstream.origin,
          {
            admin: { port: 0 },
            ...config,
            limits: { ...config.limits, stop_grace_ms: 5000 },
            replay: { store: 'redis', redis: { url: redis.url } },
            doctor: { token_file: 'doctor.token' },
          },
          { websocket: true, upstream: { url: upstream.origin, timeout_ms: 30_000 } },
        ),
        `gateway_${one}.yaml`,
      );
    };
    gateways = await Promise.all([start(0), start(1)]);
    balancer = await startFromFile(here.front, kind.program, placed(blockOf(GUIDE, kind.file), kind.places(here)));
    scene.atEnd(() => balancer.stop());
    origin = `https://127.0.0.1:${here.front}`;
    await eventually('it serves', async () => (await call(await scene.headers({ origin }))).status === 200);
  }, 60_000);
  afterAll(() => scene.close());

  /** Requests that each of the nodes has finished. */
  const served = () => Promise.all(gateways.map((gateway) => gateway.metric('sallyport_requests_total')));

  /** Starts the nodes that have ended again, and waits until both get requests. */
  async function bothServe(): Promise<void> {
    for (const one of [0, 1] as const) {
      const { exitCode, signalCode } = (gateways[one] as GatewayProcess).program.child;
      if (exitCode !== null || signalCode !== null) gateways[one] = await start(one);
    }
    const before = await served();
    await eventually('both nodes get requests', async () => {
      await call(await scene.headers({ origin })).catch(() => undefined);
      return (await served()).every((count, one) => count > (before[one] as number));
    });
  }

  const own = (client?: TestCertificate | null) => (client ? { cert: client.cert, key: client.key } : {});

  /** One request over HTTP/1.1, on a connection of its own. */
  function call(
    headers: Record<string, string | string[]>,
    client?: TestCertificate | null,
    { method = 'GET', agent = false as Agent | false, body = '', path = '' } = {},
  ): Promise<Seen> {
    return new Promise((resolve, reject) => {
      const target = path || PATH + (method === 'POST' ? '/builds' : '');
      const options = { method, path: target, headers, servername: '', ca: ca.cert, agent, ...own(client) };
      const outgoing = requestHttps(origin, options, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        answer.on('end', () => resolve(seenOf(answer.statusCode ?? 0, answer.headers, text)));
        answer.on('error', reject);
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  /** One request over HTTP/2. */
  async function callHttp2(headers: Record<string, string>, client?: TestCertificate | null): Promise<Seen> {
    const session = connectHttp2(origin, { ca: ca.cert, ...own(client) });
    try {
      return await new Promise<Seen>((resolve, reject) => {
        session.on('error', reject);
        const stream = session.request({ ':path': PATH, ...headers });
        stream.on('error', reject);
        let text = '';
        stream.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        stream.on('response', (fields) => {
          stream.on('end', () => resolve(seenOf(Number(fields[constants.HTTP2_HEADER_STATUS]), fields, text)));
        });
        stream.end();
      });
    } finally {
      session.close();
    }
  }

  const bound = async (certificate: TestCertificate) => {
    const token = await scene.issuer.token(null, { claims: { cnf: { 'x5t#S256': thumbprintOf(certificate) } } });
    return { authorization: `Bearer ${token}` };
  };

  it('DPoP: passes once, over HTTP/1.1 and HTTP/2; the second time is a replay, on whichever node', async () => {
    for (const send of [call, callHttp2]) {
      const headers = await scene.headers({ origin });
      const before = upstream.requests.length;
      expect(await send(headers)).toMatchObject({ status: 200 });
      for (let n = 0; n < 4; n++) {
        expect(await send(headers)).toMatchObject({ status: 401, reason: 'proof.replayed' });
      }
      expect(upstream.requests.length - before).toBe(1);
      expect(upstream.requests.at(-1)?.target).toBe(PATH);
    }
  });

  it.each(TARGETS)('the target is judged, and goes on, as it was sent: %s', async (target, reason) => {
    const counts = () => [upstream.requests.length, upstream.requests.filter((one) => one.target === target).length];
    const [all = 0, same = 0] = counts();
    const seen = await call(await scene.headers({ origin }, target.split('?', 1)[0]), null, { path: target });
    if (reason === null) {
      expect(seen.status).toBe(200);
      expect(counts()).toEqual([all + 1, same + 1]);
      return;
    }
    expect(counts()).toEqual([all, same]);
    expect(seen.status).toBe(reason === AMBIGUOUS ? 400 : 403);
    // What reads requests itself may refuse some before the gateway.
    expect(kind.endsTls && reason === AMBIGUOUS ? [reason, null] : [reason]).toContain(seen.reason);
  });

  it('RFC 9110 §15.5.20: another host is refused by the gateway, over HTTP/1.1 and HTTP/2', async () => {
    const before = upstream.requests.length;
    const headers = await scene.headers({ origin });
    const refused = { status: 421, reason: 'request.host_unknown' };
    expect(await call({ ...headers, host: 'other.example' })).toMatchObject(refused);
    expect(await callHttp2({ ...headers, ':authority': 'other.example' })).toMatchObject(refused);
    expect(upstream.requests).toHaveLength(before);
  });

  it('more fields than the gateway takes are refused by the gateway', async () => {
    const fields = Object.fromEntries(Array.from({ length: 120 }, (_, n) => [`x-field-${n}`, 'x']));
    const seen = await call({ ...(await scene.headers({ origin })), ...fields });
    expect(seen).toMatchObject({ status: 431, reason: 'request.too_many_headers' });
  });

  it('what only a proxy may say: the upstream does not hear it from a caller, and no request is made again for it', async () => {
    const headers = { ...(await scene.headers({ origin })), ...SAID_BY_PROXIES, 'x-request-id': randomUUID() };
    const before = await served();
    expect(await call(headers)).toMatchObject({ status: 200 });
    const [arrived, ...others] = upstream.requests.filter((one) => one.head.includes(headers['x-request-id']));
    expect(others).toEqual([]);
    expect(arrived?.head).not.toMatch(/x-envoy|x-forwarded|x-real-ip|192\.0\.2|10\.0\.0|other\.example/i);
    expect(await call(headers)).toMatchObject({ status: 401, reason: 'proof.replayed' });
    await eventually('both are counted', async () => sum(await served()) >= sum(before) + 2);
    expect(sum(await served())).toBe(sum(before) + 2);
  });

  it('RFC 9110 §10.1.1: the gateway says whether it wants the body', async () => {
    const fields = 'Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n';
    const build = (await scene.bytes({ origin }, `${PATH}/builds`, 'POST')).replace(/\r\n$/, fields);
    const connection = await connectRawTls(balancer.port, { ca: ca.cert });
    connection.send(build);
    await connection.until('HTTP/1.1 100 Continue\r\n\r\n');
    connection.send('{}');
    await connection.until('HTTP/1.1 200 ');
    connection.socket.destroy();
    const again = await connectRawTls(balancer.port, { ca: ca.cert });
    again.send(build);
    await again.until('proof.replayed');
    // nginx asks for every body itself.
    if (kind.program !== 'nginx' || !kind.endsTls) expect(again.received).toMatch(/^HTTP\/1\.1 401 /);
    again.socket.destroy();
  });

  it('two DPoP fields are refused as two', async () => {
    const { authorization = '', dpop = '' } = await scene.headers({ origin });
    const seen = await call({ authorization, DPoP: [dpop, dpop] });
    expect(seen.status).toBeGreaterThanOrEqual(400);
    expect(['request.proof_repeated', null]).toContain(seen.reason);
  });

  it('RFC 8705 §3: the certificate of the caller arrives; another and none are told apart', async () => {
    for (const send of [call, callHttp2]) {
      expect(await send(await bound(job), job)).toMatchObject({ status: 200 });
      expect(await send(await bound(job), other)).toMatchObject({ status: 401, reason: 'proof.key_mismatch' });
      expect(await send(await bound(job))).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
    }
  });

  it('forged certificate fields from outside: as if they had not been sent', async () => {
    const before = upstream.requests.length;
    for (const [field = '', value = ''] of FORGED) {
      const forged = { ...(await bound(job)), [field]: value };
      expect([field, await call(forged)]).toMatchObject([field, { status: 401, reason: 'proof.certificate_missing' }]);
      expect([field, await call(forged, other)]).toMatchObject([field, { status: 401, reason: 'proof.key_mismatch' }]);
    }
    const [field = '', value = ''] = FORGED[0] ?? [];
    const twice = await call({ ...(await bound(job)), [field]: [value, value] });
    expect(twice).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
    expect(upstream.requests).toHaveLength(before);
    // What is true passes beside what is forged.
    const everything = Object.fromEntries(FORGED as [string, string][]);
    expect(await call({ ...(await bound(other)), ...everything }, other)).toMatchObject({ status: 200 });
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a resumed session keeps its certificate, and gets no other: %s',
    async (version) => {
      const only = { minVersion: version, maxVersion: version } as const;
      const session = await sessionOf(job, only);
      const agent = new Agent({ keepAlive: false });
      const resumed = (client: TestCertificate | null, headers: Record<string, string>) =>
        new Promise<Seen>((resolve, reject) => {
          const options = { method: 'GET', headers, ca: ca.cert, agent, session, ...only, ...own(client) };
          const outgoing = requestHttps(new URL(PATH, origin), options, (answer) => {
            let text = '';
            answer.setEncoding('utf8').on('data', (part: string) => {
              text += part;
            });
            answer.on('end', () => resolve(seenOf(answer.statusCode ?? 0, answer.headers, text)));
          });
          outgoing.on('error', reject);
          outgoing.end();
        });
      expect(await resumed(job, await bound(job))).toMatchObject({ status: 200 });
      expect((await resumed(job, await bound(other))).status).toBe(401);
      expect((await resumed(null, await bound(other))).status).toBe(401);
    },
  );

  /** A TLS session that may be resumed. */
  async function sessionOf(client: TestCertificate, only: { minVersion: 'TLSv1.2' | 'TLSv1.3' }): Promise<Buffer> {
    const socket = connect({
      port: balancer.port,
      host: '127.0.0.1',
      ca: ca.cert,
      ...only,
      maxVersion: only.minVersion,
      ...own(client),
    });
    const session = new Promise<Buffer>((resolve) => socket.once('session', resolve));
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    // TLS 1.3 sends its tickets with the first answer.
    socket.write(`GET ${PATH} HTTP/1.1\r\nHost: ${new URL(origin).host}\r\nConnection: close\r\n\r\n`);
    socket.resume();
    const taken = await session;
    socket.destroy();
    return taken;
  }

  it('WebSocket', async () => {
    const connection = await connectRawTls(balancer.port, { ca: ca.cert });
    connection.send((await scene.bytes({ origin })).replace(/\r\n$/, UPGRADE));
    await connection.until('101 Switching');
    connection.socket.destroy();
  });

  it('long tokens pass; what is too long is refused by the gateway, with its reason', async () => {
    const claims = { cnf: { jkt: scene.job.key.thumbprint }, padding: 'x'.repeat(9000) };
    const token = await scene.issuer.token(null, { claims });
    expect(await call(await scene.job.headers('GET', origin + PATH, token))).toMatchObject({ status: 200 });
    const limit = Number(
      (parse(blockOf(GUIDE, kind.gateway)) as { limits?: { header_bytes: number } }).limits?.header_bytes ?? 16_384,
    );
    const fields = Object.fromEntries([1, 2, 3, 4].map((n) => [`x-padding-${n}`, 'x'.repeat(limit / 4)]));
    const seen = await call({ ...(await scene.headers({ origin })), ...fields });
    expect(seen).toMatchObject({ status: 431, reason: 'request.headers_too_large' });
    expect(seen.headers['proxy-status']).toMatch(/^sallyport/);
  });

  it('sallyport doctor finds nothing to change', { timeout: 60_000 }, async () => {
    const tls = { ca: ca.cert, certificate: job.cert, key: job.key };
    const findings = await diagnose({ url: new URL(origin), token: TOKEN, tls });
    expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
  });

  it('SIGTERM of a node under load: every request is answered by one or the other, each once', {
    timeout: 60_000,
  }, async () => {
    await bothServe();
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const before = upstream.requests.length;
    let going = true;
    const seen: Seen[] = [];
    const lost: unknown[] = [];
    const caller = async (method: string) => {
      while (going) {
        const path = PATH + (method === 'POST' ? '/builds' : '');
        const headers = await scene.headers({ origin }, path, method);
        const body = method === 'POST' ? '{}' : '';
        await call({ ...headers, 'content-type': 'application/json' }, null, { method, agent, body }).then(
          (one) => seen.push(one),
          (error) => lost.push(error),
        );
      }
    };
    const callers = ['GET', 'GET', 'POST', 'POST'].map(caller);
    await eventually('there is load', () => seen.length > 40);
    const stopped = await gateways[0]?.stop();
    const then = seen.length;
    await eventually('the other one serves', () => seen.length > then + 40);
    going = false;
    await Promise.all(callers);
    agent.destroy();
    expect(stopped).toBe(0);
    // Where TLS passes through, a caller may write on the connection that its node is just closing. Nobody read that.
    if (kind.endsTls) expect(lost).toEqual([]);
    expect(seen.filter(({ status }) => status !== 200)).toEqual([]);
    expect(upstream.requests.length - before).toBe(seen.length);
  });

  it.runIf(kind.program === 'envoy')(
    'a node that comes back takes requests, and serves alone when the other one stops',
    {
      timeout: 60_000,
    },
    async () => {
      await bothServe();
      expect(await gateways[1]?.stop()).toBe(0);
      const status = async () => (await call(await scene.headers({ origin }))).status;
      await eventually('it serves', async () => (await status().catch(() => 0)) === 200);
      for (let n = 0; n < 10; n++) expect(await call(await scene.headers({ origin }))).toMatchObject({ status: 200 });
    },
  );

  it.runIf(kind.program === 'envoy')(
    'kill -9 of a node with requests under way: none of them is made again',
    { timeout: 60_000 },
    async () => {
      await bothServe();
      const arrived = () => upstream.requests.filter(({ target }) => target === SLOW).length;
      const before = arrived();
      held = Promise.withResolvers();
      const ended: (Seen | Error)[] = [];
      const callers = Array.from({ length: 12 }, async () => {
        const seen = call(await scene.headers({ origin }), null, { path: SLOW });
        ended.push(await seen.catch((error: Error) => error));
      });
      await eventually('all of them are under way', () => arrived() === before + callers.length);
      await gateways[0]?.stop('SIGKILL');
      await eventually('the callers of that node know', () => ended.length > 0);
      held.resolve();
      await Promise.all(callers);
      expect(arrived()).toBe(before + callers.length);
      const lost = ended.filter((one) => one instanceof Error || one.status !== 200);
      expect(lost.length).toBeGreaterThan(0);
      expect(lost.length).toBeLessThan(callers.length);
      // Made again, it would have been a replay on the other node.
      expect(lost.filter((one) => !(one instanceof Error) && one.reason !== null)).toEqual([]);
    },
  );
});

describe('files of load balancers that are not run here', () => {
  it('Traefik: every router has the middleware that passes the certificate on', () => {
    const { http, tls } = parse(blockOf(GUIDE, 'traefik, dynamic configuration'));
    const { middlewares, service, tls: asked } = http.routers.cloud;
    expect(http.middlewares[middlewares[0]]).toEqual({ passTLSClientCert: { pem: true } });
    expect(http.services[service].loadBalancer.passHostHeader).toBe(true);
    expect(tls.options[asked.options].clientAuth.clientAuthType).toBe('RequestClientCert');
  });
});

/** The certificates that the files name, in one folder. */
function writeFiles(folder: string): void {
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o600 });
  const cloud = makeCertificate({ name: 'cloud', hosts: ['cloud.example.com', '127.0.0.1'], issuer: ca });
  const gateway = makeCertificate({ name: 'gateway', hosts: ['gateway.internal'], issuer: ca });
  const edge = makeCertificate({ name: 'edge', hosts: ['edge.internal'], issuer: edgeCa });
  for (const [file, one] of Object.entries({ cloud, gateway, edge })) {
    write(`${file}.crt`, one.cert);
    write(`${file}.key`, one.key);
    write(`${file}.pem`, one.cert + one.key);
  }
  write('client_ca.pem', clientCa.cert);
  write('edge_ca.pem', edgeCa.cert);
  write('gateway_ca.pem', ca.cert);
  write('doctor.token', TOKEN);
}

function seenOf(status: number, headers: Readonly<Record<string, unknown>>, text: string): Seen {
  const reason = /"reason":"([^"]+)"/.exec(text)?.[1] ?? null;
  return { status, reason, headers };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
