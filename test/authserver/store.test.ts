import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimUses } from '../../src/authserver/single_use.ts';
import { openStore, type Store, StoreUnavailable } from '../../src/authserver/store.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';

const FAR = 4_000_000_000;
let folder: string;
let redis: RedisServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-store-'));
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true });
});

function storageOf(storage: Record<string, unknown>) {
  const client = { client_id: 'a', jwks_file: 'x', resources: ['https://a.example'] };
  return parseAuthServerConfig({ version: 1, signing_keys_file: 'keys.json', storage, clients: [client] }, folder)
    .storage;
}

function open(kind: string, clock: () => number = Date.now, name = kind): Promise<Store> {
  const config =
    kind === 'redis'
      ? storageOf({ redis: { url: redis.url, key_prefix: `${name}:` } })
      : storageOf({ database_file: join(folder, `${name}.db`) });
  return openStore({ config, databaseFile: join(folder, 'unused.db'), clock, onProblem: () => undefined });
}

describe.each(['embedded', 'redis'])('the store: %s', (kind) => {
  it('keeps what is put, replaces, removes', async () => {
    const store = await open(kind, Date.now, `${kind}-basic`);
    const entry = { kind: 'token', id: 'a', value: '1', until: FAR } as const;
    expect(await store.get('token', 'a')).toBeNull();
    await store.put(entry);
    expect(await store.get('token', 'a')).toBe('1');
    expect(await store.get('revoked', 'a')).toBeNull();
    await store.put({ ...entry, value: '2' });
    expect(await store.get('token', 'a')).toBe('2');
    expect([await store.remove('token', 'a'), await store.remove('token', 'a')]).toEqual([true, false]);
    expect(await store.get('token', 'a')).toBeNull();
    await store.close();
  });

  it('insert: of many at once at several connections exactly one is first', async () => {
    const stores = await Promise.all([1, 2, 3].map(() => open(kind, Date.now, `${kind}-race`)));
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        (stores[index % 3] as Store).insert({ kind: 'used', id: 'x', value: String(index), until: FAR }),
      ),
    );
    expect(new Set(answers).size).toBe(1);
    const use = { kind: 'proof', owner: 'o', id: 'y', issuedAt: FAR, until: FAR } as const;
    const claims = await Promise.all(
      Array.from({ length: 300 }, (_, index) => claimUses(stores[index % 3] as Store, [use])),
    );
    expect(claims.filter((used) => used === null)).toHaveLength(1);
    await Promise.all(stores.map((store) => store.close()));
  });

  it('a use is good again only for whom it was bound to', async () => {
    const store = await open(kind, Date.now, `${kind}-by`);
    const use = { kind: 'workload', owner: 'o', id: 'z', issuedAt: FAR, until: FAR, by: 'key-1' } as const;
    expect(await claimUses(store, [use])).toBeNull();
    expect(await claimUses(store, [use])).toBeNull();
    expect(await claimUses(store, [{ ...use, by: 'key-2' }])).toMatchObject({ id: 'z' });
    expect(await claimUses(store, [{ ...use, owner: 'p', by: 'key-2' }])).toBeNull();
    await store.close();
  });

  it('replace: only where that value stands; of many at once one wins', async () => {
    const store = await open(kind, Date.now, `${kind}-replace`);
    const entry = { kind: 'client', id: 'c', value: 'new', until: FAR } as const;
    expect(await store.replace(entry, 'old')).toBe(false);
    expect(await store.get('client', 'c')).toBeNull();
    await store.put({ ...entry, value: 'old' });
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => store.replace({ ...entry, value: `new${index}` }, 'old')),
    );
    expect(answers.filter((replaced) => replaced)).toHaveLength(1);
    await store.close();
  });

  it('lists and counts what is there, and no more what is removed', async () => {
    const store = await open(kind, Date.now, `${kind}-list`);
    for (const id of ['b', 'a', 'c']) await store.put({ kind: 'key', id, value: id, until: FAR });
    await store.insert({ kind: 'key', id: 'd', value: 'd', until: FAR });
    await store.remove('key', 'b');
    expect(await store.list('key')).toEqual(['a', 'c', 'd']);
    expect(await store.count('key')).toBe(3);
    expect(await store.count('client')).toBe(0);
    await store.close();
  });
});

describe('the embedded store', () => {
  it('what has passed is gone, and its identifier free', async () => {
    let now = 1_000_000;
    const store = await open('embedded', () => now, 'time');
    const entry = { kind: 'used', id: 'a', value: '1', until: 1060 } as const;
    await store.insert(entry);
    now = 1_060_999;
    expect(await store.insert({ ...entry, value: '2' })).toBe('1');
    now = 1_061_000;
    expect(await store.get('used', 'a')).toBeNull();
    expect(await store.insert({ ...entry, value: '2', until: 2000 })).toBe('2');
    await store.close();
  });

  it('survives the end of the process; its files are for this user only', async () => {
    const first = await open('embedded', Date.now, 'mode');
    await first.put({ kind: 'client', id: 'a', value: '1', until: FAR });
    const files = readdirSync(folder).filter((name) => name.startsWith('mode.db'));
    expect(files.length).toBeGreaterThan(1);
    for (const name of files) expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
    // As after a crash: not closed.
    const second = await open('embedded', Date.now, 'mode');
    expect(await second.get('client', 'a')).toBe('1');
    await Promise.all([first.close(), second.close()]);
  });

  it.each<[string, (file: string) => void, string]>([
    ['no database', (file) => writeFileSync(file, 'hello, this is no database at all '.repeat(50)), 'cannot be used'],
    [
      'one of another version',
      (file) => {
        const database = new DatabaseSync(file);
        database.exec('PRAGMA user_version = 99');
        database.close();
      },
      'it has version 99, expected 1',
    ],
  ])('refuses %s, and names it', async (what, make, words) => {
    const name = what.replaceAll(' ', '-');
    const file = join(folder, `${name}.db`);
    make(file);
    await expect(open('embedded', Date.now, name)).rejects.toThrow(words);
    await expect(open('embedded', Date.now, name)).rejects.toThrow(file);
  });

  it('refuses a folder that is not there', async () => {
    const config = storageOf({ database_file: join(folder, 'none', 'a.db') });
    const opening = openStore({ config, databaseFile: '', clock: Date.now, onProblem: () => undefined });
    await expect(opening).rejects.toThrow('storage.database_file');
  });
});

describe('the store in Redis', () => {
  it('an outage says so within the deadline, and ends by itself', async () => {
    const own = await startRedis();
    const problems: string[] = [];
    const config = storageOf({ redis: { url: own.url, command_timeout_ms: 200 } });
    const store = await openStore({
      config,
      databaseFile: '',
      clock: Date.now,
      onProblem: (problem) => problems.push(problem),
    });
    await own.kill();
    await expect(store.get('token', 'a')).rejects.toBeInstanceOf(StoreUnavailable);
    await eventually('the log says so', () => problems.length > 0);
    const again = await startRedis({ port: own.port });
    for (let tries = 0; tries < 100; tries++) {
      const answer = await store.get('token', 'a').catch(() => 'away');
      if (answer === null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await store.get('token', 'a')).toBeNull();
    expect(problems[0]).toContain(`127.0.0.1:${own.port}`);
    await store.close();
    await again.stop();
    await own.stop();
  });

  it('needs no more rights in Redis than SECURITY.md says', async () => {
    const rights = /Redis ACL: `([^`]+)`/.exec(
      readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8'),
    )?.[1];
    const own = await startRedis();
    await own.call('ACL', 'SETUSER', 'as', 'on', '>secret', '~*', '-@all', ...(rights ?? '').split(' '));
    const file = join(folder, 'redis.password');
    writeFileSync(file, 'secret', { mode: 0o600 });
    const config = storageOf({ redis: { url: own.url, username: 'as', password_file: file } });
    const store = await openStore({ config, databaseFile: '', clock: Date.now, onProblem: () => undefined });
    const entry = { kind: 'client', id: 'c', value: '1', until: FAR } as const;
    expect(await store.insert(entry)).toBe('1');
    await store.put(entry);
    expect(await store.replace({ ...entry, value: '2' }, '1')).toBe(true);
    expect([await store.list('client'), await store.count('client')]).toEqual([['2'], 1]);
    expect(await store.lostAt()).toBeGreaterThan(0);
    expect(await store.remove('client', 'c')).toBe(true);
    await store.close();
    await own.stop();
  });

  it('one that lost its memory: what was made before is refused as an outage, what was made since is good', async () => {
    let now = 1_700_000_000_000;
    const own = await startRedis();
    const config = storageOf({ redis: { url: own.url, command_timeout_ms: 2000 } });
    const open = () => openStore({ config, databaseFile: '', clock: () => now, onProblem: () => undefined });
    const store = await open();
    const made = (issuedAt: number) =>
      ({ kind: 'proof', owner: 'o', id: String(issuedAt), issuedAt, until: FAR }) as const;
    const seconds = now / 1000;
    expect(await claimUses(store, [made(seconds - 60)])).toBeNull();
    expect(await claimUses(store, [made(seconds - 60)])).toMatchObject({ kind: 'proof' });
    now += 5000;
    await own.call('FLUSHALL');
    for (const issuedAt of [seconds - 60, seconds, seconds + 5, seconds + 15])
      await expect(claimUses(store, [made(issuedAt)])).rejects.toBeInstanceOf(StoreUnavailable);
    now += 20_000;
    expect(await claimUses(store, [made(seconds + 16)])).toBeNull();
    // Another server that starts now knows it too.
    const other = await open();
    expect(await other.lostAt()).toBe(seconds + 5);
    await expect(claimUses(other, [made(seconds + 1)])).rejects.toBeInstanceOf(StoreUnavailable);
    await Promise.all([store.close(), other.close()]);
    await own.stop();
  });

  it('one that may throw entries away is refused at start, with what to do', async () => {
    const own = await startRedis({ args: ['--maxmemory', '3mb', '--maxmemory-policy', 'allkeys-lru'] });
    const config = storageOf({ redis: { url: own.url } });
    const opening = openStore({ config, databaseFile: '', clock: Date.now, onProblem: () => undefined });
    await expect(opening).rejects.toThrow('expected noeviction');
    await own.stop();
  });
});
