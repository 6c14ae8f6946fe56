import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';
import { writeApiToken } from '../support/api_token.ts';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { Http2Front } from '../support/http2_front.ts';
import { TestJob } from '../support/issuer.ts';
import { type LastingUpstream, startLastingHttp1, startLastingHttp2 } from '../support/lasting_upstream.ts';
import { type CallParts, OpenCall, PROTOCOLS, type Protocol, refusalOf } from '../support/open_call.ts';

/**
 * What is under way ends with what allowed it: its token and a grace, its job, its policy. In each protocol on both sides: what the caller
 * saw, what the upstream saw, and the record.
 */

const GRACE_SECONDS = 30;
const ALLOW = 'package sallyport\n\ndecision := {"allow": true}\n';
const WITHDRAW = `package sallyport

default decision := {"allow": true}

decision := {"allow": false} if endswith(input.request.path, "withdrawn")
`;

let allow: PolicyArtifact;
let withdraw: PolicyArtifact;
beforeAll(async () => {
  [allow, withdraw] = [await compilePolicy(ALLOW), await compilePolicy(WITHDRAW)];
});

/** What a request is doing when it is ended. */
const PHASES: readonly [name: string, parts: (path: string) => CallParts, answered: boolean][] = [
  ['an answer that lasts', (end) => ({ path: `/v1/events/${end}` }), true],
  ['an answer that has not begun', (end) => ({ path: `/v1/silent/${end}` }), false],
  ['a body that lasts', (end) => ({ path: `/v1/upload/${end}`, body: 'beginning', more: true }), false],
  [
    'a body that lasts, with its length',
    (end) => ({ path: `/v1/sized/${end}`, body: 'beginning', more: true, fields: [['content-length', '100']] }),
    false,
  ],
  [
    'a body and an answer that last',
    (end) => ({ path: `/v1/events/both/${end}`, body: 'beginning', more: true }),
    true,
  ],
];

describe.each([
  ['HTTP/1.1', startLastingHttp1],
  ['HTTP/2', startLastingHttp2],
])('an upstream that speaks %s', (_upstream, startUpstream) => {
  let upstream: LastingUpstream;
  let front: Http2Front;
  let aheadMs = 0;
  let count = 0;
  const open: OpenCall[] = [];

  beforeAll(async () => {
    upstream = await startUpstream();
    front = await Http2Front.start({
      upstream: upstream.origin,
      artifact: allow,
      clock: () => Date.now() + aheadMs,
      route: {
        upstream: { url: upstream.origin, protocol: upstream.protocol, timeout_ms: 30_000 },
        expiry_grace_seconds: GRACE_SECONDS,
        streaming: true,
      },
      prepare: writeApiToken,
      config: { ended_jobs: { store: 'memory' }, admin: { port: 0, api_token_file: 'admin.token' } },
    });
  });
  afterAll(async () => {
    await front.close();
    await upstream.close();
  });
  afterEach(async () => {
    for (const call of open.splice(0)) call.hangUp();
    aheadMs = 0;
    await front.gateway.gateway.replacePolicy(allow);
    await eventually('nothing is under way', async () => (await underWay(front, 'request')) === 0);
  });

  /** The one record of a path. */
  async function recordOf(path: string): Promise<Record<string, unknown>> {
    const find = async () => {
      const records = (await front.gateway.records(0)) as { custom: { sallyport: Record<string, unknown> } }[];
      return records.map(({ custom }) => custom.sallyport).filter((record) => record['path'] === path);
    };
    await eventually(`the record of ${path}`, async () => (await find()).length > 0);
    const found = await find();
    expect(found).toHaveLength(1);
    return found[0] as Record<string, unknown>;
  }

  async function begin(protocol: Protocol, parts: CallParts): Promise<OpenCall> {
    const call = await OpenCall.open(front, protocol, parts);
    open.push(call);
    await eventually('the upstream has it', () => upstream.seen(parts.path).length === 1);
    if (parts.path.startsWith('/v1/events')) await eventually('an event', () => call.view().body.includes('event'));
    if (parts.body !== undefined)
      await eventually(
        'the beginning is there',
        () => upstream.seen(parts.path)[0]?.body.startsWith(parts.body ?? '') === true,
      );
    return call;
  }

  /** The caller got no whole answer of the upstream, the upstream is left, and the one record says why. */
  async function isEnded(call: OpenCall, { path }: CallParts, reason: string, answered: boolean): Promise<void> {
    await eventually('the call is over', () => call.view().whole || call.view().cut);
    const status = answered ? 200 : reason === 'token.job_ended' ? 401 : 403;
    if (answered) {
      expect(call.view()).toMatchObject({ status: 200, whole: false, cut: true });
      expect(call.view().body).toContain('event\n');
    } else {
      expect(call.view()).toMatchObject({ status, whole: true });
      expect(refusalOf(call.view())).toBe(reason);
    }
    const record = await recordOf(path);
    expect(record).toMatchObject({ reason, status, path, upstream: { complete: false } });
    await eventually('the upstream is left', () => upstream.seen(path)[0]?.left === true);
    const seen = upstream.seen(path);
    expect(seen).toHaveLength(1);
    if (path.includes('upload') || path.includes('sized'))
      expect(seen[0]).toMatchObject({ complete: false, body: 'beginning' });
  }

  describe.each(PROTOCOLS)('a caller that speaks %s', (protocol) => {
    const nth = (name: string) => `${++count}/${name}`;

    it.each(PHASES)(
      'forward.exchange_expired: %s ends when its token has expired and the grace is over',
      async (name, make, answered) => {
        const parts = make(nth(`expired${PHASES.findIndex(([other]) => other === name)}`));
        const token = await front.gateway.token({ exp: Math.floor(Date.now() / 1000) + 60 });
        const other = await begin(protocol, {
          path: `${parts.path}/other`,
          token: await front.gateway.token({ exp: Math.floor(Date.now() / 1000) + 900 }),
        });
        const call = await begin(protocol, { ...parts, token });
        aheadMs = 62_000;
        await new Promise((resolve) => setTimeout(resolve, 1200));
        // Within the grace it goes on.
        expect(call.view()).toMatchObject({ whole: false, cut: false });
        aheadMs = 62_000 + GRACE_SECONDS * 1000;
        await isEnded(call, parts, 'forward.exchange_expired', answered);
        expect(other.view().cut).toBe(false);
        expect(other.over).toBe(false);
      },
    );

    it.each(PHASES)(
      'forward.exchange_withdrawn: %s ends when another policy would not allow it, and no other',
      async (name, make, answered) => {
        const index = PHASES.findIndex(([other]) => other === name);
        const parts = make(nth(`${index}/withdrawn`));
        const call = await begin(protocol, parts);
        const kept = await begin(protocol, { path: `/v1/events/${nth(`${index}/kept`)}` });
        aheadMs = 3000;
        expect(await front.gateway.gateway.replacePolicy(withdraw)).toBe(true);
        await isEnded(call, parts, 'forward.exchange_withdrawn', answered);
        expect(kept.view()).toMatchObject({ status: 200, cut: false });
        const before = kept.view().body.length;
        await eventually('the other goes on', () => kept.view().body.length > before);
      },
    );

    it.each(PHASES)('token.job_ended: %s ends with its job, and no other', async (name, make, answered) => {
      const index = PHASES.findIndex(([other]) => other === name);
      const parts = make(nth(`ended${index}`));
      const job = await TestJob.create();
      const kept = await begin(protocol, { path: `${parts.path}/other` });
      const call = await begin(protocol, { ...parts, job });
      const ended = { thumbprint: job.key.thumbprint, expiresAt: Date.now() + 300_000 };
      expect(await front.gateway.gateway.endKeys([ended])).toBe(true);
      await isEnded(call, parts, 'token.job_ended', answered);
      expect(kept.view().cut).toBe(false);
      expect(kept.over).toBe(false);
    });

    it('an ordinary request is answered whatever happens to its token and policy meanwhile', async () => {
      const path = `/v1/upload/${nth('short/withdrawn')}`;
      const call = await begin(protocol, { path, body: 'beginning', more: true });
      // However long this takes on a busy machine, the request is a short one.
      aheadMs = -30_000;
      await front.gateway.gateway.replacePolicy(withdraw);
      call.sendMore('end', true);
      await eventually('the answer', () => call.view().whole);
      expect(call.view()).toMatchObject({ status: 200, body: 'ok' });
      expect(await recordOf(path)).toMatchObject({ outcome: 'allowed', status: 200 });
    });

    it('a policy that takes the place of another and allows the same ends nothing', async () => {
      const call = await begin(protocol, { path: `/v1/events/${nth('same')}` });
      aheadMs = 3000;
      await front.gateway.gateway.replacePolicy(withdraw);
      await new Promise((resolve) => setTimeout(resolve, 1200));
      expect(call.view()).toMatchObject({ status: 200, cut: false });
      expect(await underWay(front, 'request')).toBe(1);
    });
  });

  it('with many that last: all that are withdrawn end, the others stay, and each has one record', async () => {
    const calls = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        begin('HTTP/2', { path: `/v1/events/many/${n}${n % 3 === 0 ? '/withdrawn' : ''}` }),
      ),
    );
    await front.gateway.gateway.replacePolicy(withdraw);
    await eventually('a third is cut', () => calls.filter((call) => call.view().cut).length === 20);
    for (const n of Array.from({ length: 20 }, (_, index) => index * 3)) {
      expect(await recordOf(`/v1/events/many/${n}/withdrawn`)).toMatchObject({ reason: 'forward.exchange_withdrawn' });
    }
    expect(await underWay(front, 'request')).toBe(40);
  });
});

async function underWay(front: Http2Front, kind: string): Promise<number> {
  const families = (await front.gateway.gateway.metricsSnapshot()) as unknown as {
    name: string;
    values: { labels: Record<string, string>; value: number }[];
  }[];
  const family = families.find(({ name }) => name === 'sallyport_under_way');
  return family?.values.find(({ labels }) => labels['kind'] === kind)?.value ?? Number.NaN;
}
