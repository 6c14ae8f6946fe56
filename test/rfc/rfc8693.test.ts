import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { Wire } from '../support/wire.ts';

/** RFC 8693 over the wire: what actors in an exchanged token change, which is nothing but what the policy is told. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

const call = (claims: Record<string, unknown>) => wire.call({ token: wire.token({ claims }) });
const NESTED = { sub: 'agent-1', act: { sub: 'somebody-else', act: { sub: 'admin' } } };

describe('RFC 8693 §4.1: actors', () => {
  it('RFC 8693 §4.1: subject and client stay those of the token, in the record, upstream and for the policy', async () => {
    const outcome = await call({ act: NESTED });
    expectAllowed(outcome);
    expect(outcome.summary).toMatchObject({ client: 'wf-4711', subject: 'wf-4711' });
    const sent = Object.fromEntries(
      outcome.upstream[0]?.headers.map(([name, value]) => [name.toLowerCase(), value]) ?? [],
    );
    expect([sent['sallyport-subject'], sent['sallyport-client']]).toEqual(['wf-4711', 'wf-4711']);
    const { token } = outcome.record['input'] as { token: Record<string, unknown> };
    expect(token).toMatchObject({ subject: 'wf-4711', claims: { act: NESTED } });
  });

  it('RFC 8693 §4.1: rights that stand within an actor grant nothing', async () => {
    const act = { sub: 'admin', scope: 'projects:read', authorization_details: [{ type: 'cloud_api' }] };
    expectRefused(await call({ act, scope: 'builds:read' }), 'policy.insufficient_scope');
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['a text', 'admin'],
    ['an array', [NESTED]],
    ['without sub', {}],
    ['with a cnf of its own', { sub: 'x', cnf: { jkt: 'x' } }],
  ])('RFC 8693 §4.1: an actor that is %s changes nothing', async (_, act) => expectAllowed(await call({ act })));

  it('RFC 8693 §4.1: the key that counts is that of the token, not one of an actor', async () => {
    const act = { sub: 'x', cnf: { jkt: wire.jobKey.thumbprint } };
    expectRefused(await call({ act, cnf: { jkt: wire.issuerKey.thumbprint } }), 'proof.key_mismatch');
  });
});
