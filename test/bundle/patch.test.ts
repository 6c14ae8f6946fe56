import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Bundle, PatchOperation } from '../../src/bundle/bundle.ts';
import { applyDelta } from '../../src/bundle/patch.ts';
import { parseExactJson } from '../../src/policy/exact_json.ts';

function patched(
  data: Record<string, unknown>,
  patch: readonly PatchOperation[],
  roots: readonly string[] = [''],
): unknown {
  const before = {
    type: 'snapshot',
    revision: '1',
    roots,
    modules: [],
    regoVersion: 1,
    data,
    compiled: [],
    digest: '',
  } as Bundle;
  return applyDelta(before, { type: 'delta', revision: '2', roots, patch, digest: 'd' }).data;
}

describe('delta bundles', () => {
  it.each<[string, Record<string, unknown>, PatchOperation, unknown]>([
    ['upsert makes what is missing', {}, { op: 'upsert', path: '/a/b', value: 1 }, { a: { b: 1 } }],
    ['upsert replaces', { a: 1 }, { op: 'upsert', path: 'a', value: [2] }, { a: [2] }],
    ['replace', { a: { b: 1 } }, { op: 'replace', path: '/a/b', value: null }, { a: { b: null } }],
    ['remove', { a: { b: 1, c: 2 } }, { op: 'remove', path: '/a/b' }, { a: { c: 2 } }],
    ['names with slashes and tildes', {}, { op: 'upsert', path: '/a~1b~0', value: 1 }, { 'a/b~': 1 }],
    ['an item of a list', { a: [1, 2] }, { op: 'replace', path: '/a/1', value: 3 }, { a: [1, 3] }],
    ['an item at the end of a list', { a: [1] }, { op: 'upsert', path: '/a/-', value: 2 }, { a: [1, 2] }],
    ['an item of a list goes', { a: [1, 2] }, { op: 'remove', path: '/a/0' }, { a: [2] }],
    ['the whole document', { a: 1 }, { op: 'upsert', path: '/', value: { b: 1 } }, { b: 1 }],
  ])('%s', (_name, data, operation, expected) => {
    expect(patched(data, [operation])).toEqual(expected);
  });

  it.each<[string, PatchOperation]>([
    ['replace of nothing', { op: 'replace', path: '/x', value: 1 }],
    ['remove of nothing', { op: 'remove', path: '/x' }],
    ['an unknown operation', { op: 'move', path: '/a' }],
    ['a way through a text', { op: 'upsert', path: '/t/x', value: 1 }],
    ['an item that is not there', { op: 'replace', path: '/l/7', value: 1 }],
    ['a document that is no object', { op: 'upsert', path: '', value: [1] }],
  ])('%s is refused', (_name, operation) => {
    expect(() => patched({ a: 1, t: 'text', l: [1] }, [operation])).toThrow(/^the change of /);
  });

  it('a change outside of the roots is refused, whole segment by whole segment', () => {
    const change = (path: string) => patched({ a: {} }, [{ op: 'upsert', path, value: 1 }], ['a/b']);
    expect(change('/a/b/c')).toEqual({ a: { b: { c: 1 } } });
    for (const path of ['/a', '/a/bc', '/', '/a~1b/c']) expect(() => change(path)).toThrow(/not below the roots/);
  });

  it('the data before stays as it was, and long numbers keep their digits', () => {
    const data = parseExactJson('{"a":{"id":1234567890123456789,"x":1.50}}') as Record<string, unknown>;
    const text = JSON.stringify(data);
    expect(JSON.stringify(patched(data, [{ op: 'upsert', path: '/b', value: 1 }]))).toBe(
      '{"a":{"id":1234567890123456789,"x":1.50},"b":1}',
    );
    expect(JSON.stringify(data)).toBe(text);
  });

  it('what was put in is there, and nothing else changed, whatever the names', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 4 }),
        fc.jsonValue(),
        (names, value) => {
          const path = names.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
          let node = patched({ kept: 1 }, [
            { op: 'upsert', path: names[0] === 'kept' ? '/kept' : path, value },
          ]) as never;
          const found = names[0] === 'kept' ? ['kept'] : names;
          for (const name of found) node = node[name];
          expect(JSON.stringify(node)).toBe(JSON.stringify(value));
        },
      ),
    );
  });
});
