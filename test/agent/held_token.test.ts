import { beforeEach, describe, expect, it } from 'vitest';
import { HeldToken } from '../../src/agent/held_token.ts';
import { TokenUnavailable } from '../../src/agent/token_source.ts';
import type { IssuedToken } from '../../src/oauth/client_credentials.ts';

let now: number;
let asked: number;
let answer: () => Promise<IssuedToken>;
let held: HeldToken;

const LIFETIME = 100;
const issue = (): IssuedToken => ({
  accessToken: `t${asked}`,
  expiresAt: now / 1000 + LIFETIME,
  scopes: [],
  authorizationDetails: [],
});
const failing = () => Promise.reject(new TokenUnavailable('nobody there', true));

beforeEach(() => {
  now = 1_000_000_000_000;
  asked = 0;
  answer = async () => issue();
  held = new HeldToken({
    clock: () => now,
    request: () => {
      asked++;
      return answer();
    },
  });
});

const pass = (seconds: number) => {
  now += seconds * 1000;
};
const name = async () => (await held.current()).accessToken;

describe('the token of an API', () => {
  it('is asked for once, however many want it at the same time', async () => {
    expect(new Set(await Promise.all(Array.from({ length: 50 }, name)))).toEqual(new Set(['t1']));
    pass(74);
    expect([await name(), asked]).toEqual(['t1', 1]);
  });

  it('is renewed in the last quarter of its life while it is still used', async () => {
    await name();
    pass(76);
    expect(await Promise.all([name(), name(), name()])).toEqual(['t1', 't1', 't1']);
    expect([await name(), asked]).toEqual(['t2', 2]);
  });

  it('is waited for once the old one cannot be used any more', async () => {
    await name();
    pass(96);
    expect(await Promise.all([name(), name()])).toEqual(['t2', 't2']);
    expect(asked).toBe(2);
  });

  it('goes on with the old one when renewing fails, and asks again after a pause', async () => {
    await name();
    pass(80);
    answer = failing;
    expect([await name(), await name(), await name(), asked]).toEqual(['t1', 't1', 't1', 2]);
    pass(2);
    answer = async () => issue();
    expect(await name()).toBe('t1');
    expect([await name(), asked]).toEqual(['t3', 3]);
  });

  it('does not ask again and again after failures: the pauses grow to half a minute', async () => {
    answer = failing;
    for (let second = 0; second < 120; second++) {
      await expect(held.current()).rejects.toThrow('nobody there');
      pass(1);
    }
    expect(asked).toBeLessThan(10);
    answer = async () => issue();
    pass(30);
    expect(await name()).toMatch(/^t\d+$/);
  });

  it('that the gateway refuses is replaced when it is old, not when it is fresh', async () => {
    const first = await held.current();
    held.spoil(first);
    expect(await name()).toBe('t1');
    pass(11);
    held.spoil(first);
    expect(await name()).toBe('t2');
    held.spoil(first);
    expect(await name()).toBe('t2');
  });

  it('that has expired when it arrives is none', async () => {
    answer = async () => ({ ...issue(), expiresAt: now / 1000 });
    await expect(held.current()).rejects.toThrow('has expired already');
  });
});
