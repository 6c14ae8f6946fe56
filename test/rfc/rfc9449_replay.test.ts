import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Claim, ReplayStore } from '../../src/proof/replay_store.ts';
import {
  benchOf,
  type Changes,
  contextOf,
  makeKey,
  NOON,
  NOW,
  ORIGIN,
  proofBy,
  type TestKey,
  tokenOf,
} from '../proof/fixture.ts';

let key: TestKey;
let other: TestKey;

beforeAll(async () => {
  [key, other] = await Promise.all([makeKey(), makeKey()]);
});

describe('RFC 9449 §11.1: a proof is accepted once', () => {
  it('proof.replayed: refuses the same proof again', async () => {
    const bench = benchOf();
    const proof = proofBy(key);
    expect(await bench.verify({ proof }, { jkt: key.thumbprint })).toBe('passed');
    for (let again = 0; again < 5; again++) {
      expect(await bench.verify({ proof }, { jkt: key.thumbprint })).toBe('proof.replayed');
    }
  });

  it('proof.replayed: refuses another proof with the same jti, for another method, URI or time', async () => {
    const bench = benchOf();
    const jti = 'the-same';
    expect(await bench.verify({ proof: proofBy(key, { jti }) }, { jkt: key.thumbprint })).toBe('passed');
    const changes: Changes[] = [{ iat: NOW + 5 }, { iat: NOW - 40 }, { extra: 1 }];
    for (const change of changes) {
      const proof = proofBy(key, { jti, ...change });
      expect(await bench.verify({ proof }, { jkt: key.thumbprint })).toBe('proof.replayed');
    }
    const post = proofBy(key, { jti, htm: 'POST' });
    expect(await bench.verify({ proof: post, method: 'POST' }, { jkt: key.thumbprint })).toBe('proof.replayed');
  });

  it('100 copies at once: exactly one passes', async () => {
    const bench = benchOf();
    const proof = proofBy(key);
    const all = await Promise.all(Array.from({ length: 100 }, () => bench.verify({ proof }, { jkt: key.thumbprint })));
    expect(all.filter((outcome) => outcome === 'passed')).toHaveLength(1);
    expect(all.filter((outcome) => outcome === 'proof.replayed')).toHaveLength(99);
  });

  it('the same jti under two keys: both pass, a stranger burns nobody’s proof', async () => {
    const bench = benchOf();
    for (const owner of [key, other]) {
      const proof = proofBy(owner, { jti: 'common' });
      expect(await bench.verify({ proof }, { jkt: owner.thumbprint })).toBe('passed');
      expect(await bench.verify({ proof }, { jkt: owner.thumbprint })).toBe('proof.replayed');
    }
  });

  it('the same jti at two resources: both pass', async () => {
    const bench = benchOf();
    const proof = () => proofBy(key, { jti: 'common' });
    const jkt = key.thumbprint;
    expect(await bench.verify({ proof: proof(), resource: `${ORIGIN}/v1` }, { jkt })).toBe('passed');
    expect(await bench.verify({ proof: proof(), resource: `${ORIGIN}/v2` }, { jkt })).toBe('passed');
    expect(await bench.verify({ proof: proof(), resource: `${ORIGIN}/v2` }, { jkt })).toBe('proof.replayed');
  });

  it('jti is compared by its exact bytes', async () => {
    const bench = benchOf();
    for (const jti of ['a', 'A', 'a ', ' a', 'é', 'e\u0301', '\u0000a', 'a\u0000', '\u2028']) {
      expect(await bench.verify({ proof: proofBy(key, { jti }) }, { jkt: key.thumbprint })).toBe('passed');
    }
    expect(bench.store.stats().entries).toBe(9);
  });

  it('a proof that is refused for any reason burns no jti', async () => {
    const bench = benchOf();
    const jti = 'mine';
    const jkt = key.thumbprint;
    const refused = [
      proofBy(key, { jti, htm: 'PUT' }),
      proofBy(key, { jti, htu: 'https://x.example/' }),
      proofBy(key, { jti, iat: NOW - 100 }),
      proofBy(key, { jti, iat: NOW + 100 }),
      proofBy(key, { jti, exp: NOW - 1 }),
      proofBy(key, { jti, nbf: NOW + 100 }),
      proofBy(key, { jti, ath: 'x' }),
      proofBy(key, { jti }, { typ: 'JWT' }),
      proofBy(other, { jti }),
      proofBy({ ...other, publicJwk: key.publicJwk }, { jti }),
    ];
    for (const proof of refused) expect(await bench.verify({ proof }, { jkt })).not.toBe('passed');
    expect(await bench.verify({ proof: proofBy(key, { jti }), scheme: 'bearer' }, { jkt })).toBe(
      'proof.bound_token_as_bearer',
    );
    expect(bench.store.stats()).toMatchObject({ entries: 0, first: 0, used: 0 });
    expect(await bench.verify({ proof: proofBy(key, { jti }) }, { jkt })).toBe('passed');
  });
});

describe('RFC 9449 §11.1: as long as a proof is acceptable it is remembered', () => {
  it('a proof dated ahead, replayed every second until long after its window: never a second success', async () => {
    for (const ahead of [-60, -1, 0, 1, 9, 10]) {
      const bench = benchOf();
      const proof = proofBy(key, { iat: NOW + ahead });
      expect(await bench.verify({ proof }, { jkt: key.thumbprint })).toBe('passed');
      for (let second = 0; second <= 90; second++) {
        bench.now = NOON + second * 1000;
        expect(await bench.verify({ proof }, { jkt: key.thumbprint })).toMatch(/^proof\.(replayed|too_old)$/);
      }
    }
  });

  it('whatever the window, the date and the steps of a clock that runs forward: at most one success', async () => {
    const windows = fc.record({
      max_age_seconds: fc.integer({ min: 1, max: 300 }),
      leeway_seconds: fc.integer({ min: 0, max: 60 }),
    });
    const steps = fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 25 });
    const property = fc.asyncProperty(
      windows,
      fc.integer({ min: -400, max: 100 }),
      steps,
      async (window, date, moves) => {
        const bench = benchOf(window);
        const proof = proofBy(key, { iat: NOW + date + 0.25 });
        let successes = 0;
        for (const move of [0, ...moves]) {
          bench.now += move;
          if ((await bench.verify({ proof }, { jkt: key.thumbprint })) === 'passed') successes++;
        }
        expect(successes).toBeLessThanOrEqual(1);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  it('a clock that jumps forward and back by minutes, with other proofs in between: at most one success', async () => {
    const jumps = fc.array(fc.integer({ min: -400_000, max: 400_000 }), { minLength: 1, maxLength: 30 });
    const property = fc.asyncProperty(fc.integer({ min: -60, max: 10 }), jumps, async (date, moves) => {
      const bench = benchOf();
      const proof = proofBy(key, { iat: NOW + date });
      let successes = 0;
      for (const move of [0, ...moves]) {
        bench.now += move;
        await bench.verify({ proof: proofBy(other, { iat: Math.floor(bench.now / 1000) }) }, { jkt: other.thumbprint });
        if ((await bench.verify({ proof }, { jkt: key.thumbprint })) === 'passed') successes++;
      }
      expect(successes).toBeLessThanOrEqual(1);
    });
    await fc.assert(property, { numRuns: 60 });
  });

  it('memory is given back when the window has passed', async () => {
    const bench = benchOf();
    for (let index = 0; index < 20; index++) await bench.verify({ proof: proofBy(key) }, { jkt: key.thumbprint });
    expect(bench.store.stats().entries).toBe(20);
    bench.now += 200_000;
    expect(bench.store.health().healthy).toBe(true);
    expect(bench.store.stats().entries).toBe(0);
  });
});

describe('proof.replay_store_unavailable', () => {
  const storeThat = (claim: () => Claim | Promise<Claim>): ReplayStore => ({
    claim,
    start: async () => {},
    health: () => ({ healthy: true, detail: '' }),
    stats: () => ({ kind: 'redis', entries: null, first: 0, used: 0, unavailable: 0, losses: 0 }),
    close: async () => {},
  });

  it.each<[Claim, string]>([
    ['first', 'passed'],
    ['used', 'proof.replayed'],
    ['unavailable', 'proof.replay_store_unavailable'],
  ])('a store that answers %s, at once or later: %s', async (claim, outcome) => {
    for (const store of [storeThat(() => claim), storeThat(async () => claim)]) {
      const bench = benchOf({}, store);
      expect(await bench.verify({ proof: proofBy(key) }, { jkt: key.thumbprint })).toBe(outcome);
    }
  });

  it('answers without a promise where the store does', () => {
    const bench = benchOf();
    const checked = bench.verifier.verify(contextOf({ proof: proofBy(key) }), tokenOf({ jkt: key.thumbprint }));
    expect(checked).toMatchObject({ ok: true });
    expect(bench.verifier.stats()).toMatchObject({ keys: { entries: 1 } });
    expect(bench.store.stats()).toMatchObject({ kind: 'memory', first: 1 });
  });
});
