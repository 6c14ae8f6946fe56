import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shortened, styled } from '../../src/demo/words.ts';
import { explainRefusal, printable } from '../../src/oauth/refusal_text.ts';

describe('words', () => {
  it('printable: one line, bounded, and nothing that a terminal would obey', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (text) => {
        const shown = printable(text, 100);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\n]/u);
        expect(shown.length).toBeLessThanOrEqual(101);
      }),
    );
    expect(printable('\x1b[31mred\x1b[0m\nforged line')).toBe('[31mred [0m forged line');
  });

  it('shortened: tells two tokens apart and gives neither away', () => {
    const token = `eyJhbGciOi.${'x'.repeat(300)}.signature`;
    expect(shortened(token)).toBe('eyJhbG…ture');
  });

  it('styled: plain where no colour is wanted', () => {
    const line = () => undefined;
    expect(styled({ colour: false, line }, 'red', 'text')).toBe('text');
    expect(styled({ colour: true, line }, 'red', 'text')).toBe('\x1b[31mtext\x1b[0m');
  });
});

describe('explainRefusal', () => {
  const problem = {
    title: 'The scope of the access token does not cover this operation',
    reason: 'policy.insufficient_scope',
    detail: 'Ask for a token with the scope in the challenge.',
    decision_id: 'd-1',
  };

  it('says what would do', () => {
    const required = {
      scopes: ['projects:admin'],
      authorization_details: [{ type: 'cloud_api', actions: ['projects.delete'], identifier: 'projects/p1' }],
    };
    const policy_reasons = [{ code: 'insufficient_scope', message: 'The scope does not cover it.' }];
    expect(explainRefusal({ ...problem, required, policy_reasons })).toEqual([
      'The scope of the access token does not cover this operation (policy.insufficient_scope).',
      'The scope does not cover it.',
      'What would do: scope projects:admin, and projects.delete on projects/p1 (cloud_api).',
      'Decision d-1.',
    ]);
  });

  it('gives the advice where nothing is required, and what was expected and seen', () => {
    const told = explainRefusal({ ...problem, expected: { htm: 'GET' }, seen: { htm: 'POST' } });
    expect(told.slice(1)).toEqual([problem.detail, 'expected: {"htm":"GET"}', 'seen: {"htm":"POST"}', 'Decision d-1.']);
  });

  it('never throws, whatever the document holds', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('title', 'required', 'policy_reasons', 'expected', 'detail'), fc.jsonValue()),
        (odd) => {
          for (const line of explainRefusal(odd)) expect(line).not.toMatch(/\p{Cc}/u);
        },
      ),
    );
  });
});
