import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildInput, INPUT_LIMIT_BYTES } from '../../src/policy/input.ts';
import { NESTING_LIMIT } from '../../src/policy/nesting.ts';
import { contextWith, documentOf, JOB, plain, proof, refusalOf, tokenWith } from './input_case.ts';

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

describe('policy.input_too_large', () => {
  const queryOf = (value: string) =>
    contextWith({ target: { ...plain.target, query: '', queryParameters: { q: [value] } } });

  it('refuses more bytes than an input may have, counted in UTF-8', () => {
    expect(refusalOf(queryOf('a'.repeat(INPUT_LIMIT_BYTES)))).toBe('policy.input_too_large');
    expect(refusalOf(queryOf('ü'.repeat(INPUT_LIMIT_BYTES / 2)))).toBe('policy.input_too_large');
    expect(refusalOf(queryOf('a'.repeat(INPUT_LIMIT_BYTES - 2048)))).toBeNull();
    expect(refusalOf(queryOf('ü'.repeat(INPUT_LIMIT_BYTES / 2 - 1024)))).toBeNull();
  });

  it.each([NESTING_LIMIT + 1, 50_000])('refuses a body of %i levels', (levels) => {
    const body = { state: 'parsed', value: nested(levels), head: [], complete: true } as const;
    expect(refusalOf(contextWith({ body }))).toBe('policy.input_too_large');
  });

  it.each([NESTING_LIMIT + 1, 50_000])('refuses a token of %i levels, each time', (levels) => {
    for (const token of [
      tokenWith({ claims: { a: nested(levels) } }),
      tokenWith({ authorizationDetails: [{ type: 'a', b: nested(levels) }] }),
      tokenWith({ job: { ...JOB, claims: { a: nested(levels) } } }),
    ]) {
      expect(refusalOf(plain, token)).toBe('policy.input_too_large');
      expect(refusalOf(plain, token)).toBe('policy.input_too_large');
    }
  });

  it('lets as many levels pass as there may be', () => {
    const body = { state: 'parsed', value: nested(NESTING_LIMIT), head: [], complete: true } as const;
    expect(refusalOf(contextWith({ body }))).toBeNull();
  });
});

describe('text in the policy input', () => {
  it('is well-formed: half a surrogate pair becomes U+FFFD', () => {
    const broken = ['\ud800', 'a\udfffb', '\udc00\ud800', '\\\ud800', '"\ud83d"', '\ud83d\\ude00', '😀\ud83d'];
    for (const text of broken) {
      const token = tokenWith({ subject: text, claims: { [text]: text } });
      const body = { state: 'parsed', value: [text], head: [], complete: true } as const;
      const document = documentOf(contextWith({ body }), token);
      expect(document.token.subject).toBe(text.toWellFormed());
      expect(document.token.claims).toEqual({ [text.toWellFormed()]: text.toWellFormed() });
      expect(document.request.body).toEqual([text.toWellFormed()]);
    }
  });

  it('keeps a text that only looks like half a pair', () => {
    for (const text of ['\\ud800', '\\\\ud800', '\\\\\\udfff', 'x\\"\\ud800']) {
      expect(documentOf(plain, tokenWith({ subject: text })).token.subject).toBe(text);
    }
  });

  it('is on one line', () => {
    const input = buildInput(plain, tokenWith({ subject: 'a\r\nb\u0000\u001b[31m' }), proof);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    expect(input.ok && input.value).not.toMatch(/[\u0000-\u001f]/);
  });

  it('property: whatever stands in token, query and body comes out equal, well-formed, and fits the schema', () => {
    const text = fc.string({ unit: 'binary' });
    const json = fc.jsonValue({ stringUnit: 'binary' });
    const claims = fc.dictionary(text, json);
    fc.assert(
      fc.property(
        text,
        claims,
        json,
        fc.dictionary(text, fc.array(text)),
        (subject, members, value, queryParameters) => {
          const token = tokenWith({ subject, claims: members });
          const target = { ...plain.target, queryParameters };
          const body = { state: 'parsed', value, head: [], complete: true } as const;
          const document = documentOf(contextWith({ target, body }), token);
          const clean = (part: unknown) => JSON.parse(JSON.stringify(part), (_, item) => cleaned(item)) as unknown;
          expect(document.token.subject).toBe(subject.toWellFormed());
          expect(document.token.claims).toEqual(clean(members));
          expect(document.request.body).toEqual(clean(value));
          expect(document.request.query).toEqual(clean(queryParameters));
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** What a value is to be after lone surrogates became U+FFFD, in names too. */
function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name.toWellFormed(), item]));
}
