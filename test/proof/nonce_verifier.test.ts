import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Denial } from '../../src/kernel/denial.ts';
import { secretInMemory } from '../../src/proof/nonce_secrets.ts';
import { createWindowOnly } from '../../src/proof/replay_window.ts';
import {
  type Bench,
  benchOf,
  type Changes,
  contextOf,
  IN_DATE,
  makeKey,
  NONCE_ISSUER,
  NOON,
  proofBy,
  type RequestChanges,
  type TestKey,
  tokenOf,
} from './fixture.ts';

const REQUIRED = { nonceRequired: true } as const;
const NODE = { nonceRequired: true, replay: 'node_nonce' } as const;
const NONCE = /^[A-Za-z0-9_-]{40}$/;
let key: TestKey;

beforeAll(async () => {
  key = await makeKey();
});

type RouteChanges = Omit<RequestChanges, 'proof'>;

/** Verifies a proof with these claims; `proof` of one's own or none where given. */
function verify(bench: Bench, claims: Changes, route: RouteChanges & { proof?: string | null } = REQUIRED) {
  const { proof = proofBy(key, claims), ...changes } = route;
  return bench.verify({ ...changes, proof }, { jkt: key.thumbprint });
}

function refusal(
  bench: Bench,
  claims: Changes,
  route: RouteChanges & { proof?: string | null } = REQUIRED,
): Promise<Denial> {
  const { proof = proofBy(key, claims), ...changes } = route;
  return bench.refuse({ ...changes, proof }, { jkt: key.thumbprint });
}

/** The nonce that a refusal gives. */
async function given(bench: Bench, route: RouteChanges = REQUIRED): Promise<string> {
  return (await refusal(bench, {}, route)).nonce as string;
}

describe('proof.nonce_missing and proof.nonce_stale', () => {
  it('proof.nonce_missing: a proof without a nonce is refused with one, and passes with it', async () => {
    const bench = benchOf();
    const denial = await refusal(bench, {});
    expect(denial).toEqual({
      reason: 'proof.nonce_missing',
      nonce: expect.stringMatching(NONCE),
      disclosure: { expected: { nonce: denial.nonce }, seen: { nonce: 'missing' } },
    });
    expect(await verify(bench, { nonce: denial.nonce })).toBe('passed');
  });

  it('a nonce serves any number of proofs within its lifetime, each of them once', async () => {
    const bench = benchOf();
    const nonce = await given(bench);
    const proof = proofBy(key, { nonce });
    expect(await verify(bench, {}, { ...REQUIRED, proof })).toBe('passed');
    expect(await verify(bench, {}, { ...REQUIRED, proof })).toBe('proof.replayed');
    expect(await verify(bench, { nonce })).toBe('passed');
  });

  it('a new nonce comes with success when one is due, and with a replay then, too', async () => {
    const bench = benchOf({ nonce_lifetime_seconds: 40 });
    const nonce = await given(bench);
    const facts = async (claims: Changes, proof = proofBy(key, { nonce, ...claims })) =>
      bench.verifier.verify(contextOf({ ...REQUIRED, proof }), tokenOf({ jkt: key.thumbprint }));
    expect(await facts({})).toMatchObject({ ok: true, value: { nonce: null } });
    bench.now += 20_000;
    const proof = proofBy(key, { nonce });
    expect(await facts({}, proof)).toMatchObject({ ok: true, value: { nonce: expect.stringMatching(NONCE) } });
    expect(await facts({}, proof)).toMatchObject({
      ok: false,
      denial: { reason: 'proof.replayed', nonce: expect.stringMatching(NONCE) },
    });
    bench.now += 20_000;
    expect(await refusal(bench, { nonce })).toEqual({
      reason: 'proof.nonce_stale',
      note: 'nonce that has expired',
      nonce: expect.stringMatching(NONCE),
      disclosure: {
        expected: { nonce: expect.stringMatching(NONCE) },
        seen: { nonce, problem: 'nonce that has expired' },
      },
    });
  });

  it.each([
    ['forged', () => randomBytes(30).toString('base64url')],
    ['empty', () => ''],
    ['5 kB', () => 'n'.repeat(5000)],
    ['of the upstream', () => 'upstream-nonce'],
  ])('proof.nonce_stale: a nonce that is %s gets a fresh one and burns nothing', async (_, make) => {
    const bench = benchOf();
    const jti = 'j-1';
    const denial = await refusal(bench, { jti, nonce: make() });
    expect(denial).toMatchObject({ reason: 'proof.nonce_stale', nonce: expect.stringMatching(NONCE) });
    expect(bench.store.stats()).toMatchObject({ entries: 0, first: 0 });
    expect(await verify(bench, { jti, nonce: denial.nonce })).toBe('passed');
  });

  it("proof.nonce_stale: another key's nonce is none", async () => {
    const bench = benchOf();
    const other = await makeKey();
    const denial = await bench.refuse({ ...REQUIRED, proof: proofBy(other) }, { jkt: other.thumbprint });
    expect(await verify(bench, { nonce: denial.nonce })).toBe('proof.nonce_stale');
  });

  it.each([
    ['a number', 5],
    ['an array', ['n']],
    ['an object', {}],
    ['null', null],
    ['true', true],
  ])('proof.claims: a nonce that is %s', async (seen, nonce) => {
    const disclosure = { expected: { nonce: 'a string' }, seen: { nonce: seen === 'true' ? 'a boolean' : seen } };
    expect(await refusal(benchOf(), { nonce })).toMatchObject({ reason: 'proof.claims', disclosure });
  });

  it('proof.malformed: a nonce of 10 kB makes the proof too large', async () => {
    expect(await verify(benchOf(), { nonce: 'n'.repeat(10_240) })).toBe('proof.malformed');
  });

  it.each([
    ['proof.missing', { proof: null }],
    ['proof.malformed', { proof: 'a.b' }],
    ['proof.method', { method: 'PUT' }],
    ['proof.target', { path: '/v1/projects/p2' }],
  ])('%s: where nonces are required, the refusal gives one at once', async (reason, changes) => {
    const bench = benchOf();
    const denial = await refusal(bench, {}, { ...REQUIRED, ...changes });
    expect(denial).toMatchObject({ reason, nonce: expect.stringMatching(NONCE) });
    expect(await verify(bench, { nonce: denial.nonce })).toBe('passed');
  });

  it('the nonce comes after the token hash and before the claim', async () => {
    const bench = benchOf();
    expect(await verify(bench, { ath: 'x' })).toBe('proof.token_hash');
    expect(await verify(bench, { iat: 1 })).toBe('proof.too_old');
    expect(bench.store.stats().first).toBe(0);
  });

  it('where nonces are not required, none is looked at and none is given', async () => {
    const bench = benchOf();
    expect(await verify(bench, { nonce: 'whatever' }, {})).toBe('passed');
    expect(await refusal(bench, {}, { proof: null })).toEqual({ reason: 'proof.missing' });
  });

  it('an issuer may require nonces of its own tokens only', async () => {
    const bench = benchOf();
    const token = { ...tokenOf({ jkt: key.thumbprint }), issuer: NONCE_ISSUER };
    const checked = await bench.verifier.verify(contextOf({ proof: proofBy(key) }), token);
    expect(checked).toMatchObject({ ok: false, denial: { reason: 'proof.nonce_missing' } });
    expect(await verify(bench, {}, {})).toBe('passed');
  });

  it('a certificate-bound token needs no nonce', async () => {
    const x5tS256 = 'c'.repeat(43);
    const request = { ...REQUIRED, proof: null, scheme: 'bearer', certificate: { ...IN_DATE, x5tS256 } } as const;
    expect(await benchOf().verify(request, { x5tS256 })).toBe('passed');
  });

  it('a flood of refused proofs leaves nothing behind', async () => {
    const bench = benchOf();
    const proof = proofBy(key);
    for (let i = 0; i < 500; i++) await verify(bench, {}, { ...REQUIRED, proof });
    expect(bench.store.stats()).toMatchObject({ entries: 0, first: 0, used: 0 });
    expect(bench.verifier.stats().keys.entries).toBe(1);
  });
});

describe('node_nonce: single use at the one node that gave the nonce', () => {
  it('proof.nonce_stale: a proof passes at its node only, whatever other nodes share the secret', async () => {
    const secrets = secretInMemory();
    const [here, there] = [benchOf({}, undefined, secrets), benchOf({}, undefined, secrets)];
    const nonce = await given(here, NODE);
    const proof = proofBy(key, { nonce });
    const refused = await refusal(there, {}, { ...NODE, proof });
    expect(refused).toMatchObject({ reason: 'proof.nonce_stale', note: 'nonce of another node' });
    expect(await verify(here, {}, { ...NODE, proof })).toBe('passed');
    expect(await verify(here, {}, { ...NODE, proof })).toBe('proof.replayed');
    expect(await verify(there, {}, { ...NODE, proof })).toBe('proof.nonce_stale');
    expect(await verify(there, { nonce: refused.nonce }, NODE)).toBe('passed');
  });

  it('a proof that passed before a restart passes nowhere after it', async () => {
    const secrets = secretInMemory();
    const before = benchOf({}, undefined, secrets);
    const proof = proofBy(key, { nonce: await given(before, NODE) });
    expect(await verify(before, {}, { ...NODE, proof })).toBe('passed');
    expect(await verify(benchOf({}, undefined, secrets), {}, { ...NODE, proof })).toBe('proof.nonce_stale');
  });

  it('never goes without a nonce, even if nothing else requires one', async () => {
    expect(await verify(benchOf(), {}, { replay: 'node_nonce' })).toBe('proof.nonce_missing');
  });
});

describe('window_only: no single use', () => {
  it('the same proof passes until it is too old', async () => {
    const bench = benchOf({}, createWindowOnly());
    const route = { replay: 'window_only', proof: proofBy(key) } as const;
    expect(await verify(bench, {}, route)).toBe('passed');
    expect(await verify(bench, {}, route)).toBe('passed');
    expect(bench.store.stats()).toMatchObject({ kind: 'window_only', entries: null, first: 2, used: 0 });
    bench.now = NOON + 62_000;
    expect(await verify(bench, {}, route)).toBe('proof.too_old');
  });
});
