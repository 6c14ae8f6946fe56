import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { newNonceSecret, secretsInFiles } from '../../src/proof/nonce_secrets.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-nonce-'));
const current = join(folder, 'current');
const previous = join(folder, 'previous');
const said: string[] = [];
const log = {
  info: (...words: unknown[]) => said.push(JSON.stringify(words)),
  error: ({ err }: { err: Error }, text: string) => said.push(`${text}: ${err.message}`),
} as unknown as Parameters<typeof secretsInFiles>[1]['log'];
let now = 0;

function put(file: string, content: string | Uint8Array, mode = 0o600): void {
  const draft = `${file}.draft`;
  writeFileSync(draft, content);
  chmodSync(draft, mode);
  renameSync(draft, file);
}

const open = (...files: string[]) => secretsInFiles(files, { clock: () => now, log });
const texts = (secrets: ReturnType<typeof open>) => secrets.current().map((key) => key.export().toString('latin1'));

beforeEach(() => {
  said.length = 0;
  now = 1_795_376_000_000;
  put(current, 'a'.repeat(32));
  put(previous, 'b'.repeat(32));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('secrets of nonces in files', () => {
  it('stand in the order of the configuration; a line end is no part of one', () => {
    put(previous, `${'b'.repeat(40)}\r\n`);
    expect(texts(open(current, previous))).toEqual(['a'.repeat(32), 'b'.repeat(40)]);
  });

  it.each([
    ['missing', () => rmSync(current), /current: cannot be read \(ENOENT\)/],
    ['readable by the group', () => chmodSync(current, 0o640), /chmod 600 .*current/],
    ['readable by everybody', () => chmodSync(current, 0o604), /chmod 600 .*current/],
    ['empty', () => put(current, ''), /expected a secret of 32 to 4096 bytes, found 0 bytes/],
    ['too short', () => put(current, `${'a'.repeat(31)}\n`), /found 31 bytes/],
    ['too long', () => put(current, 'a'.repeat(4097)), /found 4097 bytes/],
  ])('refuses to start with a file that is %s', (_, spoil, message) => {
    spoil();
    expect(() => open(current, previous)).toThrow(message);
  });

  it('are read again when they change, at most once a second', () => {
    const secrets = open(current, previous);
    put(previous, 'a'.repeat(32));
    put(current, 'c'.repeat(32));
    now += 999;
    expect(texts(secrets)[0]).toBe('a'.repeat(32));
    now += 1;
    expect(texts(secrets)).toEqual(['c'.repeat(32), 'a'.repeat(32)]);
    expect(said).toHaveLength(1);
    now += 1000;
    expect(texts(secrets)).toEqual(['c'.repeat(32), 'a'.repeat(32)]);
    expect(said).toHaveLength(1);
  });

  it('stay what they were when the new content cannot be used, and nothing of it is said', () => {
    const secrets = open(current, previous);
    put(current, 'short');
    now += 1000;
    expect(texts(secrets)).toEqual(['a'.repeat(32), 'b'.repeat(32)]);
    expect(said).toEqual([expect.stringMatching(/the old ones stay: .*found 5 bytes/)]);
    expect(said.join()).not.toContain('short;');
    rmSync(current);
    now += 1000;
    expect(texts(secrets)[0]).toBe('a'.repeat(32));
    put(current, 'd'.repeat(32));
    now += 1000;
    expect(texts(secrets)[0]).toBe('d'.repeat(32));
  });

  it('are looked at again after the clock was set back', () => {
    const secrets = open(current);
    put(current, 'e'.repeat(32));
    now -= 3_600_000;
    expect(texts(secrets)).toEqual(['e'.repeat(32)]);
  });

  it('are never the same twice when nobody gives one', () => {
    expect(newNonceSecret()).not.toEqual(newNonceSecret());
    expect(newNonceSecret()).toHaveLength(32);
  });
});
