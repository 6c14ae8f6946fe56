import { mkdirSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { OK, type RecordingUpstream, type UpstreamScript } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { Scene, SWITCHED, UPGRADE } from './scene.ts';

const CALLERS = 50;
/** Milliseconds: some answers of the upstream take as long. */
const SLOW_MS = 700;
const GRACE_MS = 4000;

let scene: Scene;
let redis: RedisServer;
let upstream: RecordingUpstream;

/** Answers at once, slowly, or never, as the path says; and switches to WebSocket. */
const obliging: UpstreamScript = async (connection) => {
  for (let n = 1; ; n++) {
    const { target } = await connection.request(n);
    if (target.startsWith('/v1/never')) return;
    if (target.startsWith('/v1/slow')) await sleep(SLOW_MS);
    connection.send(target.startsWith('/v1/socket') ? SWITCHED : OK);
  }
};

beforeAll(async () => {
  scene = await Scene.create();
  redis = await startRedis();
  scene.atEnd(() => redis.stop());
  upstream = await scene.upstream(obliging);
  mkdirSync(join(scene.folder, 'rego'));
  writeFileSync(join(scene.folder, 'rego/decision.rego'), 'package sallyport\n\ndecision := {"allow": true}\n');
});

afterAll(() => scene.close());

/** Starts a gateway whose records go to a file of its own. */
function start(processes: number, graceMs = GRACE_MS): Promise<GatewayProcess> {
  scene.useRecordsFile(`records_${processes}_${graceMs}.jsonl`);
  const upstreamOf = { url: upstream.origin, timeout_ms: 30_000 };
  return scene.start(
    scene.config(
      upstream.origin,
      {
        processes,
        policy: { path: 'rego', watch: false },
        limits: { stop_grace_ms: graceMs },
        replay: processes === 1 ? { store: 'memory' } : { store: 'redis', redis: { url: redis.url } },
      },
      { upstream: upstreamOf, websocket: true },
    ),
  );
}

/** A caller that makes one request after the other on its connection, until the gateway takes no more. */
class Caller {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #name: number;
  answered = 0;
  /** What became of the last request. */
  refused: string | null = null;

  constructor(name: number) {
    this.#name = name;
  }

  async run(gateway: GatewayProcess): Promise<void> {
    for (let n = 0; this.refused === null; n++) {
      // Every fifth caller waits for slow answers.
      const path = `/v1/${this.#name % 5 === 0 ? 'slow' : 'quick'}/${this.#name}/${n}`;
      const headers = await scene.headers(gateway, path);
      await this.#call(gateway, path, headers);
    }
    this.#agent.destroy();
  }

  #call({ port }: GatewayProcess, path: string, headers: Record<string, string>): Promise<void> {
    return new Promise((resolve) => {
      const failed = (error: NodeJS.ErrnoException) => {
        this.refused = error.code ?? error.message;
        resolve();
      };
      const outgoing = request({ host: '127.0.0.1', port, path, headers, agent: this.#agent }, (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk;
        });
        answer.on('error', failed);
        answer.on('end', () => {
          if (answer.statusCode === 200 && body === 'ok') this.answered++;
          else this.refused = `${answer.statusCode} ${body}`;
          resolve();
        });
      });
      outgoing.on('error', failed);
      outgoing.end();
    });
  }
}

async function openSocket(gateway: GatewayProcess): Promise<RawConnection> {
  const caller = await connectRaw(gateway.port);
  const bytes = await scene.bytes(gateway, '/v1/socket');
  caller.send(bytes.replace(/\r\n$/, UPGRADE));
  await caller.until('101 Switching');
  return caller;
}

/** A request that is under way for as long as the upstream does not answer. */
async function hang(gateway: GatewayProcess): Promise<RawConnection> {
  const caller = await connectRaw(gateway.port);
  const path = `/v1/never/${gateway.pid}`;
  caller.send(await scene.bytes(gateway, path));
  await eventually('the upstream has the request', () => upstream.requests.some(({ target }) => target === path));
  return caller;
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe.each([1, 2])('SIGTERM under load, %i process(es)', (processes) => {
  it('takes no more, finishes what it accepted, ends upgrades, writes every record, exit code 0', {
    timeout: 60_000,
  }, async () => {
    const gateway = await start(processes);
    const before = upstream.requests.length;
    const socket = await openSocket(gateway);
    const silent = await connectRaw(gateway.port);
    const callers = Array.from({ length: CALLERS }, (_, name) => new Caller(name));
    const running = callers.map((caller) => caller.run(gateway));
    await eventually('every caller was answered', () => callers.every(({ answered }) => answered > 0));

    gateway.signal('SIGTERM');
    await gateway.becomes(503, 'running');
    // Reset: it waited to be accepted at the moment in which that ended.
    await expect(connectRaw(gateway.port)).rejects.toMatchObject({
      code: expect.stringMatching(/^ECONN(REFUSED|RESET)$/),
    });
    await socket.closed();
    expect(await gateway.program.ended).toBe(0);
    await Promise.all(running);
    await silent.closed();

    // What was not answered was not accepted: there was no connection to be had, or nobody read it.
    for (const { refused } of callers) expect(refused).toMatch(/^E(CONNREFUSED|CONNRESET|PIPE)$/);
    const answered = callers.reduce((sum, caller) => sum + caller.answered, 0);
    expect(upstream.requests.length - before).toBe(answered + 1);
    const outcomes = scene.records().map(({ custom }) => custom.sallyport);
    expect(outcomes.filter(({ status }) => status === 200)).toHaveLength(answered);
    expect(outcomes.filter(({ status }) => status !== 200)).toMatchObject([
      { status: 101, reason: 'forward.stopping' },
    ]);
    expect(gateway.log.at(-1)).toMatchObject({ msg: 'stopped', whole: true });
  });
});

describe.each([1, 2])('a stop that cannot wait, %i process(es)', (processes) => {
  it('the grace time is over: 503 forward.stopping, recorded, exit code 1', { timeout: 60_000 }, async () => {
    const gateway = await start(processes, 400);
    const caller = await hang(gateway);
    expect(await gateway.stop()).toBe(1);
    expect(caller.answers[0]).toMatchObject({ status: 503 });
    expect(caller.answers[0]?.headers['connection']).toEqual(['close']);
    expect(scene.records()).toMatchObject([{ custom: { sallyport: { status: 503, reason: 'forward.stopping' } } }]);
    expect(gateway.log.some(({ msg }) => /^the grace time is over/.test(String(msg)))).toBe(true);
  });

  it('a second SIGTERM ends everything at once', { timeout: 60_000 }, async () => {
    const gateway = await start(processes, 20_000);
    const pids = [gateway.pid, ...gateway.workers];
    expect(pids).toHaveLength(processes === 1 ? 1 : 3);
    const caller = await hang(gateway);
    gateway.signal('SIGTERM');
    await gateway.says('"stopping"');
    gateway.signal('SIGTERM');
    await gateway.program.ended;
    expect(gateway.program.child.signalCode).toBe('SIGTERM');
    await caller.closed();
    await eventually('no process is left', () => !pids.some(isAlive));
  });
});

describe('other signals', () => {
  it('SIGHUP compiles the policy anew, SIGINT stops as SIGTERM does', { timeout: 60_000 }, async () => {
    const gateway = await start(1, 1000);
    expect((await scene.call(gateway, undefined, '/v1/quick')).status).toBe(200);
    const text = 'package sallyport\n\ndecision := {"allow": input.request.path != "/v1/quick"}\n';
    writeFileSync(join(scene.folder, 'rego/decision.rego'), text);
    gateway.signal('SIGHUP');
    await gateway.logs(({ msg }) => msg === 'the policy was replaced');
    expect((await scene.call(gateway, undefined, '/v1/quick')).status).toBe(403);
    expect((await scene.call(gateway, undefined, '/v1/other')).status).toBe(200);
    expect(await gateway.stop('SIGINT')).toBe(0);
    expect(gateway.log.some(({ msg, signal }) => msg === 'stopping' && signal === 'SIGINT')).toBe(true);
  });
});
