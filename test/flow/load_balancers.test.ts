import { existsSync, writeFileSync } from 'node:fs';
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
import { type Balancer, type LoadBalancer, NO_ENVOY, startFromFile } from '../support/load_balancer.ts';
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

/** An answer to the handshake of UPGRADE that holds what RFC 6455 §4.2.2 asks for: HAProxy looks at it. */
const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

/** Where a scene is. */
interface Places {
  readonly front: number;
  readonly gateways: number;
  /** Of the second gateway, where both have one address. */
  readonly second: number;
  readonly admin: number;
  readonly folder: string;
}

interface Kind {
  readonly program: Balancer;
  readonly file: string;
  readonly gateway: string;
  /** Whether each request is balanced, and not the connection of its caller. */
  readonly endsTls: boolean;
  /** Of the file of the load balancer. */
  places(places: Places): Record<string, string | number>;
  /** Of the configuration of one of the gateways. */
  gatewayPlaces(places: Places, one: 0 | 1): Record<string, string | number>;
}

const NODES = ['127.0.0.11', '127.0.0.12'] as const;
const nodes = ({ gateways }: Places) => ({
  '10.0.0.11:8443': `${NODES[0]}:${gateways}`,
  '10.0.0.12:8443': `${NODES[1]}:${gateways}`,
});
const node = ({ gateways, admin, front }: Places, one: 0 | 1) => ({
  'https://cloud.example.com': `https://127.0.0.1:${front}`,
  '10.0.0.11': NODES[one],
  '8443': gateways,
  '9901': admin,
});

function envoyPlaces({ front, gateways, admin }: Places) {
  return {
    '0.0.0.0, port_value: 443 ': `127.0.0.1, port_value: ${front} `,
    '10.0.0.11, port_value: 8443': `${NODES[0]}, port_value: ${gateways}`,
    '10.0.0.12, port_value: 8443': `${NODES[1]}, port_value: ${gateways}`,
    '9901': admin,
  };
}

const KINDS: Readonly<Record<string, Kind>> = {
  'HAProxy, TLS passes through': {
    program: 'haproxy',
    file: '/etc/haproxy/haproxy.cfg: TLS passes through',
    gateway: 'gateway.yaml: TLS passes through',
    endsTls: false,
    places: (here) => ({ 'bind :443': `bind 127.0.0.1:${here.front}`, ...nodes(here), '9901': here.admin }),
    gatewayPlaces: node,
  },
  'nginx, TLS passes through': {
    program: 'nginx',
    file: '/etc/nginx/nginx.conf: TLS passes through',
    gateway: 'gateway.yaml: TLS passes through',
    endsTls: false,
    places: (here) => ({ 'listen 443': `listen 127.0.0.1:${here.front}`, ...nodes(here) }),
    gatewayPlaces: node,
  },
  'nginx, TLS ends in front': {
    program: 'nginx',
    file: '/etc/nginx/nginx.conf: TLS ends in nginx',
    gateway: 'gateway.yaml: TLS ends in nginx',
    endsTls: true,
    places: ({ front, gateways, second, folder }) => ({
      'listen 443': `listen 127.0.0.1:${front}`,
      '127.0.0.1:8080': `127.0.0.1:${gateways}`,
      '127.0.0.1:8081': `127.0.0.1:${second}`,
      '/etc/nginx': folder,
    }),
    gatewayPlaces: ({ front, gateways, second }, one) => ({
      'https://cloud.example.com': `https://127.0.0.1:${front}`,
      '8080': one === 0 ? gateways : second,
    }),
  },
  'HAProxy, TLS ends in front': {
    program: 'haproxy',
    file: '/etc/haproxy/haproxy.cfg: TLS ends in HAProxy',
    gateway: 'gateway.yaml: TLS ends in HAProxy',
    endsTls: true,
    places: (here) => ({
      'bind :443': `bind 127.0.0.1:${here.front}`,
      ...nodes(here),
      '9901': here.admin,
      '/etc/haproxy': here.folder,
    }),
    gatewayPlaces: node,
  },
  'Envoy, TLS passes through': {
    program: 'envoy',
    file: '/etc/envoy/envoy.yaml: TLS passes through',
    gateway: 'gateway.yaml: TLS passes through',
    endsTls: false,
    places: envoyPlaces,
    gatewayPlaces: node,
  },
  'Envoy, TLS ends in front': {
    program: 'envoy',
    file: '/etc/envoy/envoy.yaml: TLS ends in Envoy',
    gateway: 'gateway.yaml: TLS ends in Envoy',
    endsTls: true,
    places: (here) => ({ ...envoyPlaces(here), '/etc/envoy': here.folder }),
    gatewayPlaces: node,
  },
};

/** nginx with the module for TLS that passes through, where the guide's file looks for it, is not in every distribution's package. */
const hasStream = ['/usr/share/nginx/modules', '/etc/nginx/modules'].some((folder) =>
  existsSync(join(folder, 'ngx_stream_module.so')),
);

/** What a caller saw. */
interface Seen {
  readonly status: number;
  readonly reason: string | null;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** Whether a kind can be had on this machine. */
const isHere = (name: string) =>
  name === 'nginx, TLS passes through' ? hasStream : !(NO_ENVOY && name.startsWith('Envoy'));

describe.each(Object.keys(KINDS).filter(isHere))('%s', (name) => {
  const kind = KINDS[name] as Kind;
  let scene: Scene;
  let upstream: RecordingUpstream;
  let gateways: GatewayProcess[];
  let balancer: LoadBalancer;
  let origin: string;

  beforeAll(async () => {
    scene = await Scene.create();
    upstream = await scene.upstream(async (connection) => {
      for (let n = 1; ; n++) {
        const { head } = await connection.request(n);
        connection.send(/^upgrade: websocket/im.test(head) ? SWITCHED : OK);
      }
    });
    const redis = await startRedis();
    scene.atEnd(() => redis.stop());
    const [front = 0, gatewayPort = 0, second = 0, admin = 0] = await Promise.all([1, 2, 3, 4].map(() => freePort()));
    const here = { front, gateways: gatewayPort, second, admin, folder: scene.folder };
    writeFiles(scene.folder);
    const start = (one: 0 | 1) => {
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
          { websocket: true },
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

  const own = (client?: TestCertificate | null) => (client ? { cert: client.cert, key: client.key } : {});

  /** One request over HTTP/1.1, on a connection of its own. */
  function call(
    headers: Record<string, string | string[]>,
    client?: TestCertificate | null,
    { method = 'GET', agent = false as Agent | false, body = '' } = {},
  ): Promise<Seen> {
    return new Promise((resolve, reject) => {
      const url = new URL(PATH + (method === 'POST' ? '/builds' : ''), origin);
      const outgoing = requestHttps(url, { method, headers, ca: ca.cert, agent, ...own(client) }, (answer) => {
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
