import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCatalogue } from '../../src/config/catalogue.ts';
import { createOperationIndex } from '../../src/request/operation_index.ts';
import { readTarget } from '../../src/request/target.ts';

const entry = (name: string, rest: Record<string, unknown> = {}) => ({
  name,
  request: 'PUT /{bucket}',
  resource: 'buckets/{bucket}',
  access: 'write',
  ...rest,
});
const indexOf = (...operations: unknown[]) => createOperationIndex(parseCatalogue({ service: 's3', operations }));
const find = (index: ReturnType<typeof indexOf>, target: string, rawHeaders: readonly string[] = []) => {
  const read = readTarget(target);
  if (!read.ok) throw new Error(read.denial.reason);
  const { segments, queryParameters } = read.value.target;
  return index.find('PUT', segments, { queryParameters, rawHeaders })?.name ?? null;
};

describe('operations that the query tells apart', () => {
  const index = indexOf(
    entry('create', { parameters: [] }),
    entry('put_policy', { query: { policy: true }, parameters: [] }),
    entry('put_tagging', { query: { tagging: '' }, parameters: ['trace'] }),
    entry('list_two', { query: { 'list-type': '2', policy: false, tagging: false } }),
  );

  it.each([
    ['/b', 'create'],
    ['/b?', 'create'],
    ['/b?policy', 'put_policy'],
    ['/b?policy=', 'put_policy'],
    ['/b?policy=x', 'put_policy'],
    ['/b?p%6flicy', 'put_policy'],
    ['/b?tagging', 'put_tagging'],
    ['/b?tagging=&trace=1', 'put_tagging'],
    ['/b?list-type=2', 'list_two'],
    ['/b?list-type=2&prefix=a', 'list_two'],
  ])('%s is %s', (target, name) => {
    expect(find(index, target)).toBe(name);
  });

  it.each([
    '/b?acl',
    '/b?policy&acl',
    '/b?policy&policy',
    '/b?policy=a&policy=b',
    '/b?Policy',
    '/b?tagging=x',
    '/b?tagging&other=1',
    '/b?list-type=1',
    '/b?list-type=2&list-type=2',
    '/b?list-type=2&policy',
    '/b?x-amz-signature=1',
    '/b?__proto__',
    '/b?constructor=1',
  ])('%s is none of them', (target) => {
    expect(find(index, target)).toBeNull();
  });
});

describe('operations that a header field tells apart', () => {
  const index = indexOf(
    entry('get', { headers: { 'x-amz-target': 'Dynamo.GetItem' } }),
    entry('put', { headers: { 'x-amz-target': 'Dynamo.PutItem' } }),
    entry('plain', { headers: { 'x-amz-target': false, 'x-amz-copy-source': false } }),
    entry('copy', { headers: { 'x-amz-copy-source': true } }),
  );

  it.each([
    [['x-amz-target', 'Dynamo.GetItem'], 'get'],
    [['X-Amz-Target', 'Dynamo.PutItem'], 'put'],
    [['x_amz_target', 'Dynamo.PutItem'], 'put'],
    [[], 'plain'],
    [['X-Amz-Copy-Source', '/other/key'], 'copy'],
    [['x-amz-target', 'dynamo.getitem'], null],
    [['x-amz-target', ''], null],
    [['x-amz-target', 'Dynamo.GetItem', 'X-Amz-Target', 'Dynamo.GetItem'], null],
    [['x-amz-target', 'Dynamo.GetItem', 'x_amz_target', 'Dynamo.PutItem'], null],
    [['x-amz-target', 'Dynamo.GetItem', 'x-amz-copy-source', 'a'], null],
    [['x-amz-copy-source', 'a', 'x-amz-copy-source', 'a'], null],
    [['Connection', 'x-amz-target', 'x-amz-target', 'Dynamo.GetItem'], null],
    [['Connection', 'close, X-Amz-Copy-Source', 'x-amz-copy-source', 'a'], null],
    [['x-amz-target-more', 'Dynamo.GetItem'], 'plain'],
  ])('%j is %s', (headers, name) => {
    expect(find(index, '/b', headers)).toBe(name);
  });
});

describe('conditions of a catalogue', () => {
  it('two entries of the same method, path and conditions are one too many, in whatever order they stand', () => {
    const twice = [
      entry('a', { query: { x: '1', y: true }, parameters: ['p', 'q'] }),
      entry('b', { query: { y: true, x: '1' }, parameters: ['q', 'p'] }),
    ];
    expect(() => indexOf(...twice)).toThrow(/same method, path and conditions/);
  });

  it.each([
    [{ headers: { 'X-Amz-Target': 'a' } }, /lower case/],
    [{ headers: { x_amz_target: 'a' } }, /lower case/],
    [{ headers: { authorization: 'a' } }, /credential/],
    [{ headers: { dpop: true } }, /credential/],
    [{ query: { a: 1 } }, /query/],
    [{ query: { '': true } }, /query/],
    [{ parameters: 'a' }, /parameters/],
    [{ queries: {} }, /queries/],
  ])('refuses %j', (rest, message) => {
    expect(() => indexOf(entry('a', rest))).toThrow(message);
  });

  it('property: of entries for each text of one parameter, exactly the one that is sent is found', () => {
    const names = ['a', 'b', 'c', ''];
    const index = indexOf(...names.map((text) => entry(`is_${text}`, { query: { action: text } })));
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...names, 'd', 'A'), { maxLength: 3 }), (sent) => {
        const query = sent.map((text) => `action=${text}`).join('&');
        const expected = sent.length === 1 && names.includes(sent[0] as string) ? `is_${sent[0]}` : null;
        expect(find(index, `/b?${query}`)).toBe(expected);
      }),
    );
  });
});
