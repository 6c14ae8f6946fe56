import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endKeys, writeApiToken } from '../support/api_token.ts';
import { eventually } from '../support/eventually.ts';
import { GatewayProcess } from '../support/gateway_process.ts';
import { TestJob } from '../support/issuer.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

/** A whole gateway with two processes: WebSockets and event streams end with token, job and policy, in every process, and each says why. */

const ROOT = resolve(import.meta.dirname, '../..');
const PATH = '/v1/projects/p1';
const GRACE_SECONDS = 2;
const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

let upstream: RecordingUpstream;
let gateway: GatewayProcess;
const open: RawConnection[] = [];

beforeEach(async () => {
  upstream = await startRecordingUpstream(async (connection) => {
    const { head } = await connection.request();
    const socket = /upgrade: websocket/i.test(head);
    connection.send(
      socket
        ? 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
        : 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    const timer = setInterval(() => connection.send(socket ? '\x81\x04ping' : '6\r\nevent\n\r\n'), 50);
    connection.socket.once('close', () => clearInterval(timer));
  });
  gateway = await GatewayProcess.start({
    upstream: upstream.origin,
    prepare: writeApiToken,
    config: {
      processes: 2,
      admin: { port: 0, api_token_file: 'admin.token' },
      ended_jobs: { store: 'memory' },
      dpop: { nonce: 'off' },
      routes: [
        {
          name: 'projects',
          path_prefix: '/v1',
          upstream: { url: upstream.origin },
          resource: 'https://cloud.example.com/v1',
          operations: join(ROOT, 'catalogs/demo_cloud.yaml'),
          websocket: true,
          // So that two processes need no Redis.
          replay: 'window_only',
          expiry_grace_seconds: GRACE_SECONDS,
        },
      ],
    },
  });
}, 120_000);
afterEach(async () => {
  for (const { socket } of open.splice(0)) socket.destroy();
  gateway.discard();
  await upstream.close();
});

async function begin(upgrade: boolean, job: TestJob, exp?: number): Promise<RawConnection> {
  const token = await gateway.issuer.token(job.key.thumbprint, { claims: exp === undefined ? {} : { exp } });
  const fields = Object.entries(await job.headers('GET', gateway.origin + PATH, token));
  const connection = await connectRaw(Number(new URL(gateway.origin).port));
  open.push(connection);
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  connection.send(
    `GET ${PATH} HTTP/1.1\r\nHost: ${new URL(gateway.origin).host}\r\n${lines}${upgrade ? UPGRADE : ''}\r\n`,
  );
  await connection.until(upgrade ? 'ping' : 'event');
  return connection;
}

/** Reasons in the records so far. */
function reasons(): (string | undefined)[] {
  const file = join(gateway.folder, 'records.jsonl');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  return lines.map(
    (line) => (JSON.parse(line) as { custom: { sallyport: { reason?: string } } }).custom.sallyport.reason,
  );
}

const all = async (job: TestJob, exp?: number): Promise<[sockets: RawConnection[], streams: RawConnection[]]> => [
  await Promise.all(Array.from({ length: 4 }, () => begin(true, job, exp))),
  await Promise.all(Array.from({ length: 4 }, () => begin(false, job, exp))),
];

async function areCut(connections: readonly RawConnection[], reason: string): Promise<void> {
  await eventually('all are over', () => connections.every(({ ended, socket }) => ended || socket.closed), 30);
  for (const { received } of connections) expect(received).not.toContain('\r\n0\r\n\r\n');
  await eventually(
    'each has its record',
    () => reasons().filter((each) => each === reason).length === connections.length,
  );
}

const isOpen = ({ ended, socket }: RawConnection) => !ended && !socket.closed;

describe('two processes', { timeout: 120_000 }, () => {
  it('forward.upgrade_expired, forward.exchange_expired: with the token, and after the grace', async () => {
    const exp = Math.ceil(Date.now() / 1000) + 8;
    const [[sockets, streams], kept] = [await all(gateway.job, exp), await begin(true, gateway.job)];
    await areCut(sockets, 'forward.upgrade_expired');
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000);
    await areCut(streams, 'forward.exchange_expired');
    expect(Date.now()).toBeGreaterThanOrEqual((exp + GRACE_SECONDS) * 1000);
    expect(isOpen(kept)).toBe(true);
    await eventually('the upstream is left', () => upstream.connections.filter(isOpen).length === 1);
  });

  it('forward.upgrade_job_ended, token.job_ended: with the job', async () => {
    const job = await TestJob.create();
    const [[sockets, streams], kept] = [await all(job), await begin(false, gateway.job)];
    expect((await endKeys(gateway.admin, [job.key.thumbprint])).status).toBe(204);
    await areCut(sockets, 'forward.upgrade_job_ended');
    await areCut(streams, 'token.job_ended');
    expect(isOpen(kept)).toBe(true);
    await eventually('the upstream is left', () => upstream.connections.filter(isOpen).length === 1);
  });

  it('forward.upgrade_withdrawn, forward.exchange_withdrawn: with the policy', async () => {
    const [sockets, streams] = await all(gateway.job);
    const { body } = await gateway.page('/metrics');
    expect(body).toContain('sallyport_under_way{kind="websocket"} 4');
    expect(body).toContain('sallyport_under_way{kind="request"} 4');
    gateway.edit('starter/data.json', (text) =>
      text.replace('"tokens_without_job": "allow"', '"tokens_without_job": "refuse"'),
    );
    await areCut(sockets, 'forward.upgrade_withdrawn');
    await areCut(streams, 'forward.exchange_withdrawn');
    await eventually('the upstream is left', () => upstream.connections.filter(isOpen).length === 0);
    const metrics = await gateway.page('/metrics');
    expect(metrics.body).toMatch(/sallyport_requests_total\{[^}]*reason="forward.exchange_withdrawn"[^}]*\} 4/);
    expect(metrics.body).toContain('sallyport_under_way{kind="request"} 0');
  });
});
