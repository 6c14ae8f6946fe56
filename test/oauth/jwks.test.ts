import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type FoundKeys, Jwks, type JwksHealth, type JwksOptions } from '../../src/oauth/jwks.ts';
import { loadFileKeys, loadRemoteKeys } from '../../src/oauth/key_loader.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { KeyServer, sendJson, until } from '../support/key_server.ts';

const SECOND = 1000;
const MAX_AGE = 600 * SECOND;
const STALE = 3600 * SECOND;
const COOLDOWN = 30 * SECOND;

let keys: TestKey[];
let server: KeyServer;
let now: number;
let open: Jwks[];

beforeAll(async () => {
  keys = await Promise.all(Array.from({ length: 3 }, () => makeKey('ES256')));
});

beforeEach(async () => {
  server = await KeyServer.start();
  now = 1_795_376_000_000;
  open = [];
  publish(0);
});

afterEach(async () => {
  for (const jwks of open) jwks.close();
  await server.stop();
});

/** Publishes some of the keys, with their number as kid. */
function publish(...numbers: number[]): void {
  server.keys = numbers.map((number) => ({ ...keys[number]!.publicJwk, kid: String(number) }) as never);
}

function remote(changes: Partial<Parameters<typeof loadRemoteKeys>[0]> = {}) {
  const { issuer, jwksUri } = server;
  const clock = () => now;
  return loadRemoteKeys({
    issuer,
    jwksUri,
    timeoutMs: 2000,
    allowInsecure: false,
    metadataAgeMs: MAX_AGE,
    clock,
    ...changes,
  });
}

function openJwks(changes: Partial<JwksOptions> = {}): Jwks {
  const jwks = new Jwks({
    load: remote(),
    clock: () => now,
    maxAgeMs: MAX_AGE,
    staleMs: STALE,
    cooldownMs: COOLDOWN,
    answerMs: 1000,
    ...changes,
  });
  open.push(jwks);
  return jwks;
}

async function find(jwks: Jwks, kid: string): Promise<FoundKeys> {
  return jwks.find({ kid, alg: 'ES256' });
}

async function outcome(jwks: Jwks, kid: string): Promise<string> {
  const found = await find(jwks, kid);
  return found.ok ? 'found' : found.why;
}

function breakJwks(status = 500): void {
  server.onJwks((_, response) => sendJson(response, '{}', status));
}

describe('keys of an issuer: in ordinary times', () => {
  it('load in the background from the start, and answer at once from then on', async () => {
    const jwks = openJwks();
    await jwks.settled();
    const found = jwks.find({ kid: '0', alg: 'ES256' });
    expect(found).not.toBeInstanceOf(Promise);
    expect(found).toMatchObject({ ok: true, keys: [{ kid: '0', thumbprint: keys[0]!.thumbprint }] });
    expect(jwks.health()).toEqual({ state: 'fresh', keys: 1, skipped: 0, loadedAt: now, problem: null });
    expect(server.jwksRequests).toBe(1);
  });

  it('whoever comes before the first load has ended waits for it, and all wait for the same one', async () => {
    const jwks = openJwks();
    expect(await Promise.all(Array.from({ length: 50 }, () => outcome(jwks, '0')))).toEqual(Array(50).fill('found'));
    expect(server.jwksRequests).toBe(1);
  });

  it('are refreshed in the background when they are old; nobody waits', async () => {
    const jwks = openJwks();
    await jwks.settled();
    now += MAX_AGE - 1;
    expect(jwks.find({ kid: '0', alg: 'ES256' })).not.toBeInstanceOf(Promise);
    expect(server.jwksRequests).toBe(1);
    now += 1;
    publish(0, 1);
    expect(jwks.find({ kid: '0', alg: 'ES256' })).not.toBeInstanceOf(Promise);
    await jwks.settled();
    expect(server.jwksRequests).toBe(2);
    expect(jwks.find({ kid: '1', alg: 'ES256' })).toMatchObject({ ok: true });
  });

  it('a key that is withdrawn is not held any more after the next load', async () => {
    publish(0, 1);
    const jwks = openJwks();
    const found = await find(jwks, '0');
    const key = found.ok ? found.keys[0]! : expect.fail('not found');
    expect(jwks.holds(key)).toBe(true);
    publish(1);
    now += MAX_AGE;
    expect(jwks.holds(key)).toBe(true); // The load that it starts brings the news.
    await jwks.settled();
    expect(jwks.holds(key)).toBe(false);
    expect(await outcome(jwks, '0')).toBe('unknown');
  });

  it('an empty set is an answer: every key was withdrawn', async () => {
    publish();
    const jwks = openJwks();
    expect(await outcome(jwks, '0')).toBe('unknown');
    expect(jwks.health()).toMatchObject({ state: 'fresh', keys: 0 });
  });

  it('are taken over with their age by the keys of a new configuration', async () => {
    const first = openJwks();
    await first.settled();
    breakJwks();
    now += 1000;
    const second = openJwks({ previous: first });
    first.close();
    expect(second.find({ kid: '0', alg: 'ES256' })).toMatchObject({ ok: true });
    await second.settled();
    expect(second.health()).toMatchObject({ state: 'stale', loadedAt: now - 1000 });
    expect(await outcome(second, '0')).toBe('found');
  });

  it('load nothing after they were closed', async () => {
    const jwks = openJwks();
    await jwks.settled();
    jwks.close();
    now += MAX_AGE + STALE;
    expect(await outcome(jwks, '0')).toBe('unavailable');
    expect(server.jwksRequests).toBe(1);
  });
});

describe('keys of an issuer: a key that is not known', () => {
  it('rotation right after an ordinary load is found at once, inside what others take for the cool-down', async () => {
    const jwks = openJwks();
    await jwks.settled();
    publish(1);
    expect(await outcome(jwks, '1')).toBe('found');
    expect(server.jwksRequests).toBe(2);
  });

  it('an ordinary load does not delay the next one for an unknown kid, nor the other way round', async () => {
    const jwks = openJwks();
    await jwks.settled();
    expect(await outcome(jwks, 'x')).toBe('unknown');
    now += COOLDOWN;
    publish(0, 1);
    expect(await outcome(jwks, '1')).toBe('found');
    expect(server.jwksRequests).toBe(3);
  });

  it('a flood of invented kids costs one request per cool-down, and known keys do not wait', async () => {
    const jwks = openJwks();
    await jwks.settled();
    for (let round = 0; round < 3; round++) {
      const flood = Array.from({ length: 500 }, (_, index) => outcome(jwks, `invented-${round}-${index}`));
      expect(jwks.find({ kid: '0', alg: 'ES256' })).not.toBeInstanceOf(Promise);
      expect(new Set(await Promise.all(flood))).toEqual(new Set(['unknown']));
      expect(await outcome(jwks, 'one more')).toBe('unknown');
      expect(server.jwksRequests).toBe(2 + round);
      now += COOLDOWN;
    }
  });

  it('those who ask for the same new key at once share one request', async () => {
    const jwks = openJwks();
    await jwks.settled();
    publish(0, 2);
    const outcomes = await Promise.all(Array.from({ length: 100 }, () => outcome(jwks, '2')));
    expect(new Set(outcomes)).toEqual(new Set(['found']));
    expect(server.jwksRequests).toBe(2);
  });

  it('503, not 401, while the issuer cannot be asked whether it has the key', async () => {
    const jwks = openJwks();
    await jwks.settled();
    breakJwks();
    expect(await find(jwks, '1')).toMatchObject({ ok: false, why: 'unavailable' });
    expect(await outcome(jwks, '1')).toBe('unavailable');
    expect(await outcome(jwks, '0')).toBe('found');
    expect(server.jwksRequests).toBe(2);
  });

  it('the wait for an answer has a bound; known keys are found meanwhile', async () => {
    const jwks = openJwks({ answerMs: 40 });
    await jwks.settled();
    server.onJwks(() => undefined);
    const slow = find(jwks, '1');
    expect(jwks.find({ kid: '0', alg: 'ES256' })).toMatchObject({ ok: true });
    expect(await slow).toMatchObject({ ok: false, why: 'unavailable' });
  });

  it('keys that were tried are not offered again, and newer ones are looked for', async () => {
    const jwks = openJwks();
    await jwks.settled();
    const found = await jwks.find({ kid: undefined, alg: 'ES256' });
    const tried = found.ok ? found.keys : [];
    expect(tried).toHaveLength(1);
    publish(0, 1);
    const more = await jwks.find({ kid: undefined, alg: 'ES256' }, tried);
    expect(more).toMatchObject({ ok: true, keys: [{ kid: '1' }] });
    expect(more.ok && more.keys).toHaveLength(1);
  });
});

describe('keys of an issuer: faults', () => {
  it.each<[string, () => void]>([
    ['status 500', () => breakJwks(500)],
    ['status 404', () => breakJwks(404)],
    ['a redirect', () => server.onJwks((_, response) => response.writeHead(302, { location: '/other' }).end())],
    ['no JSON', () => server.onJwks((_, response) => sendJson(response, '<html>'))],
    ['JSON that is no JWK Set', () => server.onJwks((_, response) => sendJson(response, '{"keys":{}}'))],
    [
      'more than 256 KiB',
      () => server.onJwks((_, response) => sendJson(response, { keys: [], x: 'x'.repeat(262_144) })),
    ],
    ['more than 64 keys', () => server.onJwks((_, response) => sendJson(response, { keys: Array(65).fill({}) }))],
    ['a broken connection', () => server.onJwks((request) => request.socket.destroy())],
  ])('%s: old keys serve until they are stale, then 503, and the first good answer ends it', async (_, breakIt) => {
    const jwks = openJwks();
    await jwks.settled();
    breakIt();
    now += MAX_AGE;
    expect(await outcome(jwks, '0')).toBe('found');
    await jwks.settled();
    expect(jwks.health()).toMatchObject({ state: 'stale', keys: 1, problem: expect.any(String) });
    now += STALE - 1;
    expect(await outcome(jwks, '0')).toBe('found');
    await jwks.settled();
    now += 1;
    expect(await outcome(jwks, '0')).toBe('unavailable');
    expect(jwks.health()).toMatchObject({ state: 'unavailable', keys: 0 });
    server.restore();
    now += 5000;
    expect(await outcome(jwks, '0')).toBe('found');
    expect(jwks.health()).toMatchObject({ state: 'fresh', problem: null });
  });

  it('an outage costs bounded outbound requests, and says when to try again', async () => {
    breakJwks();
    const jwks = openJwks();
    await jwks.settled();
    for (let request = 0; request < 100; request++) {
      expect(await find(jwks, '0')).toEqual({ ok: false, why: 'unavailable', retryAfterMs: 500 });
    }
    expect(server.jwksRequests).toBe(1);
    for (let round = 0; round < 60; round++) {
      now += SECOND;
      await outcome(jwks, '0');
    }
    expect(server.jwksRequests).toBeLessThan(20);
  });

  it('an issuer that is down at the start is found later, also when nobody asks', async () => {
    const { port } = server;
    await server.stop();
    const jwks = openJwks();
    await jwks.settled();
    expect(jwks.health()).toMatchObject({
      state: 'unavailable',
      loadedAt: null,
      problem: 'the jwks_uri cannot be reached (ECONNREFUSED)',
    });
    server = await KeyServer.start(port);
    publish(0);
    now += 5000;
    await until(() => jwks.health().state === 'fresh');
    expect(server.jwksRequests).toBe(1);
  });

  it('a loader that fails in a way nobody expected is an outage, not a crash', async () => {
    const jwks = openJwks({ load: () => Promise.reject(new Error('boom')) });
    expect(await outcome(jwks, '0')).toBe('unavailable');
    expect(jwks.health().problem).toContain('boom');
  });

  it('tells of each load that ended', async () => {
    const told: JwksHealth[] = [];
    const jwks = openJwks({ onLoad: (health) => told.push(health) });
    await jwks.settled();
    breakJwks();
    now += MAX_AGE;
    await outcome(jwks, '0');
    await jwks.settled();
    expect(told.map(({ state }) => state)).toEqual(['fresh', 'stale']);
  });
});

describe('keys of an issuer: where they are', () => {
  it('RFC 8414 §2: discovers the jwks_uri, and again when it is old or fails', async () => {
    const metadata = '/.well-known/oauth-authorization-server';
    const jwks = openJwks({ load: remote({ jwksUri: undefined }) });
    await jwks.settled();
    expect(await outcome(jwks, 'x')).toBe('unknown');
    expect(server.requests).toEqual([metadata, '/jwks', '/jwks']);
    server.requests.length = 0;
    now += MAX_AGE;
    await outcome(jwks, '0');
    await jwks.settled();
    expect(server.requests).toEqual([metadata, '/jwks']);
    // The keys move: the old address fails once, then the new one is discovered.
    server.requests.length = 0;
    server.onJwks((_, response) => sendJson(response, '{}', 404));
    server.answers.set(metadata, (_, response) =>
      sendJson(response, { issuer: server.issuer, jwks_uri: `${server.issuer}/moved` }),
    );
    server.answers.set('/moved', (_, response) => sendJson(response, { keys: server.keys }));
    now += COOLDOWN;
    expect(await outcome(jwks, 'x')).toBe('unavailable');
    now += COOLDOWN;
    expect(await outcome(jwks, 'x')).toBe('unknown');
    expect(server.requests).toEqual(['/jwks', metadata, '/moved']);
  });

  it('metadata without a jwks_uri, or of another issuer, bring no keys', async () => {
    const metadata = '/.well-known/oauth-authorization-server';
    for (const document of [
      { issuer: server.issuer },
      { issuer: 'https://as.example.com', jwks_uri: server.jwksUri },
    ]) {
      server.answers.set(metadata, (_, response) => sendJson(response, document));
      const jwks = openJwks({ load: remote({ jwksUri: undefined }) });
      expect(await outcome(jwks, '0')).toBe('unavailable');
    }
    expect(server.jwksRequests).toBe(0);
  });

  it('jwks_file: reads it, re-reads it when it changed, keeps the keys while it is broken or gone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-'));
    const file = join(folder, 'jwks.json');
    try {
      writeFileSync(file, JSON.stringify({ keys: server.keys }));
      const jwks = openJwks({ load: loadFileKeys(file), maxAgeMs: 5000 });
      expect(await outcome(jwks, '0')).toBe('found');
      publish(0, 1);
      writeFileSync(file, JSON.stringify({ keys: server.keys }));
      expect(await outcome(jwks, '1')).toBe('found');
      for (const [text, problem] of [
        ['{"keys":[', 'the jwks_file is not JSON'],
        ['[]', 'the keys are not a JWK Set'],
        [' '.repeat(262_145), 'the jwks_file has more than 262144 bytes'],
        [null, 'the jwks_file cannot be read (ENOENT)'],
      ] as const) {
        if (text === null) rmSync(file);
        else writeFileSync(file, text);
        now += 5000;
        expect(await outcome(jwks, '0')).toBe('found');
        await jwks.settled();
        expect(jwks.health()).toMatchObject({ state: 'stale', keys: 2, problem });
      }
      expect(server.requests).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
