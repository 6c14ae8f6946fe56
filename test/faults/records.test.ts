import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { GatewayProcess } from '../support/process.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { type Recorded, Scene } from './scene.ts';

const FULL = '/dev/full';

let scene: Scene;
let redis: RedisServer;
let upstream: RecordingUpstream;

beforeAll(async () => {
  scene = await Scene.create();
  redis = await startRedis();
  scene.atEnd(() => redis.stop());
  upstream = await scene.upstream();
  mkdirSync(join(scene.folder, 'rego'));
  writeFileSync(join(scene.folder, 'rego/decision.rego'), 'package sallyport\n\ndecision := {"allow": true}\n');
});

afterAll(() => scene.close());

function start(name: string, changes: Record<string, unknown>): Promise<GatewayProcess> {
  scene.useRecordsFile(`${name}.jsonl`);
  const policy = { path: 'rego', watch: false };
  const audit = { sinks: [{ type: 'file', path: scene.recordsFile }] };
  return scene.start(scene.config(upstream.origin, { policy, audit, ...changes }), `${name}.yaml`);
}

const workers = () => ({ processes: 2, replay: { store: 'redis', redis: { url: redis.url } } });

/** Makes requests at once, each to a path of its own. @returns the paths of those that were let through */
async function callMany(gateway: GatewayProcess, prefix: string, count: number): Promise<string[]> {
  const paths = Array.from({ length: count }, (_, n) => `/v1/${prefix}/${n}`);
  const seen = await Promise.all(paths.map((path) => scene.call(gateway, undefined, path)));
  return paths.filter((_, n) => seen[n]?.status === 200);
}

const pathOf = ({ custom }: Recorded) => custom.sallyport.path ?? '';

function linesOf(file: string): Recorded[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Recorded);
}

/** Puts a file in the place of a disk that is full, and says so as log rotation does. */
function makeRoom(gateway: GatewayProcess): void {
  rmSync(scene.recordsFile);
  gateway.signal('SIGHUP');
}

describe('a file for records on a disk that is full (ENOSPC)', () => {
  it('block: 503 gateway.record_unavailable before anything is sent upstream; nothing is lost, and it recovers', async () => {
    symlinkSync(FULL, join(scene.folder, 'block.jsonl'));
    const gateway = await start('block', {});
    // Known only once a record could not be written; that one waits.
    expect((await scene.call(gateway, undefined, '/v1/first')).status).toBe(200);
    await gateway.becomes(503, 'records');
    const before = upstream.requests.length;
    const refused = await scene.call(gateway, undefined, '/v1/refused');
    expect(refused).toMatchObject({ status: 503, reason: 'gateway.record_unavailable' });
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(upstream.requests).toHaveLength(before);
    expect(await gateway.metric('sallyport_records_available')).toBe(0);
    expect(gateway.log.some(({ msg }) => /^records cannot be written/.test(String(msg)))).toBe(true);

    makeRoom(gateway);
    await gateway.becomes(200);
    expect((await scene.call(gateway, undefined, '/v1/last')).status).toBe(200);
    await eventually('all records', () => linesOf(scene.recordsFile).length === 3);
    expect(linesOf(scene.recordsFile).map(pathOf)).toEqual(['/v1/first', '/v1/refused', '/v1/last']);
    expect(await gateway.stop()).toBe(0);
  });

  it('block: records that cannot be written to the end are told, and the exit code says so', {
    timeout: 40_000,
  }, async () => {
    symlinkSync(FULL, join(scene.folder, 'lost.jsonl'));
    const gateway = await start('lost', {});
    await scene.call(gateway);
    expect(await gateway.stop()).toBe(1);
    expect(gateway.log.some(({ msg, records }) => /are lost$/.test(String(msg)) && records === 1)).toBe(true);
  });

  it('spool: requests pass, and their records come in order when there is room', async () => {
    symlinkSync(FULL, join(scene.folder, 'spooled.jsonl'));
    const sinks = [{ type: 'file', path: join(scene.folder, 'spooled.jsonl') }];
    const gateway = await start('spooled', { audit: { sinks, on_failure: 'spool', spool_file: 'waiting.spool' } });
    for (const n of [1, 2, 3]) expect((await scene.call(gateway, undefined, `/v1/spooled/${n}`)).status).toBe(200);
    await eventually(
      'they are in the spool',
      async () => (await gateway.metric('sallyport_records_spooled_total')) === 3,
    );
    expect(await gateway.metric('sallyport_record_sink_up')).toBe(0);
    expect((await gateway.readiness()).status).toBe(200);
    makeRoom(gateway);
    await eventually('all records', () => linesOfWritten().length === 3);
    expect(linesOfWritten().map(pathOf)).toEqual(['/v1/spooled/1', '/v1/spooled/2', '/v1/spooled/3']);
  });
});

/** While the link to the full disk stands, there is nothing to be read. */
function linesOfWritten(): Recorded[] {
  try {
    return linesOf(scene.recordsFile);
  } catch {
    return [];
  }
}

describe('log rotation: the file is renamed, then SIGHUP', () => {
  it('two worker processes under load: no record is lost, torn or doubled', async () => {
    const gateway = await start('rotated', workers());
    const files = [scene.recordsFile];
    const passed: string[] = [];
    for (const turn of [1, 2, 3]) {
      const load = callMany(gateway, `turn${turn}`, 40);
      const away = `${scene.recordsFile}.${turn}`;
      renameSync(scene.recordsFile, away);
      files.push(away);
      gateway.signal('SIGHUP');
      await eventually('the new file', () => readable(scene.recordsFile));
      passed.push(...(await load));
    }
    passed.push(...(await callMany(gateway, 'after', 10)));
    expect(await gateway.stop()).toBe(0);
    expect(passed).toHaveLength(130);
    expect(files.flatMap(linesOf).map(pathOf).sort()).toEqual(passed.sort());
    const current = new Set(linesOf(scene.recordsFile).map(pathOf));
    expect(passed.filter((path) => path.startsWith('/v1/after/')).every((path) => current.has(path))).toBe(true);
  });
});

function readable(file: string): boolean {
  try {
    return readFileSync(file) !== undefined;
  } catch {
    return false;
  }
}

describe('records on standard output', () => {
  it('a pipe that two worker processes share: whole lines, one for each request, also the last ones', async () => {
    const gateway = await start('piped', { ...workers(), audit: { sinks: [{ type: 'stdout' }] } });
    const passed = await callMany(gateway, 'piped', 120);
    expect(passed).toHaveLength(120);
    expect(await gateway.stop()).toBe(0);
    const records = gateway.program
      .text()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Recorded);
    expect(records.map(pathOf).sort()).toEqual(passed.sort());
  });

  it.each([1, 2])(
    'a pipe that nobody reads does not keep %i process(es): exit code 1',
    { timeout: 60_000 },
    async (processes) => {
      const audit = { sinks: [{ type: 'stdout' }] };
      const gateway = await start(`unread${processes}`, { ...(processes === 2 && workers()), audit });
      gateway.program.child.stdout?.pause();
      for (let round = 0; round < 6; round++) await callMany(gateway, `unread/${'x'.repeat(2000)}${round}`, 40);
      gateway.signal('SIGTERM');
      const [code] = await new Promise<unknown[]>((resolve) =>
        gateway.program.child.once('exit', (...how) => resolve(how)),
      );
      expect(code).toBe(1);
      expect(gateway.log.some(({ msg }) => /are lost$/.test(String(msg)))).toBe(true);
      gateway.program.child.stdout?.resume();
    },
  );
});
