import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSession, prepareFolder, type Session, saveSession, writeSecret } from '../../src/demo/session.ts';

let parent: string;
let directory: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'sallyport-session-'));
  directory = join(parent, '.sallyport');
});
afterEach(() => rm(parent, { recursive: true, force: true }));

const SESSION: Session = {
  gateway: 'http://127.0.0.1:8080',
  issuer: 'http://127.0.0.1:9100',
  clientId: 'ci',
  resource: 'http://127.0.0.1:8080/v1',
  scopes: ['a'],
  authorizationDetails: [],
  job: {},
  clientKey: { kty: 'EC', d: 'secret-part' },
  jobKey: { kty: 'EC', d: 'secret-part' },
};

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

describe('the folder of the demo', () => {
  it('is for this user only, and so is every file in it', async () => {
    await prepareFolder(directory);
    await saveSession(directory, SESSION);
    await writeSecret(directory, 'credential', 'x');
    expect(await modeOf(directory)).toBe(0o700);
    for (const name of await readdir(directory))
      expect([name, await modeOf(join(directory, name))]).toEqual([name, 0o600]);
  });

  it('is closed to others also when it was there and open', async () => {
    await mkdir(directory);
    await chmod(directory, 0o755);
    await prepareFolder(directory);
    expect(await modeOf(directory)).toBe(0o700);
  });

  it('stays out of version control', async () => {
    await prepareFolder(directory);
    expect(await readFile(join(directory, '.gitignore'), 'utf8')).toBe('*\n');
  });
});

describe('the session', () => {
  it('comes back as it was saved, and the last one counts', async () => {
    await prepareFolder(directory);
    await saveSession(directory, { ...SESSION, clientId: 'old' });
    await saveSession(directory, SESSION);
    expect(await loadSession(directory)).toEqual(SESSION);
  });

  it('that is missing: says to start the demo', async () => {
    await expect(loadSession(directory)).rejects.toThrow('start the demo first, in this folder (npm run demo)');
  });

  it.each([
    ['no JSON', 'secret-part'],
    ['an array', '[]'],
    ['a member that is missing', JSON.stringify({ ...SESSION, issuer: undefined })],
    ['a member of another type', JSON.stringify({ ...SESSION, scopes: 'a' })],
  ])('that is damaged (%s): says so, and shows nothing of it', async (_what, text) => {
    await prepareFolder(directory);
    await writeFile(join(directory, 'session.json'), text);
    const error = (await loadSession(directory).catch((reason: unknown) => reason)) as Error;
    expect(error.message).toContain('is damaged: start the demo again');
    expect(error.message).not.toContain('secret-part');
  });
});
