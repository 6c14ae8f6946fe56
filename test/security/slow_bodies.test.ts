import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { Http2Front } from '../support/http2_front.ts';
import { type LastingUpstream, startLastingHttp1, startLastingHttp2 } from '../support/lasting_upstream.ts';
import { OpenCall, PROTOCOLS, refusalOf } from '../support/open_call.ts';

/** Bodies that come byte by byte: whoever sends them holds nothing for longer than limits.request_timeout_ms, whatever its protocol. */

const REQUEST_MS = 900;
const BYTE_MS = 60;

describe.each([
  ['HTTP/1.1', startLastingHttp1, 'none'],
  ['HTTP/2', startLastingHttp2, 'none'],
  ['HTTP/1.1, and a policy that sees the body', startLastingHttp1, 'json'],
])('an upstream that speaks %s', (_name, startUpstream, body) => {
  let upstream: LastingUpstream;
  let front: Http2Front;
  let count = 0;
  const open: OpenCall[] = [];
  beforeAll(async () => {
    upstream = await startUpstream();
    front = await Http2Front.start({
      upstream: upstream.origin,
      artifact: await compilePolicy('package sallyport\n\ndecision := {"allow": true}\n'),
      route: { upstream: { url: upstream.origin, protocol: upstream.protocol }, body },
      config: { limits: { request_timeout_ms: REQUEST_MS, headers_timeout_ms: REQUEST_MS } },
    });
  });
  afterAll(async () => {
    await front.close();
    await upstream.close();
  });
  afterEach(() => {
    for (const call of open.splice(0)) call.hangUp();
  });

  describe.each(PROTOCOLS)('a caller that speaks %s', (protocol) => {
    it.each([
      ['with its length', [['content-length', '1000']] as const],
      ['without', []],
    ])('request.timeout: a body %s, byte by byte', async (_length, length) => {
      await front.skipRecords();
      const path = `/v1/slow/${++count}`;
      const fields = [['content-type', 'application/json'], ...length] as const;
      const call = await OpenCall.open(front, protocol, { path, body: '[', more: true, fields });
      open.push(call);
      for (let n = 0; n < 200 && !call.view().whole && !call.view().cut; n++) {
        await sleep(BYTE_MS);
        call.sendMore('1');
      }
      expect(call.view()).toMatchObject({ status: 408, whole: true });
      expect(refusalOf(call.view())).toBe('request.timeout');
      expect(await front.nextRecord()).toMatchObject({
        reason: 'request.timeout',
        status: 408,
        outcome: 'refused',
        path,
      });
      if (body === 'json') expect(upstream.seen(path)).toEqual([]);
      else {
        await eventually('the upstream is left', () => upstream.seen(path)[0]?.left === true);
        expect(upstream.seen(path)).toMatchObject([{ complete: false }]);
      }
      expect(await front.recordsLeft()).toBe(0);
    });

    it('a body that comes in parts, and in time, passes whole', async () => {
      await front.skipRecords();
      const path = `/v1/fine/${++count}`;
      const call = await OpenCall.open(front, protocol, {
        path,
        body: '[',
        more: true,
        fields: [['content-type', 'application/json']],
      });
      open.push(call);
      for (const byte of '1,2]') {
        await sleep(20);
        call.sendMore(byte);
      }
      call.sendMore('', true);
      await eventually('the answer', () => call.view().whole || call.view().cut);
      expect(call.view()).toMatchObject({ status: 200, body: 'ok' });
      expect(upstream.seen(path)).toMatchObject([{ body: '[1,2]', complete: true }]);
      expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed', status: 200 });
    });
  });
});
