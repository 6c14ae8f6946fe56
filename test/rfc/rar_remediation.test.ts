import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { remediationOf } from '../../src/request/remediation.ts';
import { readChallenges } from '../support/challenges.ts';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { DETAIL, type Outcome, Wire } from '../support/wire.ts';

/** draft-ietf-oauth-rar-metadata-remediation §4: what the gateway says when authorization_details do not cover a call. */

const UNCOVERED = 'policy.insufficient_authorization_details';
const SCOPES = 'projects:read projects:admin builds:read builds:write deployments:read secrets:read secrets:write';

let usual: Wire;
let draft: Wire;
beforeAll(async () => {
  const challenges = { authorization_details: { error: 'insufficient_authorization', status: 401 } };
  // Where a certificate can arrive, Bearer is offered too.
  const front_proxies = [{ addresses: ['127.0.0.1'], client_certificate: 'client_cert' }];
  const listen = { port: 0, front_proxies };
  [usual, draft] = await Promise.all([Wire.start(), Wire.start({ config: { challenges, listen } })]);
});
afterAll(async () => {
  await usual.close();
  await draft.close();
});

interface Remediation {
  readonly authorization_details: Record<string, unknown>[];
  readonly authorization_reference: string;
}

function remediationIn({ answer }: Outcome): Remediation {
  const [challenge] = readChallenges(answer.headers['www-authenticate'] ?? []);
  const text = challenge?.parameters['authorization_remediation'] ?? '';
  expect(text).toMatch(/^[\w-]+$/);
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as Remediation;
}

const ask = (wire: Wire, details: unknown, { method = 'GET', path = '/v1/projects/p2' } = {}) =>
  wire.call({ method, path, token: wire.token({ claims: { authorization_details: details, scope: SCOPES } }) });

describe('RAR remediation §4: the challenge', () => {
  it('RAR remediation §4: carries actionable authorization_details', async () => {
    const outcome = await ask(usual, [DETAIL]);
    expectRefused(outcome, UNCOVERED);
    const { authorization_details: details } = remediationIn(outcome);
    expect(details).toEqual([{ type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p2' }]);
    expect(outcome.problem?.['required']).toMatchObject({ authorization_details: details });
    expectAllowed(await ask(usual, details));
  });

  it('RAR remediation §4: name and status are configurable; a 401 offers every scheme', async () => {
    const { answer, problem, summary, upstream } = await ask(draft, [DETAIL]);
    expect([answer.status, problem?.['status'], summary['status'], upstream.length]).toEqual([401, 401, 401, 0]);
    expect(summary).toMatchObject({ reason: UNCOVERED, outcome: 'refused' });
    const challenges = readChallenges(answer.headers['www-authenticate'] ?? []);
    expect(challenges.map(({ scheme }) => scheme)).toEqual(['DPoP', 'Bearer']);
    expect(challenges[0]?.parameters['error']).toBe('insufficient_authorization');
    expect(challenges[0]?.parameters['authorization_remediation']).toMatch(/^[\w-]+$/);
  });

  it('RAR remediation §4: authorization_reference is the same for the same details, and another for others', async () => {
    const of = async (path: string) => remediationIn(await ask(usual, [DETAIL], { path })).authorization_reference;
    const [one, again, other] = [await of('/v1/projects/p2'), await of('/v1/projects/p2'), await of('/v1/projects/p3')];
    expect(again).toBe(one);
    expect(other).not.toBe(one);
  });

  it('RAR remediation §4: property: the reference does not depend on the order of members', () => {
    const detail = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 6 });
    fc.assert(
      fc.property(fc.array(detail, { minLength: 1, maxLength: 3 }), (details) => {
        const turned = details.map((item) => Object.fromEntries(Object.entries(item).reverse()));
        const [left, right] = [details, turned].map((list) => remediationOf({ authorization_details: list }));
        fc.pre(left !== null && right !== null);
        const referenceOf = (text: string | null | undefined) =>
          (JSON.parse(Buffer.from(text ?? '', 'base64url').toString()) as Remediation).authorization_reference;
        expect(referenceOf(left)).toBe(referenceOf(right));
      }),
    );
  });

  it('RAR remediation §4: details that no header field should carry stand in the answer alone', () => {
    const details = [{ type: 'cloud_api', identifier: 'x'.repeat(4000) }];
    expect(remediationOf({ authorization_details: details })).toBeNull();
    expect(remediationOf({ authorization_details: [] })).toBeNull();
    expect(remediationOf({ scopes: ['a'] })).toBeNull();
  });

  it('RAR remediation §4: who has shown no key is told nothing', async () => {
    const token = usual.token({ claims: { authorization_details: [DETAIL] } });
    const { answer } = await usual.send({ target: '/v1/projects/p2', lines: [`Authorization: DPoP ${token}`] });
    expect(answer.head).not.toContain('authorization_remediation');
  });
});

describe('RAR remediation §4: the smallest authorization_details that would do', () => {
  const calls: readonly [string, string][] = [
    ['GET', '/v1/projects/p2'],
    ['DELETE', '/v1/projects/p2'],
    ['GET', '/v1/projects/p2/builds'],
    ['POST', '/v1/projects/p2/builds'],
    ['GET', '/v1/projects/p2/builds/b1'],
    ['DELETE', '/v1/projects/p2/builds/b1'],
  ];

  it.each(calls)(
    'RAR remediation §4: %s %s passes with exactly what was asked for, and with nothing less',
    async (method, path) => {
      const call = { method, path };
      const refused = await ask(usual, [], call);
      expectRefused(refused, UNCOVERED);
      const { authorization_details: details } = remediationIn(refused);
      expect(details).toHaveLength(1);
      expectAllowed(await ask(usual, details, call));
      const [item = {}] = details;
      for (const member of Object.keys(item)) {
        const without = [{ ...item, [member]: undefined }];
        expect((await ask(usual, without, call)).answer.status, `without ${member}`).toBeGreaterThanOrEqual(400);
      }
      for (const [otherMethod, otherPath] of calls) {
        if (otherMethod === method && otherPath === path) continue;
        const outcome = await ask(usual, details, { method: otherMethod, path: otherPath });
        expect(outcome.problem?.['reason'], `${otherMethod} ${otherPath}`).toBe(UNCOVERED);
      }
    },
  );

  const name = fc.stringMatching(/^[a-z0-9][a-z0-9._~-]{0,11}$/);
  const path = fc
    .tuple(fc.constantFrom('', '/builds', '/builds/{}', '/deployments', '/secrets', '/secrets/{}'), name, name)
    .map(([rest, project, item]) => `/v1/projects/${project}${rest.replace('{}', item)}`);
  const other = fc.record(
    {
      type: fc.constantFrom('cloud_api', 'payment'),
      actions: fc.subarray(['projects.get', 'projects.delete', 'builds.list', 'builds.get', 'builds.create']),
      identifier: fc.constantFrom('projects/elsewhere', 'projects/elsewhere/builds'),
    },
    { requiredKeys: ['type'] },
  );

  it('RAR remediation §4: property: granted beside what the token has, the same request passes; with a member or an element less it does not', async () => {
    const method = fc.constantFrom('GET', 'POST', 'DELETE', 'PUT', 'PATCH');
    let offered = 0;
    await fc.assert(
      fc.asyncProperty(method, path, fc.array(other, { maxLength: 3 }), async (asked, where, held) => {
        const call = { method: asked, path: where };
        const refused = await ask(usual, held, call);
        // Not every method and path is an operation of the catalogue.
        if (refused.problem?.['reason'] !== UNCOVERED) return;
        offered++;
        const { authorization_details: details } = remediationIn(refused);
        expect(refused.problem?.['required']).toMatchObject({ authorization_details: details });
        expectAllowed(await ask(usual, details, call));
        expectAllowed(await ask(usual, [...held, ...details], call));
        for (const less of lessThan(details))
          expect((await ask(usual, [...held, ...less], call)).answer.status).toBeGreaterThanOrEqual(400);
      }),
      { numRuns: 40, seed: 20261128 },
    );
    expect(offered).toBeGreaterThan(5);
  });
});

/** The same details with one item, one member or one element of a list less. */
function lessThan(details: Record<string, unknown>[]): Record<string, unknown>[][] {
  return details.flatMap((item, at) => [
    details.toSpliced(at, 1),
    ...Object.entries(item).flatMap(([member, value]) => {
      const { [member]: _, ...rest } = item;
      const shorter = Array.isArray(value)
        ? value.map((_, index) => ({ ...item, [member]: value.toSpliced(index, 1) }))
        : [];
      return [rest, ...shorter].map((changed) => details.with(at, changed));
    }),
  ]);
}
