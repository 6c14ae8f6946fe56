import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSigningKeys } from '../../src/authserver/signing_keys.ts';
import { recordingLog } from './fixture.ts';

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-keys-'));
  file = join(directory, 'keys.json');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('signing keys', () => {
  it('first start: makes a key that only this user can read, and keeps it', async () => {
    const { log, lines } = recordingLog();
    const made = await loadSigningKeys(file, log);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['keys.json']);
    expect(made.keys).toHaveLength(1);
    expect(made.keys[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' });
    expect(await loadSigningKeys(file, log)).toEqual(made);
    expect(lines).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain(made.keys[0]?.d);
  });

  it('two processes that start at once end up with one key', async () => {
    const { log } = recordingLog();
    const [first, second] = await Promise.all([loadSigningKeys(file, log), loadSigningKeys(file, log)]);
    expect(second).toEqual(first);
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(first);
  });

  it('warns of a file that others can read', async () => {
    await loadSigningKeys(file, recordingLog().log);
    await chmod(file, 0o644);
    const { log, lines } = recordingLog();
    await loadSigningKeys(file, log);
    expect(lines).toMatchObject([{ level: 'warn', fields: { file, mode: '644' } }]);
  });

  it('a key without kid goes by its thumbprint; members that do not belong there are left out', async () => {
    const [key] = (await loadSigningKeys(file, recordingLog().log)).keys;
    const { kid, ...rest } = key ?? {};
    await writeFile(file, JSON.stringify({ keys: [{ ...rest, x5u: 'https://evil.example', use: undefined }] }));
    expect((await loadSigningKeys(file, recordingLog().log)).keys).toEqual([{ ...rest, kid }]);
  });

  it.each([
    ['no JSON', 'secret-text', 'is not JSON'],
    ['no key set', '{"keys":[]}', 'at least one key'],
    ['null', 'null', 'at least one key'],
    [
      'a public key',
      JSON.stringify({ keys: [{ kty: 'EC', crv: 'P-256', x: 'a'.repeat(43), y: 'a'.repeat(43) }] }),
      'keys[0] is not a private EC key',
    ],
    [
      'another curve',
      JSON.stringify({ keys: [{ kty: 'EC', crv: 'P-384', x: 'a', y: 'a', d: 'a' }] }),
      'keys[0] is not a private EC key',
    ],
  ])('refuses %s with the name of the file and nothing of its content', async (_what, text, words) => {
    await writeFile(file, text, { mode: 0o600 });
    const error = await loadSigningKeys(file, recordingLog().log).catch((reason: Error) => reason);
    expect((error as Error).message).toContain(file);
    expect((error as Error).message).toContain(words);
    expect((error as Error).message).not.toContain('secret-text');
  });

  it('says so when the file cannot be written', async () => {
    const nowhere = join(directory, 'none', 'keys.json');
    await expect(loadSigningKeys(nowhere, recordingLog().log)).rejects.toThrow(`${nowhere} cannot be written`);
  });
});
