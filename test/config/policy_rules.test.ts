import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { policyConfig } from '../support/bundle_gateway.ts';

const services = [{ name: 'control', url: 'https://control.example.com' }];
const keys = [{ id: 'k1', algorithm: 'ES256', public_key_file: 'k1.pem' }];
const main = { name: 'main', service: 'control' };

const read = (policy: object) => policyConfig(policy, { services }, '/srv');

describe("what of the policy's settings does not fit together is refused, with the key", () => {
  const cases: [string, object, RegExp][] = [
    ['nothing to begin with', {}, /exactly one of path, bundles and discovery/],
    ['two things to begin with', { path: 'p', bundles: [main] }, /exactly one of path, bundles and discovery/],
    ['bundles and discovery', { bundles: [main], discovery: { service: 'control' } }, /exactly one/],
    ['a service that is not there', { bundles: [{ name: 'a', service: 'x' }] }, /there is no service x/],
    ['a service of discovery that is not there', { discovery: { service: 'x' } }, /there is no service x/],
    ['a service of reports that is not there', { path: 'p', status: { service: 'x' } }, /there is no service x/],
    ['one name twice', { bundles: [main, { ...main, name: 'MAIN' }] }, /this name is used twice/],
    ['file and service', { bundles: [{ ...main, file: 'f' }] }, /either file or service/],
    ['neither file nor service', { bundles: [{ name: 'a' }] }, /either file or service/],
    ['a resource of a file', { bundles: [{ name: 'a', file: 'f', resource: 'r' }] }, /is for bundles of a service/],
    [
      'a minimum above the maximum',
      { bundles: [{ ...main, polling: { min_seconds: 9, max_seconds: 8 } }] },
      /is more than max_seconds/,
    ],
    ['signing without keys', { bundles: [{ ...main, signing: {} }] }, /needs policy.keys/],
    ['signing with another key', { bundles: [{ ...main, signing: { key: 'k2' } }], keys }, /there is no key k2/],
    ['signing of discovery without keys', { discovery: { service: 'control', signing: {} } }, /needs policy.keys/],
    ['signing beside bundles', { bundles: [main], signing: {}, keys }, /is for the bundle that path names/],
    ['one key twice', { bundles: [main], keys: [...keys, ...keys] }, /this id is used twice/],
    [
      'a secret for ES256',
      { path: 'p', keys: [{ id: 'k', algorithm: 'ES256', secret_file: 's' }] },
      /ES256 needs this/,
    ],
    ['a public key for HS256', { path: 'p', keys: [{ id: 'k', algorithm: 'HS256', public_key_file: 's' }] }, /HS256/],
    ['pushes on bundles', { bundles: [main], push: true }, /needs path/],
    ['a label of another form', { discovery: { service: 'control', labels: { 'a b': 'x' } } }, /expected a name/],
    ['a candidate of nothing', { path: 'p', shadow: {} }, /candidate comes from: exactly one of path and bundles/],
    [
      'a candidate of two things',
      { path: 'p', shadow: { path: 'q', bundles: [main] } },
      /exactly one of path and bundles/,
    ],
    ['a candidate by discovery', { path: 'p', shadow: { discovery: { service: 'control' } } }, /discovery/],
    [
      'a candidate of a service that is not there',
      { path: 'p', shadow: { bundles: [{ name: 'a', service: 'x' }] } },
      /x/,
    ],
    ['a candidate signed without keys', { path: 'p', shadow: { path: 'q', signing: {} } }, /needs policy.keys/],
    [
      'a candidate signed with another key',
      { path: 'p', keys, shadow: { bundles: [{ ...main, signing: { key: 'k2' } }] } },
      /there is no key k2/,
    ],
    [
      'a candidate whose signing is for a path',
      { path: 'p', keys, shadow: { bundles: [main], signing: {} } },
      /path names/,
    ],
  ];

  it.each(cases)('%s', (_name, policy, says) => {
    expect(() => read(policy)).toThrow(says);
  });

  it('a candidate may be a folder, a bundle or bundles, with names of its own; its paths are those of the file', () => {
    const shadow = { bundles: [{ name: 'main', file: 'next.tar.gz', signing: { key: 'k1' } }], data: ['d.json'] };
    const { policy } = read({ bundles: [main], keys, shadow });
    expect(policy.shadow).toMatchObject({
      bundles: [{ file: join('/srv', 'next.tar.gz') }],
      data: [join('/srv', 'd.json')],
      sample: 1,
    });
    expect(read({ path: 'p', shadow: { path: 'next' } }).policy.shadow?.path).toBe(join('/srv', 'next'));
  });
});
