import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { API_TOKEN, endKeys, writeApiToken } from '../support/api_token.ts';
import { eventually } from '../support/eventually.ts';
import { TestJob } from '../support/issuer.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { OK, type RecordingUpstream, type UpstreamConnection } from '../support/recording_upstream.ts';
import { freePort, type RedisServer, startRedis } from '../support/redis_server.ts';
import { sendSignal } from '../support/signal.ts';
import { PATH, Scene, SWITCHED, UPGRADE } from './scene.ts';

const START_MS = 90_000;
/** An answer that lasts. */
const EVENTS =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata\n\r\n';

/** Something new again and again, so that no idle timeout ends it. */
function sendEvents(connection: UpstreamConnection): void {
  connection.send(EVENTS);
  const timer = setInterval(() => connection.send('5\r\nmore\n\r\n'), 100);
  connection.socket.once('close', () => clearInterval(timer));
}

let scene: Scene;
let upstream: RecordingUpstream;

beforeAll(async () => {
  scene = await Scene.create();
  writeApiToken(scene.folder);
  mkdirSync(join(scene.folder, 'rego'));
  writeFileSync(join(scene.folder, 'rego/decision.rego'), 'package sallyport\n\ndecision := {"allow": true}\n');
  upstream = await scene.upstream(async (connection) => {
    for (let n = 1; ; n++) {
      const { target } = await connection.request(n);
      if (target.startsWith('/v1/events')) sendEvents(connection);
      else connection.send(target.startsWith('/v1/socket') ? SWITCHED : OK);
    }
  });
});

afterAll(() => scene.close());

/** One job of its own, with a token. */
class Job {
  readonly #job: TestJob;
  readonly #token: string;

  private constructor(job: TestJob, token: string) {
    this.#job = job;
    this.#token = token;
  }

  static async start(claims: Record<string, unknown> = {}): Promise<Job> {
    const job = await TestJob.create();
    return new Job(job, await scene.issuer.token(job.key.thumbprint, { claims }));
  }

  get thumbprint(): string {
    return this.#job.key.thumbprint;
  }

  async call(gateway: GatewayProcess) {
    return scene.call(gateway, await this.#job.headers('GET', gateway.origin + PATH, this.#token));
  }

  /** Opens an event stream, which lasts. */
  events(gateway: GatewayProcess): Promise<RawConnection> {
    return this.#open(gateway, '/v1/events', '\r\n');
  }

  /** Opens a WebSocket, which stays open. */
  socket(gateway: GatewayProcess): Promise<RawConnection> {
    return this.#open(gateway, '/v1/socket', UPGRADE);
  }

  async #open(gateway: GatewayProcess, path: string, rest: string): Promise<RawConnection> {
    const headers = await this.#job.headers('GET', gateway.origin + path, this.#token);
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const connection = await connectRaw(gateway.port);
    connection.send(`GET ${path} HTTP/1.1\r\nHost: ${new URL(gateway.origin).host}\r\n${fields.join('')}${rest}`);
    return connection;
  }

  /** Calls on new connections until every process has answered several times with this. */
  async isAnswered(gateway: GatewayProcess, status: number, reason: string | null): Promise<void> {
    let inARow = 0;
    await eventually(`each process answers ${status} ${reason}`, async () => {
      const seen = await Promise.all(Array.from({ length: 6 }, () => this.call(gateway)));
      inARow = seen.every((one) => one.status === status && one.reason === reason) ? inARow + 1 : 0;
      return inARow >= 2;
    });
  }
}

/** A policy of the scene's catalogue does not know sockets; this one lets everything pass. */
function configOf(changes: Record<string, unknown>, recordsFile = 'records.jsonl') {
  scene.useRecordsFile(recordsFile);
  return scene.config(
    upstream.origin,
    { admin: { port: 0, api_token_file: 'admin.token' }, policy: { path: 'rego' }, ...changes },
    { websocket: true },
  );
}

describe('token.job_ended with the memory store, several processes', { timeout: START_MS }, () => {
  let gateway: GatewayProcess;
  const changes = {
    processes: 2,
    ended_jobs: { store: 'memory', state_file: 'ended.json' },
  };
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis();
    scene.atEnd(() => redis.stop());
    gateway = await scene.start(
      configOf({ ...changes, replay: { store: 'redis', redis: { url: redis.url } } }),
      'a.yaml',
    );
  }, START_MS);

  it('no process takes a token once POST /ended-jobs is answered; others go on', async () => {
    const [ended, other] = [await Job.start(), await Job.start()];
    expect(await ended.call(gateway)).toMatchObject({ status: 200 });
    const sent = upstream.requests.length;
    expect((await endKeys(gateway.admin, [ended.thumbprint])).status).toBe(204);
    const answers = await Promise.all(Array.from({ length: 20 }, () => ended.call(gateway)));
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 401, reason: 'token.job_ended' });
      expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"');
    }
    expect(upstream.requests.length).toBe(sent);
    expect(await other.call(gateway)).toMatchObject({ status: 200 });
    const record = await scene.recordOf(decisionOf(answers[0]?.body));
    expect(record.custom.sallyport).toMatchObject({ outcome: 'refused', reason: 'token.job_ended', status: 401 });
    expect(JSON.stringify(record)).toContain('wf-4711'); // Whose job it was.
    expect(await gateway.metric('sallyport_ended_job_refusals_total', 'outcome="ended"')).toBeGreaterThanOrEqual(20);
    expect(await gateway.metric('sallyport_ended_job_keys', 'store="memory"')).toBeGreaterThanOrEqual(1);
  });

  it('ends open WebSockets of that key and no others', async () => {
    const [ended, other] = [await Job.start(), await Job.start()];
    const sockets = await Promise.all(Array.from({ length: 4 }, () => ended.socket(gateway)));
    const kept = await other.socket(gateway);
    for (const socket of [...sockets, kept]) await socket.until(({ received }) => received.includes('101 Switching'));
    expect((await endKeys(gateway.admin, [ended.thumbprint])).status).toBe(204);
    for (const socket of sockets) await socket.until(() => socket.socket.closed);
    expect(kept.socket.destroyed).toBe(false);
    await eventually(
      'records say why',
      () =>
        scene.records().filter(({ custom }) => custom.sallyport.reason === 'forward.upgrade_job_ended').length === 4,
    );
    expect((await endKeys(gateway.admin, [other.thumbprint])).status).toBe(204);
    await kept.until(() => kept.socket.closed);
  });

  it('ends answers that last, of that key and no others: they are cut, and the record says why', async () => {
    const [ended, other] = [await Job.start(), await Job.start()];
    const streams = await Promise.all(Array.from({ length: 4 }, () => ended.events(gateway)));
    const kept = await other.events(gateway);
    for (const stream of [...streams, kept]) await stream.until(({ received }) => received.includes('data'));
    expect((await endKeys(gateway.admin, [ended.thumbprint])).status).toBe(204);
    for (const stream of streams) await stream.until(() => stream.socket.closed);
    // No last chunk: what was cut does not look complete.
    for (const stream of streams) expect(stream.received).not.toContain('\r\n0\r\n\r\n');
    expect(kept.socket.destroyed).toBe(false);
    const cut = () =>
      scene
        .records()
        .filter(({ custom }) => custom.sallyport.reason === 'token.job_ended' && custom.sallyport.status === 200);
    await eventually('records say why', () => cut().length === 4);
    kept.socket.destroy();
  });

  it('a worker that takes the place of a dead one, and the next start of the gateway, know the list', async () => {
    const ended = await Job.start();
    expect((await endKeys(gateway.admin, [ended.thumbprint])).status).toBe(204);
    const [first] = gateway.workers;
    sendSignal(first, 'SIGKILL');
    await eventually(
      'another worker',
      () => gateway.workers.length === 2 && !gateway.workers.includes(first as number),
    );
    await ended.isAnswered(gateway, 401, 'token.job_ended');
    expect(statSync(join(scene.folder, 'ended.json')).mode & 0o777).toBe(0o600);
    await gateway.stop('SIGKILL');
    const replay = { store: 'redis', redis: { url: redis.url } };
    const next = await scene.start(configOf({ ...changes, replay }), 'b.yaml');
    await ended.isAnswered(next, 401, 'token.job_ended');
    gateway = next;
  });

  it.each([
    ['no JSON', 'x', 400, 'expected a JSON object'],
    ['no keys', '{}', 400, 'expected keys'],
    ['an empty list', '{"keys":[]}', 400, 'a list of 1 to 1000'],
    ['another member', '{"keys":[],"x":1}', 400, 'expected no member but keys'],
    ['no thumbprint', '{"keys":[{"expires_at":1}]}', 400, 'expected thumbprint'],
    ['a short thumbprint', '{"keys":[{"thumbprint":"abc","expires_at":1}]}', 400, 'expected thumbprint'],
    ['null', '{"keys":[null]}', 400, 'expected thumbprint'],
    ['no expiry', `{"keys":[{"thumbprint":"${'a'.repeat(43)}"}]}`, 400, 'expected expires_at'],
    [
      'milliseconds',
      `{"keys":[{"thumbprint":"${'a'.repeat(43)}","expires_at":${Date.now()}}]}`,
      400,
      'at most 31 days',
    ],
    ['a repeated member', '{"keys":[],"keys":[]}', 400, 'expected a JSON object'],
  ])('POST /ended-jobs with %s says what was expected', async (_name, body, status, words) => {
    const headers = { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'application/json' };
    const answer = await fetch(`${gateway.admin}/ended-jobs`, { method: 'POST', headers, body });
    expect(answer.status).toBe(status);
    expect(((await answer.json()) as { error: string }).error).toContain(words);
  });

  it('POST /ended-jobs without the token, or as another type, changes nothing', async () => {
    const job = await Job.start();
    const body = JSON.stringify({
      keys: [{ thumbprint: job.thumbprint, expires_at: Math.ceil(Date.now() / 1000) + 60 }],
    });
    const url = `${gateway.admin}/ended-jobs`;
    expect((await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).status).toBe(
      401,
    );
    const plain = { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'text/plain' };
    expect((await fetch(url, { method: 'POST', headers: plain, body })).status).toBe(415);
    expect(await job.call(gateway)).toMatchObject({ status: 200 });
  });
});

describe('token.job_ended on two gateways with several processes, through Redis', { timeout: START_MS }, () => {
  let port: number;
  let redis: RedisServer;
  let one: GatewayProcess;
  let two: GatewayProcess;

  beforeAll(async () => {
    port = await freePort();
    redis = await startRedis({ port });
    scene.atEnd(() => redis.stop());
    // Proofs are kept without Redis here, so that what is refused is refused for the list.
    const changes = {
      processes: 2,
      ended_jobs: { store: 'redis', redis: { url: redis.url, command_timeout_ms: 200 } },
    };
    const launch = (file: string) => scene.start({ ...withoutReplay(configOf(changes, `${file}.jsonl`)) }, file);
    [one, two] = [await launch('one.yaml'), await launch('two.yaml')];
  }, START_MS);

  it('what one is told, every process of both refuses', async () => {
    const job = await Job.start();
    await job.isAnswered(one, 200, null);
    await job.isAnswered(two, 200, null);
    expect((await endKeys(one.admin, [job.thumbprint])).status).toBe(204);
    await job.isAnswered(two, 401, 'token.job_ended');
    await job.isAnswered(one, 401, 'token.job_ended');
  });

  it('ends open WebSockets on the other gateway', async () => {
    const job = await Job.start();
    const sockets = await Promise.all(Array.from({ length: 4 }, () => job.socket(two)));
    for (const socket of sockets) await socket.until(({ received }) => received.includes('101 Switching'));
    expect((await endKeys(one.admin, [job.thumbprint])).status).toBe(204);
    for (const socket of sockets) await socket.until(() => socket.socket.closed);
  });

  it('a flush forgets nothing', async () => {
    const job = await Job.start();
    expect((await endKeys(one.admin, [job.thumbprint])).status).toBe(204);
    await job.isAnswered(two, 401, 'token.job_ended');
    await redis.call('FLUSHALL');
    await job.isAnswered(two, 401, 'token.job_ended');
    await eventually(
      'it is there again',
      async () => Number(await redis.call('ZCARD', 'sallyport:{ended_jobs}expiry')) > 0,
    );
  });

  it('Redis down: 503 token.ended_jobs_unavailable and unready, whoever ended is still refused; then it recovers', async () => {
    const [ended, other] = [await Job.start(), await Job.start()];
    expect((await endKeys(one.admin, [ended.thumbprint])).status).toBe(204);
    await ended.isAnswered(two, 401, 'token.job_ended');
    await redis.kill();
    await other.isAnswered(two, 503, 'token.ended_jobs_unavailable');
    await ended.isAnswered(two, 401, 'token.job_ended');
    await two.becomes(503, 'ended_jobs');
    expect((await endKeys(one.admin, [other.thumbprint])).status).toBe(503);
    redis = await startRedis({ port });
    scene.atEnd(() => redis.stop());
    await two.becomes(200);
    await ended.isAnswered(two, 401, 'token.job_ended');
    // Even what Redis could not be told.
    await other.isAnswered(two, 401, 'token.job_ended');
    expect(await two.metric('sallyport_ended_job_refusals_total', 'outcome="unavailable"')).toBeGreaterThan(0);
  });
});

function withoutReplay(config: ReturnType<typeof configOf>): Record<string, unknown> {
  const routes = config.routes.map((route) => ({ ...route, replay: 'window_only' }));
  return { ...config, routes };
}

function decisionOf(body: string | undefined): string | null {
  return ((JSON.parse(body ?? '{}') as { decision_id?: string }).decision_id ?? null) as string | null;
}
