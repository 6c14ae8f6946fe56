import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Nonces } from '../../src/proof/nonce.ts';
import { newNonceSecret, secretInMemory } from '../../src/proof/nonce_secrets.ts';
import { NOON } from './fixture.ts';

const LIFETIME = 300;
const JKT = 'j'.repeat(43);
const SECRET = randomBytes(32);

/** A node with a secret of its own or the given ones, the current one first. */
function node(...given: Uint8Array[]): Nonces {
  const keys = (given.length === 0 ? [newNonceSecret()] : given).map((secret) => createSecretKey(secret));
  return new Nonces({ secrets: { current: () => keys }, lifetimeSeconds: LIFETIME, leewaySeconds: 10 });
}

function check(
  nonces: Nonces,
  nonce: string | undefined,
  changes: { jkt?: string; after?: number; onlyHere?: boolean } = {},
) {
  const { jkt = JKT, after = 0, onlyHere = false } = changes;
  return nonces.check(nonce, { jkt, nowMs: NOON + after * 1000, onlyHere });
}

describe('RFC 9449 §8: a nonce that nobody has to remember', () => {
  it('RFC 9449 §8.1: is made of NQCHAR, 40 of them, and known at once', () => {
    const nonces = node();
    const nonce = nonces.give(JKT, NOON);
    expect(nonce).toMatch(/^[A-Za-z0-9_-]{40}$/);
    expect(check(nonces, nonce)).toBe('good');
  });

  it('is good for its lifetime and no second longer; a new one is due after half of it', () => {
    const nonces = node();
    const nonce = nonces.give(JKT, NOON);
    expect(check(nonces, nonce, { after: LIFETIME / 2 - 1 })).toBe('good');
    expect(check(nonces, nonce, { after: LIFETIME / 2 })).toBe('due');
    expect(check(nonces, nonce, { after: LIFETIME - 1 })).toBe('due');
    expect(check(nonces, nonce, { after: LIFETIME })).toBe('expired');
    expect(check(nonces, nonce, { after: LIFETIME * 1000 })).toBe('expired');
  });

  it('may come from a node whose clock is ahead by the leeway, and no more', () => {
    const nonces = node();
    expect(check(nonces, nonces.give(JKT, NOON + 10_000))).toBe('good');
    expect(check(nonces, nonces.give(JKT, NOON + 11_000))).toBe('expired');
  });

  it('is for one key', () => {
    const nonces = node();
    const nonce = nonces.give(JKT, NOON);
    expect(check(nonces, nonce, { jkt: `k${JKT.slice(1)}` })).toBe('unknown');
    expect(check(nonces, nonce, { jkt: '' })).toBe('unknown');
  });

  it('is known to other nodes with the same secret, and to none with another; where it must be of this node, only here', () => {
    const [here, there, stranger] = [node(SECRET), node(SECRET), node()];
    const nonce = here.give(JKT, NOON);
    expect(check(there, nonce)).toBe('good');
    expect(check(stranger, nonce)).toBe('unknown');
    expect(check(here, nonce, { onlyHere: true })).toBe('good');
    expect(check(there, nonce, { onlyHere: true })).toBe('elsewhere');
    expect(check(there, nonce, { onlyHere: true, after: LIFETIME })).toBe('expired');
  });

  it('outlives one rotation of the secret, not two; a node that rotated first is understood when it has both', () => {
    const [first, second, third] = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const nonce = node(first).give(JKT, NOON);
    expect(check(node(second, first), nonce)).toBe('good');
    expect(check(node(third, second), nonce)).toBe('unknown');
    expect(check(node(first, second), node(second, first).give(JKT, NOON))).toBe('good');
  });

  it('does not outlive a restart when its secret is in memory only', () => {
    const build = () => new Nonces({ secrets: secretInMemory(), lifetimeSeconds: LIFETIME, leewaySeconds: 10 });
    expect(check(build(), build().give(JKT, NOON))).toBe('unknown');
  });

  it.each([
    ['empty', ''],
    ['one character', 'A'],
    ['40 zeros', 'A'.repeat(40)],
    ['10 kB', 'A'.repeat(10_240)],
    ['of the right length, not base64url', '!'.repeat(40)],
    ['with surrogates', '\ud800'.repeat(40)],
  ])('is not what somebody made up: %s', (_, nonce) => {
    expect(check(node(), nonce)).toBe('unknown');
  });

  it('is missing when there is none', () => {
    expect(check(node(), undefined)).toBe('missing');
  });

  it('is not known with the time moved forward, with a MAC that is cut, or with one for another purpose', () => {
    const nonces = node(SECRET);
    const bytes = Buffer.from(nonces.give(JKT, NOON), 'base64url');
    const later = Buffer.from(bytes);
    later.writeUIntBE(later.readUIntBE(9, 5) + 60, 9, 5);
    expect(check(nonces, later.toString('base64url'))).toBe('unknown');
    expect(check(nonces, bytes.subarray(0, 29).toString('base64url'))).toBe('unknown');
    expect(check(nonces, bytes.subarray(0, 14).toString('base64url'))).toBe('unknown');
    const plain = createHmac('sha256', SECRET).update(bytes.subarray(0, 14)).update(JKT).digest().subarray(0, 16);
    plain.copy(bytes, 14);
    expect(check(nonces, bytes.toString('base64url'))).toBe('unknown');
  });

  it('has one spelling: no other alphabet, padding or white space', () => {
    const nonces = node();
    let nonce = nonces.give(JKT, NOON);
    for (let i = 0; !/[-_]/.test(nonce); i++) nonce = nonces.give(JKT, NOON - i * 1000);
    expect(check(nonces, nonce)).toBe('good');
    for (const other of [nonce.replaceAll('-', '+').replaceAll('_', '/'), `${nonce}=`, ` ${nonce}`, `${nonce}\n`]) {
      expect(check(nonces, other)).toBe('unknown');
    }
  });

  it('any changed bit refuses', () => {
    const nonces = node();
    const bytes = Buffer.from(nonces.give(JKT, NOON), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(check(nonces, changed.toString('base64url'))).toBe('unknown');
    }
  });

  it('any changed, inserted or removed character refuses', () => {
    const nonces = node();
    const nonce = nonces.give(JKT, NOON);
    const at = fc.nat({ max: nonce.length - 1 });
    fc.assert(
      fc.property(at, fc.string({ minLength: 0, maxLength: 3, unit: 'binary' }), (index, text) => {
        const other = nonce.slice(0, index) + text + nonce.slice(index + 1);
        expect(check(nonces, other)).toBe(other === nonce ? 'good' : 'unknown');
      }),
      { numRuns: 500 },
    );
  });

  it('no text at all makes it throw', () => {
    const nonces = node();
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => check(nonces, text) === 'unknown'));
  });

  it('a flood of nonces given and asked about leaves memory flat', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const nonces = node();
    const flood = (count: number) => {
      for (let i = 0; i < count; i++) check(nonces, nonces.give(`${i}`.padStart(43, 'j'), NOON + i));
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const before = flood(2000);
    // 20,000 nonces that were kept would be at least 800 kB.
    expect(flood(20_000) - before).toBeLessThan(800_000);
  });
});
