import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RegoEngine, type RegoEngineOptions, type RegoEngineProgress } from '../../src/rego/engine_host.ts';
import { sendSignal } from '../support/signal.ts';
import { makeEngineFolder } from './fake_engine.ts';

let engineFolder: URL;
let remove: () => void;
const engines: RegoEngine[] = [];

function makeEngine(options: RegoEngineOptions = {}): RegoEngine {
  const engine = new RegoEngine({ engineFolder, ...options });
  engines.push(engine);
  return engine;
}

beforeEach(() => {
  ({ folder: engineFolder, remove } = makeEngineFolder());
});

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
  remove();
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Processes that any thread of `pid` started. */
function childrenOf(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.flatMap((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  });
}

describe('the process of the Rego engine', () => {
  it('is started by the first call, and says so', async () => {
    const progress: RegoEngineProgress[] = [];
    const engine = makeEngine({ onProgress: (step) => progress.push(step) });
    expect(engine.started).toBe(false);
    expect(await engine.call('echo', { a: 1, left_out: undefined })).toEqual({ operation: 'echo', request: { a: 1 } });
    expect(await engine.call('echo', 2)).toEqual({ operation: 'echo', request: 2 });
    expect(progress.map(({ step }) => step)).toEqual(['starting', 'ready']);
  });

  it('runs calls one after the other, in order', async () => {
    const engine = makeEngine();
    const finished: number[] = [];
    await Promise.all([1, 2, 3].map((n) => engine.call('echo', n).then(() => finished.push(n))));
    expect(finished).toEqual([1, 2, 3]);
  });

  it('ends when idle, and a later call starts another', async () => {
    const engine = makeEngine({ idleMs: 20 });
    await engine.call('echo', 1);
    await until(() => !engine.started);
    expect(await engine.call('echo', 2)).toMatchObject({ request: 2 });
  });

  it('does not keep the process alive', async () => {
    const host = new URL('../../src/rego/engine_host.ts', import.meta.url).href;
    const program = `
      import { RegoEngine } from ${JSON.stringify(host)};
      const engine = new RegoEngine({ engineFolder: new URL(${JSON.stringify(engineFolder.href)}), idleMs: 3_600_000 });
      process.stdout.write(JSON.stringify(await engine.call('echo', 1)));
    `;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
    expect(JSON.parse(stdout)).toEqual({ operation: 'echo', request: 1 });
  });
});

describe('what ends the process of the Rego engine', () => {
  it('the end of the process that asked, also in the middle of a call', async () => {
    const host = new URL('../../src/rego/engine_host.ts', import.meta.url).href;
    const program = `
      import { RegoEngine } from ${JSON.stringify(host)};
      import { readFileSync } from 'node:fs';
      const engine = new RegoEngine({ engineFolder: new URL(${JSON.stringify(engineFolder.href)}) });
      await engine.call('echo', 1);
      const children = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8');
      process.stdout.write(children.trim());
      void engine.call('hang', {});
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50);
    `;
    const asking = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
    const { stdout, signal } = await asking.catch((error) => error);
    expect(signal).toBe('SIGKILL');
    await until(() => !existsSync(`/proc/${Number(stdout)}`));
  });

  it('engine_died: somebody killed it; the next call starts another', async () => {
    const engine = makeEngine();
    const before = childrenOf(process.pid);
    await engine.call('echo', 1);
    const hanging = engine.call('hang', {});
    for (const pid of childrenOf(process.pid)) if (!before.includes(pid)) sendSignal(pid, 'SIGKILL');
    await expect(hanging).rejects.toMatchObject({
      code: 'engine_died',
      message: "the Rego engine's process ended with SIGKILL",
    });
    expect(await engine.call('echo', 'next')).toMatchObject({ request: 'next' });
  });
});

describe('a call fails with a code that says why', () => {
  it('engine_timeout: it took too long; the others go on in another process', async () => {
    const engine = makeEngine();
    const hanging = engine.call('hang', {}, { timeoutMs: 50 });
    const next = engine.call('echo', 'next');
    await expect(hanging).rejects.toMatchObject({ code: 'engine_timeout', message: expect.stringContaining('50 ms') });
    expect(await next).toMatchObject({ request: 'next' });
  });

  it('engine_died: the program ended during the call, with its last words', async () => {
    const engine = makeEngine();
    const dying = engine.call('die', {});
    const next = engine.call('echo', 'next');
    const message = expect.stringContaining('stack overflow');
    await expect(dying).rejects.toMatchObject({ name: 'RegoEngineError', code: 'engine_died', message });
    expect(await next).toMatchObject({ request: 'next' });
  });

  it('engine_died: the module trapped', async () => {
    const message = expect.stringContaining('unreachable');
    await expect(makeEngine().call('trap', {})).rejects.toMatchObject({ code: 'engine_died', message });
  });

  it('bad_request: what the engine says of the call', async () => {
    const refused = makeEngine().call('refuse', 'so');
    await expect(refused).rejects.toMatchObject({ code: 'bad_request', message: '"so"' });
  });

  it('bad_request: a request that JSON cannot hold', async () => {
    await expect(makeEngine().call('echo', { a: 1n })).rejects.toMatchObject({ code: 'bad_request' });
  });

  it('engine_closed: waiting calls and later ones', async () => {
    const engine = makeEngine();
    const waiting = [engine.call('hang', {}), engine.call('echo', 1)].map((call) => call.catch((error) => error.code));
    await engine.close();
    expect(await Promise.all(waiting)).toEqual(['engine_closed', 'engine_closed']);
    await expect(engine.call('echo', 1)).rejects.toMatchObject({ code: 'engine_closed' });
  });

  it('engine_corrupt: the checksum is another', async () => {
    writeFileSync(new URL('opa.wasm.br', engineFolder), 'something else');
    await expect(makeEngine().call('echo', 1)).rejects.toMatchObject({ code: 'engine_corrupt' });
  });

  it('engine_missing: a file is not there; all calls that wait fail', async () => {
    rmSync(new URL('wasm_exec.js', engineFolder));
    const engine = makeEngine();
    const codes = await Promise.all([1, 2].map((n) => engine.call('echo', n).catch((error) => error.code)));
    expect(codes).toEqual(['engine_missing', 'engine_missing']);
  });

  it('engine_start_failed: the module does not start', async () => {
    writeFileSync(
      new URL('wasm_exec.js', engineFolder),
      'globalThis.fs = {}; globalThis.Go = class { importObject = 5 };',
    );
    await expect(makeEngine().call('echo', 1)).rejects.toMatchObject({ code: 'engine_start_failed' });
  });

  it('engine_start_failed: it takes too long', async () => {
    writeFileSync(new URL('wasm_exec.js', engineFolder), 'for (;;);');
    const call = makeEngine({ startTimeoutMs: 50 }).call('echo', 1);
    await expect(call).rejects.toMatchObject({
      code: 'engine_start_failed',
      message: expect.stringContaining('50 ms'),
    });
  });
});
