import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRaw } from '../support/raw_connection.ts';
import { OK, type RecordingUpstream } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { Scene, SWITCHED, UPGRADE } from './scene.ts';

const REFUSED = 'the new policy was refused; the old one stays';
const REPLACED = 'the policy was replaced';
const ALLOW = 'package sallyport\n\ndecision := {"allow": true}\n';
const DENY = 'package sallyport\n\ndecision := {"allow": false}\n';

let scene: Scene;
let redis: RedisServer;
let upstream: RecordingUpstream;
let gateway: GatewayProcess;

const rego = () => join(scene.folder, 'rego');

/** Writes the policy, which the gateway notices by itself. */
function write(text: string, file = 'decision.rego'): void {
  writeFileSync(join(rego(), file), text);
}

beforeAll(async () => {
  scene = await Scene.create();
  redis = await startRedis();
  scene.atEnd(() => redis.stop());
  upstream = await scene.upstream(async (connection) => {
    for (let n = 1; ; n++) {
      const { target } = await connection.request(n);
      connection.send(target.startsWith('/v1/socket') ? SWITCHED : OK);
    }
  });
  mkdirSync(rego());
  write(ALLOW);
  gateway = await scene.start(
    scene.config(
      upstream.origin,
      { policy: { path: 'rego' }, processes: 2, replay: { store: 'redis', redis: { url: redis.url } } },
      { websocket: true },
    ),
  );
});

afterAll(() => scene.close());

const lines = (msg: string) => gateway.log.filter((line) => line['msg'] === msg);

/** Does something to the files, and waits until the new policy was refused. @returns why, as the log says */
async function refusedAfter(change: () => void): Promise<string> {
  const before = lines(REFUSED).length;
  change();
  await expect.poll(() => lines(REFUSED).length, { timeout: 15_000 }).toBeGreaterThan(before);
  return String(lines(REFUSED).at(-1)?.['why']);
}

/** Puts a policy in place and waits until it is live in every process. */
async function replaced(text: string): Promise<void> {
  const before = lines(REPLACED).length;
  write(text);
  // The primary process and two workers.
  await expect.poll(() => lines(REPLACED).length, { timeout: 15_000 }).toBe(before + 3);
}

/** The old policy decides, and operators can see why it still does. */
async function oldOneStays(why: RegExp): Promise<void> {
  expect((await scene.call(gateway)).status).toBe(200);
  const { status, checks } = await gateway.readiness();
  expect(status).toBe(200);
  expect(checks.find(({ name }) => name === 'policy')).toMatchObject({ ok: true, detail: expect.stringMatching(why) });
}

describe('a policy that is changed while the gateway runs: what cannot be used is refused, the old one stays', () => {
  it('Rego that does not compile: file and line in the log and in /readyz, counted; then it is put right', async () => {
    const failures = await gateway.metric('sallyport_policy_reloads_total', 'outcome="failure"');
    const revision = (await gateway.readiness()).checks.find(({ name }) => name === 'policy')?.detail;
    expect(revision).toMatch(/^sha256:/);
    const why = await refusedAfter(() => write(`${ALLOW}\nallow if input.nobody == nothing\n`));
    expect(why).toMatch(/decision\.rego:5:\d+: .*nothing is unsafe/);
    await oldOneStays(/a newer one was refused: .*decision\.rego:5/s);
    expect(await gateway.metric('sallyport_policy_reloads_total', 'outcome="failure"')).toBe(failures + 1);
    await replaced(DENY);
    expect(await scene.call(gateway)).toMatchObject({ status: 403, reason: 'policy.denied' });
    expect((await gateway.readiness()).checks.find(({ name }) => name === 'policy')?.detail).not.toBe(revision);
    await replaced(ALLOW);
    await oldOneStays(new RegExp(`^${revision}$`));
  });

  it('a built-in function that the gateway does not have', async () => {
    const text = 'package sallyport\n\ndecision := {"allow": opa.runtime().env.ALLOW == "yes"}\n';
    expect(await refusedAfter(() => write(text))).toMatch(/decision\.rego:3:\d+: .*opa\.runtime/);
    await oldOneStays(/opa\.runtime/);
  });

  it('without the entrypoint', async () => {
    expect(await refusedAfter(() => write('package elsewhere\n\ndecision := {"allow": true}\n'))).toMatch(
      /sallyport\/decision/,
    );
    await oldOneStays(/sallyport\/decision/);
  });

  it('data that is not JSON', async () => {
    expect(await refusedAfter(() => write('{"jobs": ', 'data.json'))).toContain('data.json');
    await oldOneStays(/data\.json/);
    rmSync(join(rego(), 'data.json'));
  });
});

describe('a policy that fails for some requests', () => {
  it('policy.failed, policy.undefined, policy.malformed: that request is refused, others pass', async () => {
    await replaced(
      `package sallyport

default decision := {"allow": true}

decision := {"allow": true, "reasons": []} if input.request.query.answer[0] == "two"
decision := {"allow": false} if input.request.query.answer[0] == "two"
decision := "yes" if input.request.query.answer[0] == "text"
`,
    );
    expect(await scene.call(gateway, undefined, '/v1/projects/p1?answer=two')).toMatchObject({
      status: 403,
      reason: 'policy.failed',
    });
    expect(await scene.call(gateway, undefined, '/v1/projects/p1?answer=text')).toMatchObject({
      status: 403,
      reason: 'policy.malformed',
    });
    expect((await scene.call(gateway)).status).toBe(200);
    await replaced('package sallyport\n\ndecision := {"allow": true} if not input.request.query.answer\n');
    expect(await scene.call(gateway, undefined, '/v1/projects/p1?answer=none')).toMatchObject({
      status: 403,
      reason: 'policy.undefined',
    });
    expect((await scene.call(gateway)).status).toBe(200);
    expect(gateway.workers).toHaveLength(2);
  });

  it('one version judges a request, and its record names it', async () => {
    const { headers, body } = await scene.call(gateway);
    expect(body).toBe('ok');
    const record = await scene.recordOf(headers.get('sallyport-decision-id'));
    const detail = (await gateway.readiness()).checks.find(({ name }) => name === 'policy')?.detail;
    expect(record).toMatchObject({ bundles: { policy: { revision: detail } } });
  });
});

describe('forward.upgrade_withdrawn: a WebSocket that the new policy would not open', () => {
  const open = async (path: string) => {
    const caller = await connectRaw(gateway.port);
    caller.send((await scene.bytes(gateway, path)).replace(/\r\n$/, UPGRADE));
    await caller.until('101 Switching');
    return caller;
  };

  it('is ended, others go on', async () => {
    await replaced(ALLOW);
    const [withdrawn, allowed] = [await open('/v1/socket/a'), await open('/v1/socket/b')];
    await replaced(`${ALLOW.replace('}', '} if input.request.path != "/v1/socket/a"')}`);
    await withdrawn.closed();
    const recordOf = (path: string) => scene.records().find(({ custom }) => custom.sallyport.path === path);
    await eventually('its record', () => recordOf('/v1/socket/a') !== undefined);
    expect(recordOf('/v1/socket/a')?.custom.sallyport).toMatchObject({
      status: 101,
      reason: 'forward.upgrade_withdrawn',
    });
    allowed.send('still here');
    await eventually('what it sends arrives', () => upstream.received.includes('still here'));
    expect(recordOf('/v1/socket/b')).toBeUndefined();
    allowed.socket.destroy();
  });
});

describe('a folder of policies that is gone', () => {
  it('a folder that is gone, and comes back', async () => {
    const away = join(scene.folder, 'away');
    expect(await refusedAfter(() => renameSync(rego(), away))).toContain('rego');
    await oldOneStays(/rego/);
    renameSync(away, rego());
    await expect
      .poll(async () => (await gateway.readiness()).checks.find(({ name }) => name === 'policy')?.detail, {
        timeout: 15_000,
      })
      .toMatch(/^sha256:[0-9a-f]+$/);
  });
});
