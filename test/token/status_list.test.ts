import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_LIST_BYTES, readStatusList, statusAt } from '../../src/token/status_list.ts';
import { packStatuses } from './status_fixture.ts';

const bitsArbitrary = fc.constantFrom(1, 2, 4, 8) as fc.Arbitrary<1 | 2 | 4 | 8>;

async function problemOf(claim: unknown): Promise<string | null> {
  const read = await readStatusList(claim);
  return read.ok ? null : read.problem;
}

describe('readStatusList', () => {
  it('any statuses come back as they were packed, and none stands behind the end', async () => {
    const lists = bitsArbitrary.chain((bits) =>
      fc.tuple(fc.constant(bits), fc.array(fc.integer({ min: 0, max: 2 ** bits - 1 }), { maxLength: 300 })),
    );
    await fc.assert(
      fc.asyncProperty(lists, async ([bits, statuses]) => {
        const read = await readStatusList(packStatuses(bits, statuses));
        if (!read.ok) throw new Error(read.problem);
        statuses.forEach((status, index) => {
          expect(statusAt(read.value, index)).toBe(status);
        });
        expect(statusAt(read.value, Math.ceil((statuses.length * bits) / 8) * (8 / bits))).toBeNull();
        expect(statusAt(read.value, Number.MAX_SAFE_INTEGER)).toBeNull();
      }),
    );
  });

  it('any claim is read or refused, and nothing is thrown', async () => {
    const claim = fc.oneof(
      fc.jsonValue(),
      fc.record({ bits: fc.oneof(bitsArbitrary, fc.jsonValue()), lst: fc.oneof(fc.base64String(), fc.string()) }),
    );
    await fc.assert(
      fc.asyncProperty(claim, async (value) => {
        expect(await readStatusList(value)).toHaveProperty('ok');
      }),
    );
  });

  it.each([0, 3, 5, 16, -1, 1.5, '1', null, undefined, [1]])('bits: refuses %j', async (bits) => {
    expect(await problemOf({ ...packStatuses(1, [0]), bits })).toBe('bits is not 1, 2, 4 or 8');
  });

  it.each([undefined, null, 1, [], 'a', 'eNo=', 'eN o', 'eNo+', 'eNo\n'])('lst: refuses %j', async (lst) => {
    expect(await problemOf({ bits: 1, lst })).toBe('lst is not base64url');
  });

  it('lst: refuses what is no zlib stream, an unfinished one, and one with a wrong checksum', async () => {
    const good = deflateSync(Buffer.alloc(100));
    const wrongSum = Buffer.from(good);
    wrongSum[wrongSum.length - 1] = (wrongSum.at(-1) ?? 0) ^ 1;
    const refused = [
      Buffer.alloc(0),
      Buffer.from('no zlib'),
      good.subarray(0, -1),
      wrongSum,
      gzipSync(Buffer.alloc(100)),
      deflateRawSync(Buffer.alloc(100)),
    ];
    for (const bytes of refused) {
      expect(await problemOf({ bits: 1, lst: bytes.toString('base64url') })).toContain('zlib');
    }
    expect(await problemOf({ bits: 1, lst: good.toString('base64url') })).toBeNull();
  });

  it('lst: a bomb is broken off where it becomes too large', async () => {
    const pack = (size: number) => ({ bits: 1, lst: deflateSync(Buffer.alloc(size)).toString('base64url') });
    expect(await problemOf(pack(MAX_LIST_BYTES))).toBeNull();
    expect(await problemOf(pack(MAX_LIST_BYTES + 1))).toContain('too large');
    expect(await problemOf(pack(MAX_LIST_BYTES * 16))).toContain('too large');
  });
});
