import { describe, expect, it } from 'vitest';
import { Places } from '../../src/token/places.ts';

const stranger = (waitMs: number, from = 'a') => ({ waitMs, from, known: false });
const known = (waitMs: number) => ({ waitMs, from: 'a', known: true });

describe('Places', () => {
  it('gives no more than there are, and each again when it was left, in the order of coming', async () => {
    const places = new Places(2);
    expect(await Promise.all([places.take(stranger(1000)), places.take(stranger(1000))])).toEqual([true, true]);
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (name) => {
      expect(await places.take(stranger(10_000))).toBe(true);
      order.push(name);
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(order).toEqual([]);
    places.leave();
    await waiting[0];
    expect(order).toEqual([1]);
    places.leave();
    places.leave();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  it('who waited too long takes no place later', async () => {
    const places = new Places(1);
    expect(await places.take(stranger(1))).toBe(true);
    expect(await places.take(stranger(5))).toBe(false);
    places.leave();
    expect(await places.take(stranger(1))).toBe(true);
    expect(await places.take(stranger(5))).toBe(false);
  });

  it('refuses at once when very many wait', async () => {
    const places = new Places(1);
    await places.take(stranger(1));
    const waiting = Array.from({ length: 1024 }, () => places.take(stranger(60_000)));
    expect(await places.take(stranger(60_000))).toBe(false);
    for (let left = 0; left < 1024; left++) places.leave();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([true]));
  });

  it('keeps a quarter for what is known, which also goes first', async () => {
    const places = new Places(4);
    expect(await Promise.all([1, 2, 3].map(() => places.take(stranger(1000))))).toEqual([true, true, true]);
    expect(await places.take(stranger(5))).toBe(false);
    expect(await places.take(known(1000))).toBe(true);
    const order: string[] = [];
    const waiting = [stranger(10_000), known(10_000)].map(async (request) => {
      expect(await places.take(request)).toBe(true);
      order.push(request.known ? 'known' : 'stranger');
    });
    places.leave();
    await waiting[1];
    places.leave();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(order).toEqual(['known']);
    places.leave();
    await waiting[0];
    expect(order).toEqual(['known', 'stranger']);
  });

  it('who comes from elsewhere waits behind one of a flood, not behind all of it', async () => {
    const places = new Places(1);
    await places.take(stranger(1));
    const order: string[] = [];
    const waiting = ['a', 'a', 'a', 'b'].map(async (from) => {
      await places.take(stranger(10_000, from));
      order.push(from);
    });
    for (let left = 0; left < 4; left++) places.leave();
    await Promise.all(waiting);
    expect(order).toEqual(['a', 'b', 'a', 'a']);
  });

  it('when very many wait, the last of a flood makes place for who comes from elsewhere', async () => {
    const places = new Places(1);
    await places.take(stranger(1));
    const flood = Array.from({ length: 1024 }, () => places.take(stranger(60_000)));
    const other = places.take(stranger(60_000, 'b'));
    expect(await flood.at(-1)).toBe(false);
    for (let left = 0; left < 1024; left++) places.leave();
    expect(await other).toBe(true);
    expect((await Promise.all(flood)).filter((taken) => !taken)).toHaveLength(1);
  });
});
