import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { Http2Front } from '../support/http2_front.ts';
import { type CallView, OpenCall, PROTOCOLS, type Protocol, refusalOf } from '../support/open_call.ts';
import { valuesOf } from '../support/read_requests.ts';

/** Fields of callers that change what a request means to the upstream: refused or taken away, on the wire, in every spelling. */

const PODS = '/api/v1/namespaces/web/pods';
const OTHER = '/api/v1/namespaces/other/pods';
const POLICY = `package sallyport

default decision := {"allow": false}

decision := {"allow": true, "obligations": obligations} if input.operation.service == "kubernetes"

obligations := [{"type": "set_header", "name": "impersonate-user", "value": "viewer"}] if {
	input.operation.params.namespace == "other"
} else := [{"type": "set_header", "name": "x-debugged", "value": shown}]

shown := concat(",", [name | some name, _ in input.request.headers])
`;

let front: Http2Front;
const open: OpenCall[] = [];
beforeAll(async () => {
  front = await Http2Front.start({
    artifact: await compilePolicy(POLICY),
    route: {
      path_prefix: '/api',
      operations: resolve(import.meta.dirname, '../../catalogs/kubernetes.yaml'),
      request_headers: { refuse: ['x-remote-extra-*'], strip: ['prefer', 'x-debug'] },
    },
  });
});
afterAll(() => front.close());
afterEach(() => {
  for (const call of open.splice(0)) call.hangUp();
});

async function call(
  protocol: Protocol,
  fields: readonly (readonly [string, string])[],
  path = PODS,
): Promise<CallView> {
  const one = await OpenCall.open(front, protocol, { path, fields });
  open.push(one);
  await eventually('the answer', () => one.view().whole || one.view().cut);
  return one.view();
}

const SPELLINGS = [
  'impersonate-user',
  'Impersonate-User',
  'IMPERSONATE-USER',
  'impersonate_user',
  'Impersonate_User',
  'iMpErSoNaTe-group',
  'impersonate-uid',
  'impersonate-extra-scopes',
  'impersonate-extra-a%2fb',
  'impersonate-',
  'impersonate__user',
  'x-remote-extra-a',
  'X_Remote_Extra_A',
];

describe.each(PROTOCOLS)('over %s', (protocol) => {
  // RFC 9113 §8.2.1: names are in lower case there; another spelling is malformed, and no request.
  const spellings = SPELLINGS.filter((name) => protocol === 'HTTP/1.1' || name === name.toLowerCase());

  it.each(spellings)('request.header_refused: %s, with the catalogue of Kubernetes', async (name) => {
    await front.skipRecords();
    const before = front.upstream.requests.length;
    for (const value of ['system:admin', '']) {
      const view = await call(protocol, [[name, value]]);
      expect(view).toMatchObject({ status: 403, whole: true });
      expect(refusalOf(view)).toBe('request.header_refused');
      expect(await front.nextRecord()).toMatchObject({
        reason: 'request.header_refused',
        outcome: 'refused',
        status: 403,
      });
    }
    expect(front.upstream.requests).toHaveLength(before);
  });

  it('request.header_refused: among others, and when Connection names it', async () => {
    await front.skipRecords();
    const before = front.upstream.requests.length;
    const hidden = protocol === 'HTTP/1.1' ? ([['connection', 'impersonate-user']] as const) : [];
    const view = await call(protocol, [['accept', '*/*'], ...hidden, ['impersonate-user', 'root'], ['x-a', '1']]);
    expect(refusalOf(view)).toBe('request.header_refused');
    expect(front.upstream.requests).toHaveLength(before);
  });

  it('what is taken away, neither the policy nor the upstream sees, and the rest stays', async () => {
    const fields = [
      ['x-debug', 'on'],
      ['prefer', 'respond-async'],
      ['accept', 'application/json'],
      ['x_debug', 'on'],
      ['x-kept', '1'],
    ] as const;
    expect(await call(protocol, fields)).toMatchObject({ status: 200, body: 'ok' });
    const request = front.upstream.requests.at(-1);
    for (const name of ['x-debug', 'x_debug', 'prefer']) expect(valuesOf(request, name)).toEqual([]);
    expect(valuesOf(request, 'x-kept')).toEqual(['1']);
    expect(valuesOf(request, 'x-debugged')).toEqual(['accept']);
  });

  it('the policy itself may say for whom the call is made', async () => {
    expect(await call(protocol, [], OTHER)).toMatchObject({ status: 200 });
    expect(valuesOf(front.upstream.requests.at(-1), 'impersonate-user')).toEqual(['viewer']);
    expect(refusalOf(await call(protocol, [['impersonate-user', 'root']], OTHER))).toBe('request.header_refused');
  });

  it('names that only look alike pass', async () => {
    expect(
      await call(protocol, [
        ['x-impersonate-user', 'a'],
        ['impersonator', 'b'],
      ]),
    ).toMatchObject({ status: 200 });
    expect(valuesOf(front.upstream.requests.at(-1), 'x-impersonate-user')).toEqual(['a']);
  });
});
