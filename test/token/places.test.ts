import { describe, expect, it } from 'vitest';
import { Places } from '../../src/token/places.ts';

describe('Places', () => {
  it('gives no more than there are, and each again when it was left, in the order of coming', async () => {
    const places = new Places(2);
    expect(await Promise.all([places.take(1000), places.take(1000)])).toEqual([true, true]);
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (name) => {
      expect(await places.take(10_000)).toBe(true);
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
    expect(await places.take(1)).toBe(true);
    expect(await places.take(5)).toBe(false);
    places.leave();
    expect(await places.take(1)).toBe(true);
    expect(await places.take(5)).toBe(false);
  });

  it('refuses at once when very many wait', async () => {
    const places = new Places(1);
    await places.take(1);
    const waiting = Array.from({ length: 1024 }, () => places.take(60_000));
    expect(await places.take(60_000)).toBe(false);
    for (let left = 0; left < 1024; left++) places.leave();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([true]));
  });
});
