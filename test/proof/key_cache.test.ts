import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SIGNATURE_ALGORITHMS, type SignatureAlgorithm } from '../../src/oauth/algorithms.ts';
import { createKeyCache } from '../../src/proof/key_cache.ts';

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
const entry = (jkt: string) => ({ algorithm: SIGNATURE_ALGORITHMS.get('ES256') as SignatureAlgorithm, jkt, key });

describe('the keys of proofs', () => {
  it('are remembered by the whole text of the header, no more than the size allows, the least recently used going first', () => {
    const cache = createKeyCache(10_000);
    for (let index = 0; index < 10_000; index++) cache.keep(`header-${index}`, entry(String(index)));
    expect(cache.find('header-0')?.jkt).toBe('0');
    for (let index = 10_000; index < 10_500; index++) cache.keep(`header-${index}`, entry(String(index)));
    expect(cache.stats().entries).toBe(10_000);
    expect(cache.find('header-0')?.jkt).toBe('0');
    expect(cache.find('header-1')).toBeUndefined();
    expect(cache.find('header-10499')?.jkt).toBe('10499');
    expect(cache.find('header-1049')?.jkt).toBe('1049');
    expect(cache.find('HEADER-1049')).toBeUndefined();
  });

  it('a header that is longer than any good one is read each time', () => {
    const cache = createKeyCache(10_000);
    cache.keep('h'.repeat(1536), entry('a'));
    cache.keep('h'.repeat(1537), entry('b'));
    expect(cache.stats().entries).toBe(1);
    expect(cache.find('h'.repeat(1537))).toBeUndefined();
  });

  it('who comes second with the same header changes nothing', () => {
    const cache = createKeyCache(10_000);
    cache.keep('h', entry('first'));
    cache.keep('h', entry('second'));
    expect(cache.find('h')?.jkt).toBe('first');
  });
});
