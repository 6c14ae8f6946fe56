import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refuseOtherKey } from '../../src/proof/binding.ts';
import { tokenOf } from '../proof/fixture.ts';
import { expectRefused } from '../support/expect_outcome.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { Wire } from '../support/wire.ts';

/** What the holder of the key is told of a header that was refused, and that nobody else is told anything that it does not have. */

let wire: Wire;
let stranger: TestKey;
const keys = new Map<string, TestKey>();
beforeAll(async () => {
  [wire, stranger] = await Promise.all([Wire.start({ transports: TRANSPORTS }), makeKey()]);
  for (const alg of ['ES256', 'ES384', 'ES512', 'RS256', 'PS384', 'EdDSA']) keys.set(alg, await makeKey(alg));
});
afterAll(() => wire.close());

type Members = Record<string, unknown>;

/** A request with a token for the job's key, and a proof with this header. */
async function send(header: Members, parties: { holder?: TestKey; signer?: TestKey } = {}) {
  const { holder = wire.jobKey, signer = holder } = parties;
  const token = wire.token({ claims: { cnf: { jkt: holder.thumbprint } } });
  const proof = signJws(wire.proofHeader(header, holder), wire.proofClaims(token), signer);
  return wire.send({ lines: wire.lines(token, proof) });
}

const ALGORITHMS = ['ES256', 'PS256', 'EdDSA', 'Ed25519'];

describe('RFC 9449 §4.3: a header that is refused, explained to the holder of the key', () => {
  it.each<[unknown, string]>([
    ['JWT', 'JWT'],
    ['dpop', 'dpop'],
    ['at+jwt', 'at+jwt'],
    ['x'.repeat(500), 'x'.repeat(64)],
    ['', ''],
    [undefined, 'absent'],
    [null, 'null'],
    [['dpop+jwt'], 'an array'],
    [7, 'of the type number'],
    [{}, 'of the type object'],
  ])('RFC 9449 §4.3 check 4: typ %j', async (typ, seen) => {
    const outcome = await send({ typ });
    expectRefused(outcome, 'proof.type');
    expect(outcome.problem).toMatchObject({ expected: { typ: 'dpop+jwt' }, seen: { typ: seen } });
  });

  it.each(['ES384', 'ES512', 'RS256', 'PS384'])('RFC 9449 §4.3 check 5: %s, which is not allowed here', async (alg) => {
    const outcome = await send({}, { holder: keys.get(alg) as TestKey });
    expectRefused(outcome, 'proof.algorithm');
    expect(outcome.problem).toMatchObject({ expected: { alg: expect.any(String) }, seen: { alg } });
    const expected = JSON.stringify(outcome.problem?.['expected']);
    for (const allowed of ALGORITHMS) expect(expected).toContain(allowed);
  });

  it.each<[Members, Members]>([
    [{ crit: ['exp'] }, { crit: 'an array', b64: 'absent' }],
    [{ b64: false }, { crit: 'absent', b64: 'of the type boolean' }],
    [{ crit: null }, { crit: 'null', b64: 'absent' }],
  ])('RFC 7515 §4.1.11: %j', async (header, seen) => {
    const outcome = await send(header);
    expectRefused(outcome, 'proof.critical_header');
    expect(outcome.problem).toMatchObject({ expected: { crit: 'absent', b64: 'absent' }, seen });
  });
});

describe('RFC 9449 §4.3: the same header, for others', () => {
  it.each<[string, Members]>([
    ['proof.type', { typ: 'MARK' }],
    ['proof.critical_header', { crit: ['MARK'] }],
    ['proof.algorithm', { alg: 'ES384' }],
    ['proof.algorithm', { alg: 'none' }],
    ['proof.algorithm', { alg: 'HS256' }],
    ['proof.algorithm', { alg: 'MARK' }],
  ])('%s: who has the token and not the key is told nothing (%j)', async (reason, header) => {
    for (const outcome of [
      await send(header, { signer: stranger }),
      await send({ ...header, jwk: stranger.publicJwk }, { signer: stranger }),
      await send({ ...header, jwk: undefined }),
      await send({ ...header, jwk: 'MARK' }),
    ]) {
      expectRefused(outcome, reason);
      expect(outcome.problem).not.toHaveProperty('seen');
      expect(outcome.answer.head + outcome.answer.body).not.toContain('MARK');
    }
  });

  it('proof.malformed, proof.key: no key was shown, and nothing is told', async () => {
    const token = wire.token();
    for (const proof of ['MARK', 'MARK.MARK.MARK', wire.proof(token, { header: { jwk: { kty: 'MARK' } } })]) {
      const { problem, answer } = await wire.send({ lines: wire.lines(token, proof) });
      expect(problem).not.toHaveProperty('seen');
      expect(answer.body).not.toContain('MARK');
    }
  });
});

describe('RFC 9449 §4.3 check 12: a key that the token is not bound to', () => {
  it('RFC 9449 §4.3 check 12: of a JWT, both thumbprints: one stands in the token, the other is that of the proof', async () => {
    const outcome = await wire.call({ key: stranger });
    expectRefused(outcome, 'proof.key_mismatch');
    expect(outcome.problem).toMatchObject({
      expected: { jkt: wire.jobKey.thumbprint },
      seen: { jkt: stranger.thumbprint },
    });
  });

  it('RFC 9449 §4.3 check 12: of an opaque token, the binding is told to nobody', () => {
    const confirmation = { jkt: 'j'.repeat(43), x5tS256: 'x'.repeat(43) };
    const opaque = { ...tokenOf(confirmation), kind: 'opaque' } as ReturnType<typeof tokenOf>;
    for (const seen of [{ jkt: 's'.repeat(43) }, { 'x5t#S256': 's'.repeat(43) }]) {
      const { denial } = refuseOtherKey(opaque, seen);
      expect(denial).toMatchObject({ reason: 'proof.key_mismatch', disclosure: { seen } });
      expect(JSON.stringify(denial)).not.toMatch(/j{43}|x{43}/);
      const name = Object.keys(seen)[0] as string;
      const own = refuseOtherKey(tokenOf(confirmation), seen).denial.disclosure;
      expect(own?.expected[name]).toBe(name === 'jkt' ? confirmation.jkt : confirmation.x5tS256);
    }
  });
});
