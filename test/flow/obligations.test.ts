import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { HOST, Http2Front } from '../support/http2_front.ts';
import { type LastingUpstream, startLastingHttp1, startLastingHttp2 } from '../support/lasting_upstream.ts';
import { type CallParts, OpenCall, PROTOCOLS, type Protocol, refusalOf } from '../support/open_call.ts';
import { connectRawTls } from '../support/raw_connection.ts';
import { answerOnce, startRecordingUpstream } from '../support/recording_upstream.ts';

/** Bounds that a policy gives, from Rego to the record: what the caller saw, what the upstream saw. */

const POLICY = `package sallyport

decision := {"allow": true, "obligations": obligations}

obligations contains {"type": "deadline_ms", "milliseconds": 1500} if "soon" in input.request.segments

obligations contains {"type": "deadline_ms", "milliseconds": 60000} if "soon" in input.request.segments

obligations contains {"type": "maximum_body_bytes", "bytes": 10} if "small" in input.request.segments

obligations contains {"type": "maximum_body_bytes", "bytes": 0} if "none" in input.request.segments
`;
const LIMIT = 10;

async function policy() {
  // A list, as the answer wants it, of what the rules give.
  return compilePolicy(
    POLICY.replace('"obligations": obligations}', '"obligations": [one | some one in obligations]}'),
  );
}

describe.each([
  ['HTTP/1.1', startLastingHttp1],
  ['HTTP/2', startLastingHttp2],
])('an upstream that speaks %s', (_upstream, startUpstream) => {
  let upstream: LastingUpstream;
  let front: Http2Front;
  let count = 0;
  const open: OpenCall[] = [];

  beforeAll(async () => {
    upstream = await startUpstream();
    front = await Http2Front.start({
      upstream: upstream.origin,
      artifact: await policy(),
      route: { upstream: { url: upstream.origin, protocol: upstream.protocol, timeout_ms: 30_000 }, streaming: true },
    });
  });
  afterAll(async () => {
    await front.close();
    await upstream.close();
  });
  afterEach(() => {
    for (const call of open.splice(0)) call.hangUp();
  });

  async function begin(protocol: Protocol, parts: CallParts): Promise<OpenCall> {
    const call = await OpenCall.open(front, protocol, parts);
    open.push(call);
    return call;
  }

  /** The one record of a path. */
  async function recordOf(path: string): Promise<Record<string, unknown>> {
    const find = async () =>
      ((await front.gateway.records(0)) as { custom: { sallyport: Record<string, unknown> } }[])
        .map(({ custom }) => custom.sallyport)
        .filter((record) => record['path'] === path);
    await eventually(`the record of ${path}`, async () => (await find()).length > 0);
    expect(await find()).toHaveLength(1);
    return (await find())[0] as Record<string, unknown>;
  }

  describe.each(PROTOCOLS)('a caller that speaks %s', (protocol) => {
    const bodies: [name: string, fields: (length: number) => readonly [string, string][]][] = [
      ['Content-Length', (length) => [['content-length', String(length)]]],
      ['chunks, or frames without a length', () => []],
    ];

    describe.each(bodies)('maximum_body_bytes with %s', (framing, fields) => {
      it.each([
        ['small', 'x'.repeat(LIMIT)],
        ['small', 'x'],
        ['small', ''],
        ['none', ''],
      ])('%s: a body within it passes whole', async (bound, body) => {
        const path = `/v1/${bound}/${++count}`;
        const call = await begin(protocol, { path, body, fields: fields(body.length) });
        await eventually('the answer', () => call.view().whole);
        expect(call.view()).toMatchObject({ status: 200, body: 'ok' });
        expect(upstream.seen(path)).toMatchObject([{ body, complete: true }]);
        expect(await recordOf(path)).toMatchObject({ outcome: 'allowed', status: 200 });
      });

      it.each([
        ['small', 'x'.repeat(LIMIT + 1)],
        ['small', 'x'.repeat(60_000)],
        ['none', 'x'],
      ])('%s: request.body_too_large for one byte more and for many', async (bound, body) => {
        const path = `/v1/${bound}/${++count}`;
        const call = await begin(protocol, { path, body, fields: fields(body.length) });
        await eventually('the answer', () => call.view().whole || call.view().cut);
        expect(call.view()).toMatchObject({ status: 413, whole: true });
        expect(refusalOf(call.view())).toBe('request.body_too_large');
        expect(await recordOf(path)).toMatchObject({
          reason: 'request.body_too_large',
          status: 413,
          outcome: 'refused',
        });
        expect(upstream.seen(path).filter(({ complete }) => complete)).toEqual([]);
        if (framing === 'Content-Length') expect(upstream.seen(path)).toEqual([]);
      });

      it('request.body_too_large: a body that grows past it while it is sent has no end upstream', async () => {
        const path = `/v1/small/${++count}`;
        const call = await begin(protocol, { path, body: 'x'.repeat(LIMIT), more: true, fields: fields(LIMIT + 5) });
        if (framing !== 'Content-Length') {
          await eventually('the beginning is there', () => upstream.seen(path)[0]?.body.length === LIMIT);
          call.sendMore('x');
        }
        await eventually('the answer', () => call.view().whole || call.view().cut);
        expect(refusalOf(call.view())).toBe('request.body_too_large');
        expect(await recordOf(path)).toMatchObject({ reason: 'request.body_too_large', status: 413 });
        if (framing === 'Content-Length') expect(upstream.seen(path)).toEqual([]);
        else {
          await eventually('the upstream is left', () => upstream.seen(path)[0]?.left === true);
          expect(upstream.seen(path)).toMatchObject([{ complete: false, body: 'x'.repeat(LIMIT) }]);
        }
      });
    });

    it('no bound: as large as limits.body_bytes allows', async () => {
      const path = `/v1/free/${++count}`;
      const body = 'x'.repeat(50_000);
      const call = await begin(protocol, { path, body });
      await eventually('the answer', () => call.view().whole);
      expect(call.view()).toMatchObject({ status: 200, body: 'ok' });
      expect(upstream.seen(path)).toMatchObject([{ body, complete: true }]);
    });

    it('deadline_ms, forward.upstream_timeout: an upstream that does not answer by then', async () => {
      const path = `/v1/silent/soon/${++count}`;
      const call = await begin(protocol, { path });
      await eventually('the answer', () => call.view().whole);
      expect(call.view().status).toBe(504);
      expect(refusalOf(call.view())).toBe('forward.upstream_timeout');
      expect(await recordOf(path)).toMatchObject({ reason: 'forward.upstream_timeout', note: 'deadline', status: 504 });
      await eventually('the upstream is left', () => upstream.seen(path)[0]?.left === true);
    });

    it('deadline_ms, forward.upstream_timeout: an answer that goes on past it is cut', async () => {
      const path = `/v1/events/soon/${++count}`;
      const call = await begin(protocol, { path });
      await eventually('it is cut', () => call.view().cut);
      expect(call.view()).toMatchObject({ status: 200, whole: false });
      expect(call.view().body).toContain('event\n');
      expect(await recordOf(path)).toMatchObject({
        reason: 'forward.upstream_timeout',
        note: 'deadline',
        status: 200,
        upstream: { complete: false },
      });
      await eventually('the upstream is left', () => upstream.seen(path)[0]?.left === true);
    });

    it.each(bodies)(
      'deadline_ms, forward.upstream_timeout: a body that is not there by then (%s)',
      async (_name, fields) => {
        const path = `/v1/soon/${++count}`;
        const call = await begin(protocol, { path, body: 'beginning', more: true, fields: fields(100) });
        await eventually('the answer', () => call.view().whole || call.view().cut);
        expect(call.view().status).toBe(504);
        expect(await recordOf(path)).toMatchObject({ reason: 'forward.upstream_timeout', note: 'deadline' });
        await eventually('the upstream is left', () => upstream.seen(path)[0]?.left === true);
        expect(upstream.seen(path)).toMatchObject([{ complete: false, body: 'beginning' }]);
      },
    );

    it('deadline_ms: an answer within it passes, and nothing is cut afterwards', async () => {
      const path = `/v1/soon/${++count}`;
      const call = await begin(protocol, { path });
      await eventually('the answer', () => call.view().whole);
      await new Promise((resolve) => setTimeout(resolve, 1800));
      expect(call.over).toBe(false);
      expect(await recordOf(path)).toMatchObject({ outcome: 'allowed', status: 200 });
    });
  });
});

describe('deadline_ms of a WebSocket', () => {
  const SWITCHED = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

  it.each([
    ['open', SWITCHED, 101],
    ['not yet answered', null, 504],
    ['refused by the upstream with an answer that lasts', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno', 403],
  ])('forward.upstream_timeout: %s', async (_name, answer, status) => {
    const upstream = await startRecordingUpstream(answer === null ? () => undefined : answerOnce(answer));
    const front = await Http2Front.start({
      upstream: upstream.origin,
      artifact: await policy(),
      route: { websocket: true },
    });
    try {
      const path = '/v1/soon/socket';
      const caller = await connectRawTls(front.port, { ca: front.ca, servername: HOST });
      const fields = (await front.credentials('GET', path)).map(([name, value]) => `${name}: ${value}\r\n`).join('');
      caller.send(
        `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${fields}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      );
      await caller.until(`HTTP/1.1 ${status} `);
      await caller.closed();
      await upstream.connections[0]?.closed();
      expect(upstream.requests).toHaveLength(1);
      expect(await front.nextRecord()).toMatchObject({ reason: 'forward.upstream_timeout', note: 'deadline', status });
    } finally {
      await front.close();
      await upstream.close();
    }
  });
});
