import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyRing } from '../../src/authserver/key_ring.ts';
import type { Store } from '../../src/authserver/store.ts';
import { SqliteStore } from '../../src/authserver/store_sqlite.ts';
import { recordingLog } from './fixture.ts';

let folder: string;
let store: Store;
let now: number;
const rings: KeyRing[] = [];
const ROTATION = { rotate_after_seconds: 10_000, announce_seconds: 1000 };

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-ring-'));
  now = Math.floor(Date.now() / 1000);
  store = SqliteStore.open(join(folder, 'a.db'), () => now * 1000);
});
afterEach(async () => {
  for (const ring of rings.splice(0)) ring.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

async function start(name = 'keys.json', rotation = ROTATION): Promise<KeyRing> {
  const { log } = recordingLog();
  const ring = await KeyRing.start({ file: join(folder, name), store, rotation, clock: () => now * 1000, log });
  rings.push(ring);
  return ring;
}

const kids = async (ring: KeyRing) => (await ring.published()).map(({ kid }) => kid);

function sign(ring: KeyRing): Promise<string> {
  const { kid, key } = ring.current();
  return new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid }).sign(key);
}

async function isGood(ring: KeyRing, jwt: string): Promise<boolean> {
  const keys = { keys: [...(await ring.published())] };
  return jwtVerify(jwt, createLocalJWKSet(keys), { currentDate: new Date(now * 1000) }).then(
    () => true,
    () => false,
  );
}

describe('rotation of the signing keys', () => {
  it('the next key is published before it signs; the one before stays until its tokens have expired', async () => {
    const ring = await start();
    const first = ring.current().kid;
    const early = await sign(ring);
    now += 8999;
    await ring.turn();
    expect(await kids(ring)).toEqual([first]);
    now += 2; // announce_seconds before the first one is too old
    await ring.turn();
    const announced = await kids(ring);
    expect(announced).toHaveLength(2);
    expect(ring.current().kid).toBe(first);
    const late = await sign(ring);
    now += 1001;
    await ring.turn();
    const second = ring.current().kid;
    expect(second).not.toBe(first);
    expect(announced).toContain(second);
    for (const jwt of [early, late, await sign(ring)]) expect(await isGood(ring, jwt)).toBe(true);
    now += 3800; // the longest token has expired, and the margin not
    await ring.turn();
    expect(await kids(ring)).toEqual(expect.arrayContaining([first, second]));
    now += 200;
    await ring.turn();
    expect(await kids(ring)).toEqual([second]);
    expect(await isGood(ring, late)).toBe(false);
  });

  it('goes on after a restart where it stood, and the file stays for this user only', async () => {
    const ring = await start();
    now += 9500;
    await ring.turn();
    const announced = await kids(ring);
    const before = ring.current().kid;
    ring.close();
    const again = await start();
    expect((await kids(again)).sort()).toEqual([...announced].sort());
    now += 1001;
    await again.turn();
    expect(again.current().kid).toBe(announced.find((kid) => kid !== before));
    expect(statSync(join(folder, 'keys.json')).mode & 0o777).toBe(0o600);
  });

  it('0: never', async () => {
    const ring = await start('keys.json', { rotate_after_seconds: 0, announce_seconds: 0 });
    now += 100_000_000;
    await ring.turn();
    expect(await kids(ring)).toHaveLength(1);
  });

  it('without announcement the next one signs at once, and is published', async () => {
    const ring = await start('keys.json', { rotate_after_seconds: 100, announce_seconds: 0 });
    const first = ring.current().kid;
    now += 101;
    await ring.turn();
    expect(ring.current().kid).not.toBe(first);
    expect(await isGood(ring, await sign(ring))).toBe(true);
  });

  it('never makes two successors, however often it looks', async () => {
    const ring = await start();
    now += 9500;
    await Promise.all(Array.from({ length: 20 }, () => ring.turn()));
    expect(await kids(ring)).toHaveLength(2);
  });
});

describe('several servers', () => {
  it('publish the keys of all, and private parts of none', async () => {
    const [one, other] = [await start('one.json'), await start('other.json')];
    now += 60;
    const published = await one.published();
    expect(published.map(({ kid }) => kid).sort()).toEqual([one.current().kid, other.current().kid].sort());
    expect(JSON.stringify(published)).not.toContain('"d"');
    expect(await one.verify(await sign(other), other.current().kid)).toBe(true);
    expect(await one.verify(await sign(other), one.current().kid)).toBe(false);
  });

  it('a key that is taken out of its file is good no more anywhere', async () => {
    const [one, other] = [await start('one.json'), await start('other.json')];
    const leaked = await sign(one);
    const { kid } = one.current();
    rmSync(join(folder, 'one.json'));
    await one.turn();
    now += 60;
    expect(one.current().kid).not.toBe(kid);
    for (const ring of [one, other]) expect(await ring.verify(leaked, kid)).toBe(false);
  });

  it('a file that cannot be used changes nothing, and the log says so', async () => {
    const { log, lines } = recordingLog();
    const file = join(folder, 'bad.json');
    const ring = await KeyRing.start({ file, store, rotation: ROTATION, clock: () => now * 1000, log });
    rings.push(ring);
    const { kid } = ring.current();
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.slice(0, 40));
    await ring.turn();
    expect(ring.current().kid).toBe(kid);
    expect(lines.at(-1)).toMatchObject({ level: 'warn' });
    expect(JSON.stringify(lines)).not.toContain(text.slice(20, 40));
  });
});
