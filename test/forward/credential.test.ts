import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { createFileCredential, noCredential, type UpstreamCredential } from '../../src/forward/credential.ts';
import { eventually } from '../support/eventually.ts';
import { connectRaw } from '../support/raw_connection.ts';
import { valuesOf } from '../support/read_requests.ts';
import { startRecordingUpstream } from '../support/recording_upstream.ts';
import { startFront } from './front.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-credential-'));
const stops: (() => unknown)[] = [];
let files = 0;

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

afterAll(() => rmSync(folder, { recursive: true }));

function write(content: string | Buffer): string {
  const file = join(folder, `credential-${files++}`);
  writeFileSync(file, content);
  return file;
}

function load(file: string, onChange?: (available: boolean, problem: string | null) => void): UpstreamCredential {
  const credential = createFileCredential({
    header: 'X-Api_Key',
    file,
    intervalMs: 20,
    ...(onChange ? { onChange } : {}),
  });
  stops.push(() => credential.stop());
  return credential;
}

function applied(credential: UpstreamCredential): readonly string[] | null {
  const headers: string[] = [];
  return credential.apply({ method: 'GET', authority: 'a', path: '/', headers }) ? headers : null;
}

describe('a credential from a file', () => {
  it.each([
    ['Bearer abc', 'Bearer abc'],
    ['Bearer abc\n', 'Bearer abc'],
    ['Bearer abc\r\n', 'Bearer abc'],
    ['x', 'x'],
    ['a'.repeat(16_384), 'a'.repeat(16_384)],
  ])('is the whole header value, less one line end (case %#)', (content, value) => {
    const credential = load(write(content));
    expect(credential.available).toBe(true);
    expect(applied(credential)).toEqual(['X-Api_Key', value]);
    expect(credential.names).toEqual(['x-api-key']);
  });

  it.each([
    ['empty', '', 'empty'],
    ['only a line end', '\n', 'empty'],
    ['two lines', 'a\nb', 'not one line of visible ASCII'],
    ['two line ends', 'a\n\n', 'not one line of visible ASCII'],
    ['a header of its own', 'a\r\nX-Admin: 1', 'not one line of visible ASCII'],
    ['NUL', 'a\0b', 'not one line of visible ASCII'],
    ['a tab', 'a\tb', 'not one line of visible ASCII'],
    ['space around', ' a ', 'not one line of visible ASCII'],
    ['not ASCII', 'caf\u00e9', 'not one line of visible ASCII'],
    ['too large', 'a'.repeat(16_385), 'larger than 16384 bytes'],
  ])('forward.credential_unavailable: %s', (_, content, problem) => {
    const told: unknown[] = [];
    const credential = load(write(content), (...change) => told.push(change));
    expect(credential.available).toBe(false);
    expect(applied(credential)).toBeNull();
    expect(told).toEqual([[false, problem]]);
  });

  it('forward.credential_unavailable: a missing file, a folder, a pipe and an endless device do not hold anything up', () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const file of [join(folder, 'missing'), folder, pipe, '/dev/zero']) expect(load(file).available).toBe(false);
  });

  it('is read again when the file is replaced, written, removed, or its link is turned', async () => {
    const told: unknown[] = [];
    const file = join(folder, 'link');
    const [one, two] = [write('one'), write('two')];
    symlinkSync(one, file);
    const credential = load(file, (...change) => told.push(change));
    expect(applied(credential)?.[1]).toBe('one');
    symlinkSync(two, `${file}.new`);
    renameSync(`${file}.new`, file);
    await eventually('the link is turned', () => applied(credential)?.[1] === 'two');
    writeFileSync(two, 'three');
    await eventually('the file is written', () => applied(credential)?.[1] === 'three');
    unlinkSync(two);
    await eventually('the file is removed', () => !credential.available);
    writeFileSync(two, 'four\n');
    await eventually('the file is back', () => applied(credential)?.[1] === 'four');
    expect(told).toEqual([
      [false, 'ENOENT'],
      [true, null],
    ]);
    expect(JSON.stringify(told)).not.toMatch(/one|two|three|four/);
  });

  it('is not looked at any more after stop', async () => {
    const file = write('one');
    const credential = load(file);
    credential.stop();
    writeFileSync(file, 'two');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(applied(credential)?.[1]).toBe('one');
  });
});

describe('the credential on the way to the upstream', () => {
  async function start(value_file: string) {
    const upstream = await startRecordingUpstream();
    const lines: unknown[] = [];
    const log = (level: string) => (fields: Record<string, unknown>, message: string) =>
      lines.push({ level, ...fields, message });
    const front = await startFront(upstream.origin, {
      upstream: { credential: { header: 'Authorization', value_file } },
      forwarder: { log: { info: log('info'), warn: log('warn') } },
    });
    stops.push(
      () => front.close(),
      () => upstream.close(),
    );
    const caller = await connectRaw(front.port);
    caller.send(
      'GET /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nAuthorization: DPoP job-token\r\nDPoP: job-proof\r\nConnection: authorization\r\n\r\n',
    );
    await caller.until('\r\n\r\n');
    return { upstream, front, caller, lines };
  }

  it("RFC 6750 §5.2: the upstream gets the gateway's own, never the job's token or proof", async () => {
    const { upstream, lines } = await start(write('Bearer gateway-secret\n'));
    expect(valuesOf(upstream.requests[0], 'authorization')).toEqual(['Bearer gateway-secret']);
    expect(upstream.received).not.toMatch(/job-token|job-proof|dpop/i);
    expect(lines).toEqual([]);
  });

  it('forward.credential_unavailable: 503, nothing is sent, and the log does not show a value', async () => {
    const { upstream, front, caller, lines } = await start(write('Bearer gateway-secret\nx'));
    expect(caller.answers[0]?.status).toBe(503);
    expect(await front.outcome()).toMatchObject({ denial: { reason: 'forward.credential_unavailable' } });
    expect(upstream.connections).toHaveLength(0);
    expect(front.forwarder.stats().withoutCredential).toEqual(['projects']);
    expect(lines).toMatchObject([{ level: 'warn', route: 'projects', problem: 'not one line of visible ASCII' }]);
    expect(JSON.stringify(lines)).not.toContain('gateway-secret');
  });

  it('without a configured credential none is sent', async () => {
    const upstream = await startRecordingUpstream();
    const front = await startFront(upstream.origin);
    stops.push(
      () => front.close(),
      () => upstream.close(),
    );
    const caller = await connectRaw(front.port);
    caller.send('GET /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nAuthorization: Bearer job-token\r\n\r\n');
    await caller.until('\r\n\r\n');
    expect(valuesOf(upstream.requests[0], 'authorization')).toEqual([]);
    expect(applied(noCredential)).toEqual([]);
    expect(noCredential.available).toBe(true);
  });
});
