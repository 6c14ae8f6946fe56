import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseCompactJws } from '../../src/oauth/compact_jws.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';

const BOUNDS = { maxBytes: 8192 };
let key: TestKey;

beforeAll(async () => {
  key = await makeKey();
});

const wellFormed = (value: unknown) => JSON.stringify(value).isWellFormed();
const objects = fc
  .dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 })
  .filter(wellFormed);

describe('RFC 7515 §3.1, §7.1: the compact serialisation', () => {
  it('what was signed comes back, with the parts as they were sent', () => {
    fc.assert(
      fc.property(objects, objects, (header, payload) => {
        const text = signJws(header, payload, key);
        fc.pre(text.length <= BOUNDS.maxBytes);
        const outcome = parseCompactJws(text, BOUNDS);
        const [first = '', second = '', third = ''] = text.split('.');
        expect(outcome).toEqual({
          ok: true,
          value: {
            header: JSON.parse(JSON.stringify(header)),
            payload: JSON.parse(JSON.stringify(payload)),
            headerSegment: first,
            payloadSegment: second,
            signingInput: `${first}.${second}`,
            signature: Buffer.from(third, 'base64url'),
          },
        });
      }),
      { numRuns: 50 },
    );
  });

  it('changing any one character changes what is read, or is refused: no two texts are the same JWS', () => {
    const text = signJws({ alg: 'ES256', typ: 'dpop+jwt' }, { jti: 'x', iat: 1 }, key);
    const original = parseCompactJws(text, BOUNDS);
    if (!original.ok) throw new Error(original.problem);
    const units = fc.constantFrom(...'ABYZabyz0189-_.=+/ \n\té');
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        units,
        fc.constantFrom('replace', 'insert', 'remove'),
        (index, unit, how) => {
          const rest = text.slice(how === 'insert' ? index : index + 1);
          const changed = text.slice(0, index) + (how === 'remove' ? '' : unit) + rest;
          fc.pre(changed !== text);
          const outcome = parseCompactJws(changed, BOUNDS);
          if (!outcome.ok) return;
          const same =
            outcome.value.signingInput === original.value.signingInput &&
            outcome.value.signature.equals(original.value.signature);
          expect(same).toBe(false);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('any text: nothing throws', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseCompactJws(text, BOUNDS)));
    const units = fc.constantFrom(...'ABab01-_..');
    fc.assert(fc.property(fc.string({ unit: units, maxLength: 40 }), (text) => void parseCompactJws(text, BOUNDS)));
  });

  it.each(['', '.', '..', '...', 'e30', 'e30.', 'e30.e30', 'e30.e30.', '.e30.AA', 'e30..AA', '..AA', '.e30.'])(
    'not three parts: refuses %j',
    (text) => {
      expect(parseCompactJws(text, BOUNDS)).toEqual({ ok: false, problem: 'not three parts' });
    },
  );

  it.each([
    'e30.e30.AA.AA',
    'e30.e30.AA.',
    'e30.e30.A',
    'e30.e30.AA=',
    'e30.e30.A+',
    'e3 0.e30.AA',
    'e30.e30.AB',
    ' e30.e30.AA',
    'e30.e30.AA\n',
  ])('not canonical base64url: refuses %j', (text) => {
    expect(parseCompactJws(text, BOUNDS)).toEqual({ ok: false, problem: 'not canonical base64url' });
  });

  it('header and payload must be JSON objects', () => {
    for (const part of ['[]', '1', 'null', '"x"']) {
      expect(parseCompactJws(signJws(part, {}, key), BOUNDS)).toEqual({ ok: false, problem: 'not a JSON object' });
      expect(parseCompactJws(signJws({}, part, key), BOUNDS)).toEqual({ ok: false, problem: 'not a JSON object' });
    }
    expect(parseCompactJws(signJws('{"a":1,"a":1}', {}, key), BOUNDS)).toEqual({
      ok: false,
      problem: 'JSON with a repeated member',
    });
    expect(parseCompactJws('e30.e30.AA', BOUNDS).ok).toBe(true);
  });

  it('refuses a text that is too long before reading it', () => {
    const text = 'e30.e30.AA';
    expect(parseCompactJws(text, { maxBytes: text.length }).ok).toBe(true);
    expect(parseCompactJws(text, { maxBytes: text.length - 1 })).toEqual({ ok: false, problem: 'JWT too large' });
  });
});
