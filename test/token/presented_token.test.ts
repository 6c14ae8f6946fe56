import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isJwtShaped } from '../../src/token/presented_token.ts';

const b64 = (text: string) => Buffer.from(text).toString('base64url');

describe('isJwtShaped', () => {
  it.each([
    'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU',
    'opaque',
    'a.b',
    '..',
    '.a.b',
    'a..',
    `${b64('{"alg":"none"}')}.x`,
    `${b64('{"alg":"dir","enc":"A256GCM"}')}..a.b.c`,
    `${b64('["alg"]')}.a.b`,
    `${b64('"{"')}.a.b`,
    'ya29.a0AfH6SMB.x',
  ])('%s is opaque', (token) => {
    expect(isJwtShaped(token)).toBe(false);
  });

  it.each([
    `${b64('{"alg":"ES256"}')}.a.b`,
    `${b64('{"alg":"ES256"}')}..`,
    `${b64('{')}.a.b`,
    `${b64(' \r\n\t{"alg":"ES256"}')}.a.b`,
    `${b64(`${' '.repeat(5000)}{}`)}.a.b`,
    `${b64('\ufeff{"alg":"ES256"}')}.a.b`,
    `${Buffer.from('{"a":"\u00ff\u00fe"}').toString('base64')}.a.b`,
    `${b64('{"alg":"ES256"}')}==.a.b=`,
  ])('%s is to be judged as a JWT', (token) => {
    expect(isJwtShaped(token)).toBe(true);
  });

  it('every spelling of an object in three parts is to be judged as a JWT', () => {
    const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 20 });
    const part = fc.base64String().map((text) => text.replaceAll('=', ''));
    fc.assert(
      fc.property(
        space,
        fc.object(),
        part,
        part,
        fc.constantFrom('base64', 'base64url'),
        (before, object, two, three, form) => {
          const header = Buffer.from(before + JSON.stringify(object)).toString(form as 'base64');
          expect(isJwtShaped(`${header}.${two}.${three}`)).toBe(true);
        },
      ),
    );
  });
});
