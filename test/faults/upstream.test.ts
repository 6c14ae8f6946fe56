import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { answerEach, OK, RecordingUpstream, type UpstreamScript } from '../support/recording_upstream.ts';
import { freePort } from '../support/redis_server.ts';
import { type Recorded, Scene } from './scene.ts';

const TIMEOUT_MS = 300;
const DAY_MS = 86_400_000;
const HALF = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it';

let scene: Scene;
let gateway: GatewayProcess;
const upstreams = new Map<string, RecordingUpstream>();

/** One upstream for each way to fail, behind a route of its own that is named like it. */
const SCRIPTS: Readonly<Record<string, UpstreamScript>> = {
  good: answerEach(),
  silent: () => undefined,
  slow_headers: async (connection) => {
    await connection.request();
    connection.send('HTTP/1.1 200 OK\r\nContent-Le');
  },
  slow_body: async (connection) => {
    await connection.request();
    connection.send(HALF);
  },
  half_open: async (connection) => {
    // It goes away, and the gateway's side hears nothing of it: neither data nor an end.
    await connection.request();
    connection.socket.pause();
  },
  resets_at_once: async (connection) => {
    await connection.request();
    connection.reset();
  },
  resets_within: async (connection, upstream) => {
    await connection.request();
    connection.send(HALF);
    await release(upstream);
    connection.reset();
  },
  truncated: async (connection, upstream) => {
    await connection.request();
    connection.send(HALF);
    await release(upstream);
    connection.end();
  },
  truncated_chunks: async (connection, upstream) => {
    await connection.request();
    connection.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n');
    await release(upstream);
    connection.end();
  },
  no_http: async (connection) => {
    await connection.request();
    connection.send('SSH-2.0-OpenSSH_9.2\r\n');
  },
};

/** A script goes on after the caller has seen what was sent before. */
const releases = new Map<RecordingUpstream, () => void>();
const release = (upstream: RecordingUpstream) => new Promise<void>((resolve) => releases.set(upstream, resolve));

beforeAll(async () => {
  scene = await Scene.create();
  const origins: Record<string, string> = { down: `http://127.0.0.1:${await freePort()}` };
  for (const [name, script] of Object.entries(SCRIPTS)) {
    const upstream = await scene.upstream(script);
    upstreams.set(name, upstream);
    origins[name] = upstream.origin;
  }
  for (const [name, tls] of Object.entries(certificates())) {
    const upstream = await new RecordingUpstream(answerEach(), tls).listen();
    scene.atEnd(() => upstream.close());
    upstreams.set(name, upstream);
    origins[name] = upstream.origin;
  }
  mkdirSync(join(scene.folder, 'rego'));
  writeFileSync(join(scene.folder, 'rego/decision.rego'), 'package sallyport\n\ndecision := {"allow": true}\n');
  const routes = Object.entries(origins).map(([name, url]) => ({
    name,
    path_prefix: `/${name}`,
    upstream: {
      url,
      timeout_ms: TIMEOUT_MS,
      connect_timeout_ms: 1000,
      ...(url.startsWith('https') && { ca_file: 'ca.pem' }),
    },
    resource: 'https://cloud.example.com/v1',
  }));
  gateway = await scene.start(scene.config('', { policy: { path: 'rego' }, routes }));
});

afterAll(() => scene.close());

function certificates(): Record<string, { cert: string; key: string }> {
  const ca = makeCertificate({ name: 'ca', authority: true });
  writeFileSync(join(scene.folder, 'ca.pem'), ca.cert);
  const hosts = ['127.0.0.1'];
  return {
    certificate_expired: makeCertificate({
      name: 'expired',
      hosts,
      issuer: ca,
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter: new Date(Date.now() - DAY_MS),
    }),
    certificate_of_another: makeCertificate({ name: 'other', hosts: ['other.example.com'], issuer: ca }),
    certificate_of_nobody: makeCertificate({ name: 'unknown', hosts }),
  };
}

async function call(name: string): Promise<RawConnection> {
  const caller = await connectRaw(gateway.port);
  caller.send(await scene.bytes(gateway, `/${name}/things`));
  return caller;
}

/** The one record of the request behind an answer. */
function recordOf(caller: RawConnection): Promise<Recorded> {
  return scene.recordOf(caller.answers[0]?.headers['sallyport-decision-id']?.[0] ?? idOf(caller));
}

const idOf = (caller: RawConnection) =>
  (JSON.parse(caller.answers[0]?.body ?? '{}') as { decision_id: string }).decision_id;

describe('an upstream that fails before its answer began: the gateway answers', () => {
  it.each([
    ['down', 502, 'forward.upstream_unreachable', 'destination_unavailable'],
    ['silent', 504, 'forward.upstream_timeout', 'http_response_timeout'],
    ['slow_headers', 504, 'forward.upstream_timeout', 'http_response_timeout'],
    ['half_open', 504, 'forward.upstream_timeout', 'http_response_timeout'],
    ['resets_at_once', 502, 'forward.upstream_broken', 'connection_terminated'],
    ['no_http', 502, 'forward.upstream_invalid', 'http_protocol_error'],
    ['certificate_expired', 502, 'forward.upstream_tls', 'tls_certificate_error'],
    ['certificate_of_another', 502, 'forward.upstream_tls', 'tls_certificate_error'],
    ['certificate_of_nobody', 502, 'forward.upstream_tls', 'tls_certificate_error'],
  ] as const)('%s: %i %s', async (name, status, reason, error) => {
    const caller = await call(name);
    await caller.until(({ answers }) => answers.length === 1 && answers[0]?.body.trimEnd().endsWith('}') === true);
    const [answer] = caller.answers;
    expect(answer?.status).toBe(status);
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ status, reason });
    expect(answer?.headers['proxy-status']).toEqual([`sallyport; error=${error}; details="${reason}"`]);
    expect((await recordOf(caller)).custom.sallyport).toMatchObject({ outcome: 'failed', status, reason });
    // Nothing was sent where the other side could not be known; elsewhere the request went out once.
    expect(upstreams.get(name)?.requests ?? []).toHaveLength(/down|certificate/.test(name) ? 0 : 1);
    // The connection to the caller is as good as before.
    caller.send(await scene.bytes(gateway, '/good/things'));
    await caller.until(({ answers }) => answers.length === 2);
    expect(caller.answers[1]?.status).toBe(200);
    caller.socket.destroy();
  });
});

describe('an upstream that fails within its answer: the connection is destroyed, the answer never looks complete', () => {
  it.each([
    ['slow_body', 'forward.upstream_timeout'],
    ['resets_within', 'forward.upstream_broken'],
    ['truncated', 'forward.upstream_broken'],
    ['truncated_chunks', 'forward.upstream_broken'],
  ] as const)('%s: %s', async (name, reason) => {
    const caller = await call(name);
    await caller.until('half of it');
    releases.get(upstreams.get(name) as RecordingUpstream)?.();
    await caller.closed();
    expect(caller.received).not.toContain('\r\n0\r\n');
    const { custom } = await recordOf(caller);
    expect(custom.sallyport).toMatchObject({
      outcome: 'failed',
      status: 200,
      reason,
      upstream: { status: 200, response_bytes: 10, complete: false },
    });
  });
});

describe('all the while', () => {
  it('other upstreams are served, every request has one record, and the faults are counted', async () => {
    const caller = await call('good');
    await caller.until(OK.slice(-2));
    caller.socket.destroy();
    await recordOf(caller);
    const ids = scene.records().map((record) => record.decision_id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(await gateway.metric('sallyport_requests_total')).toBe(ids.length);
    expect(await gateway.metric('sallyport_upstream_incomplete_total')).toBeGreaterThanOrEqual(4);
    expect((await gateway.readiness()).status).toBe(200);
  });
});
