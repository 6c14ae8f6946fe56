import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import type { BodyHandle, RequestContext } from '../../src/kernel/context.ts';
import { deny } from '../../src/kernel/denial.ts';
import type { Checked } from '../../src/kernel/result.ts';
import { type BodyReaderOptions, createBodyReader } from '../../src/request/body.ts';
import { createRequestReader } from '../../src/request/read_request.ts';
import { createRouteTable } from '../../src/request/route_table.ts';
import { makeEvidence, makeRoute, outcomeOf, PLAIN_PEER, valueOfPassed } from './fixtures.ts';
import { exchange, type HttpFixture, serve } from './http_fixture.ts';

interface Seen {
  outcome: string;
  body: BodyHandle;
  /** What came after `head`, read the way the forwarder does. */
  rest: string;
  synchronous: boolean;
  continued: number;
}

const fixtures: HttpFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.close();
});

interface Setting {
  body?: 'none' | 'json';
  limit?: number;
  options?: Partial<BodyReaderOptions>;
}

/** A server that reads bodies as the gateway does and remembers what it saw. */
async function receiver({ body = 'json', limit = 1000, options = {} }: Setting = {}) {
  const route = makeRoute({ body, bodyLimitBytes: limit });
  const routes = createRouteTable([{ route, operations: null }]);
  const requests = createRequestReader({
    routes,
    limits: { headers: 100, header_bytes: 16_384, body_bytes: 1_000_000 },
  });
  const bodies = createBodyReader({ timeoutMs: 5000, maximumBytes: 1_000_000, ...options });
  const seen: Seen[] = [];
  let tell = () => {};
  const fixture = await serve(async (message, response) => {
    const context = valueOfPassed(requests.read(message, makeEvidence(), PLAIN_PEER));
    let continued = 0;
    const pending = bodies.readBody(context, message, () => {
      continued++;
      response.writeContinue();
    });
    const read = await pending;
    const rest = read.ok && !read.value.body.complete ? await readRest(message) : '';
    seen.push({
      outcome: outcomeOf(read),
      body: read.ok ? read.value.body : { state: 'absent', head: [], complete: false },
      rest,
      synchronous: !(pending instanceof Promise),
      continued,
    });
    response.writeHead(204, { connection: 'close' }).end();
    tell();
  });
  fixtures.push(fixture);
  return { port: fixture.port, seen, next: () => new Promise<void>((resolve) => (tell = resolve)) };
}

async function readRest(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    message.on('data', (chunk: Buffer) => chunks.push(chunk));
    message.on('end', resolve).on('error', reject);
    message.resume();
  });
  return Buffer.concat(chunks).toString('latin1');
}

const HEAD = 'POST /v1/projects HTTP/1.1\r\nHost: cloud.example.com\r\nAuthorization: DPoP t\r\n';
const withLength = (type: string, text: string, more = '') =>
  `${HEAD}Content-Type: ${type}\r\n${more}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n`;
const textOf = (body: BodyHandle) => Buffer.concat(body.head).toString('utf8');

/** Sends one body and gives what was seen. */
async function send(type: string, text: string, setting: Setting & { more?: string } = {}): Promise<Seen> {
  const { port, seen } = await receiver(setting);
  await exchange(port, [withLength(type, text, setting.more), Buffer.from(text)]);
  return seen[0] as Seen;
}

describe('a body that the policy sees', () => {
  it.each([
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
    'application/merge-patch+json',
    'application/vnd.api+json; profile="x"',
    'application/x-amz-json-1.0',
    'application/x-amz-json-1.1',
  ])('%s is parsed, and its bytes are kept', async (type) => {
    const text = '{"count": 2, "é": [null, true]}';
    const { body, outcome } = await send(type, text);
    expect(outcome).toBe('passed');
    expect(body).toMatchObject({ state: 'parsed', value: { count: 2, é: [null, true] }, complete: true });
    expect(textOf(body)).toBe(text);
  });

  it('in pieces, chunked', async () => {
    const { port, seen } = await receiver();
    const head = `${HEAD}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await exchange(port, [
      head,
      '5\r\n{"a":\r\n',
      '8;x=y\r\n"b\\u0063\r\n',
      '2\r\n"}\r\n',
      '0\r\nTrailer-Field: x\r\n\r\n',
    ]);
    expect(seen[0]?.body).toMatchObject({ state: 'parsed', value: { a: 'bc' }, complete: true });
  });

  it('an empty chunked body is absent', async () => {
    const { port, seen } = await receiver();
    await exchange(port, [`${HEAD}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`, '0\r\n\r\n']);
    expect(seen[0]?.body).toMatchObject({ state: 'absent', complete: true });
  });

  it('without a body nothing is read or waited for', async () => {
    const { port, seen } = await receiver();
    await exchange(port, [`${HEAD}Content-Length: 0\r\n\r\n`]);
    expect(seen[0]).toMatchObject({ synchronous: true, body: { state: 'absent', complete: true } });
  });

  it.each<[string, string]>([
    ['not JSON', '{'],
    ['member twice', '{"a":1,"a":2}'],
    ['member twice, escaped', '{"a":1,"\\u0061":2}'],
    ['member twice, deep', '[{"x":{"b":1,"b":1}}]'],
    ['byte order mark', '\ufeff{}'],
    ['number too large for a double', '{"count":1e400}'],
    ['lone surrogate', '{"a":"\\ud800"}'],
    ['two documents', '{}{}'],
    ['comment', '{/* */}'],
    ['nested 65 deep', `${'['.repeat(65)}${']'.repeat(65)}`],
    ['nested 400 deep', `${'['.repeat(400)}${']'.repeat(400)}`],
  ])('not_json: %s, passed on all the same', async (_, text) => {
    const { body, outcome } = await send('application/json', text);
    expect(outcome).toBe('passed');
    expect(body).toMatchObject({ state: 'not_json', complete: true });
    expect(body).not.toHaveProperty('value');
    expect(textOf(body)).toBe(text);
  });

  it('not_json: not UTF-8', async () => {
    const { port, seen } = await receiver();
    await exchange(port, [
      `${HEAD}Content-Type: application/json\r\nContent-Length: 6\r\n\r\n`,
      Buffer.from('["\xff\xfe"]', 'latin1'),
    ]);
    expect(seen[0]?.body.state).toBe('not_json');
  });

  it('64 levels are still JSON, and __proto__ is an ordinary member', async () => {
    const deep = await send('application/json', `${'['.repeat(64)}${']'.repeat(64)}`);
    expect(deep.body.state).toBe('parsed');
    const { body } = await send('application/json', '{"__proto__":{"admin":true}}');
    expect(Object.keys(body.value as object)).toEqual(['__proto__']);
    expect((body.value as Record<string, unknown>)['admin']).toBeUndefined();
  });

  it.each([
    ['text/plain', ''],
    ['application/jsonp', ''],
    ['application/json-seq', ''],
    ['text/json', ''],
    ['json', ''],
    ['+json', ''],
    ['application/x-amz-json-1.10', ''],
    ['application/x-amz-json-1', ''],
    ['text/x-amz-json-1.0', ''],
    ['application/json; charset=utf-16', ''],
    ['application/json; charset=iso-8859-1', ''],
    ['multipart/form-data; boundary=x', ''],
    ['application/json', 'Content-Encoding: gzip\r\n'],
    ['application/json', 'Content-Encoding: identity\r\nContent-Encoding: br\r\n'],
  ])('not_json: %s %s is not read', async (type, more) => {
    const { body, rest, synchronous } = await send(type, '{"a":1}', { more });
    expect(body).toEqual({ state: 'not_json', head: [], complete: false });
    expect(synchronous).toBe(true);
    expect(rest).toBe('{"a":1}');
  });

  it('Content-Encoding: identity changes nothing', async () => {
    expect((await send('application/json', '{}', { more: 'Content-Encoding: identity\r\n' })).body.state).toBe(
      'parsed',
    );
  });

  it('no Content-Type is not_json', async () => {
    const { port, seen } = await receiver();
    await exchange(port, [`${HEAD}Content-Length: 2\r\n\r\n`, '{}']);
    expect(seen[0]).toMatchObject({ rest: '{}', body: { state: 'not_json' } });
  });

  it('exactly the limit is parsed; announced above it nothing is read', async () => {
    const text = JSON.stringify('x'.repeat(98));
    expect((await send('application/json', text, { limit: 100 })).body.state).toBe('parsed');
    const { body, rest, synchronous } = await send('application/json', text, { limit: 99 });
    expect(body).toEqual({ state: 'too_large', head: [], complete: false });
    expect(synchronous).toBe(true);
    expect(rest).toBe(text);
  });

  it('too_large when it turns out so: what was read goes first, the rest still comes, nothing is lost', async () => {
    const { port, seen } = await receiver({ limit: 1000 });
    const pieces = Array.from({ length: 300 }, (_, index) => `${index}`.padStart(1000, '.'));
    const head = `${HEAD}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await exchange(port, [head, ...pieces.map((piece) => `3e8\r\n${piece}\r\n`), '0\r\n\r\n']);
    const { body, rest } = seen[0] as Seen;
    expect(body).toMatchObject({ state: 'too_large', complete: false });
    expect(textOf(body).length).toBeGreaterThan(1000);
    expect(textOf(body).length).toBeLessThan(200_000);
    expect(textOf(body) + rest).toBe(pieces.join(''));
  });

  it('request.body_too_large: more than a body may have', async () => {
    const { port, seen } = await receiver({ limit: 1000, options: { maximumBytes: 50 } });
    const head = `${HEAD}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await exchange(port, [head, `3c\r\n${'x'.repeat(60)}\r\n0\r\n\r\n`]);
    expect(seen[0]?.outcome).toBe('request.body_too_large');
  });

  it('request.timeout: a body that does not come', async () => {
    const { port, seen } = await receiver({ options: { timeoutMs: 40 } });
    await exchange(port, [withLength('application/json', '{"a":1}'), '{"a"']);
    expect(seen[0]?.outcome).toBe('request.timeout');
  });

  it('request.body_unreadable: the caller hangs up in the middle', async () => {
    const { port, seen, next } = await receiver();
    const told = next();
    await exchange(port, [withLength('application/json', '{"a":1}'), '{"a"'], true);
    await told;
    expect(seen[0]?.outcome).toBe('request.body_unreadable');
  });

  it('request.body_unreadable: the caller was gone before', async () => {
    const bodies = createBodyReader({ timeoutMs: 1000, maximumBytes: 1000 });
    let outcome: Promise<Checked<RequestContext>> | undefined;
    const fixture = await serve(async (message) => {
      const routes = createRouteTable([{ route: makeRoute({ body: 'json' }), operations: null }]);
      const reader = createRequestReader({ routes, limits: { headers: 100, header_bytes: 16_384, body_bytes: 1000 } });
      const context = valueOfPassed(reader.read(message, makeEvidence(), PLAIN_PEER));
      message.once('close', () => {
        outcome = Promise.resolve(bodies.readBody(context, message, () => {}));
        tell();
      });
    });
    fixtures.push(fixture);
    let tell = () => {};
    const told = new Promise<void>((resolve) => (tell = resolve));
    await exchange(fixture.port, [withLength('application/json', '{"a":1}'), '{"a"'], true);
    await told;
    expect(outcomeOf((await outcome) as Checked<RequestContext>)).toBe('request.body_unreadable');
  });
});

describe('RFC 9110 §10.1.1: Expect: 100-continue', () => {
  const EXPECT = 'Expect: 100-continue\r\n';

  it('is answered with 100 when bytes are needed, once', async () => {
    const { port, seen } = await receiver();
    const received = await exchange(port, [withLength('application/json', '{"a":1}', EXPECT), '{"a":1}']);
    expect(received.startsWith('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204')).toBe(true);
    expect(seen[0]).toMatchObject({ continued: 1, body: { state: 'parsed' } });
  });

  it('is left to the forwarder when none are needed', async () => {
    const { seen, port } = await receiver({ body: 'none' });
    await exchange(port, [withLength('application/json', '{"a":1}', EXPECT), '{"a":1}']);
    expect(seen[0]).toMatchObject({ continued: 0, rest: '{"a":1}' });
  });
});

describe('a body that the policy does not see', () => {
  it.each(['application/json', 'application/octet-stream', 'text/plain'])('%s is not touched', async (type) => {
    const { body, rest, synchronous } = await send(type, '{"a":1}', { body: 'none' });
    expect(body).toEqual({ state: 'not_requested', head: [], complete: false });
    expect({ rest, synchronous }).toEqual({ rest: '{"a":1}', synchronous: true });
  });
});

describe('RFC 6750 §2.2: a token in a form', () => {
  const FORM = 'application/x-www-form-urlencoded';

  it.each([
    'access_token=abc',
    'a=b&access_token=abc',
    'access_token',
    'access%5ftoken=abc',
    '%61ccess_token=abc',
    'a=b&&access_token=',
    '+access_token=abc',
    `a=${'x'.repeat(16_000)}&access_token=abc`,
  ])('request.credentials_in_body: %.40s', async (text) => {
    expect((await send(FORM, text, { body: 'none' })).outcome).toBe('request.credentials_in_body');
    expect((await send(`${FORM.toUpperCase()}; charset=utf-8`, text, { body: 'json' })).outcome).toBe(
      'request.credentials_in_body',
    );
  });

  it.each(['', 'a=access_token', 'access_tokens=x', 'a=b%26access_token%3Dc', 'xaccess_token=1'])(
    'takes the form %j, and sends it whole',
    async (text) => {
      const none = await send(FORM, text, { body: 'none' });
      expect(none.outcome).toBe('passed');
      expect(none.body.state).toBe(text === '' ? 'absent' : 'not_requested');
      expect(textOf(none.body) + none.rest).toBe(text);
      const json = await send(FORM, text, { body: 'json' });
      expect(json.body.state).toBe(text === '' ? 'absent' : 'not_json');
    },
  );

  it('keeps the start of a long form and streams the rest', async () => {
    const text = `a=${'x'.repeat(300_000)}&b=c`;
    const { body, rest, outcome } = await send(FORM, text, { body: 'none' });
    expect(outcome).toBe('passed');
    expect(body).toMatchObject({ state: 'not_requested', complete: false });
    expect(textOf(body).length).toBeLessThan(200_000);
    expect(textOf(body) + rest).toBe(text);
  });
});

describe('RFC 6750 §3.1: a refusal for missing credentials, where the form has them', () => {
  const WITHOUT = 'POST /v1/projects HTTP/1.1\r\nHost: cloud.example.com\r\n';

  async function explain(
    head: string,
    parts: string[],
    reason: Parameters<typeof deny>[0] = 'request.credentials_missing',
  ) {
    const bodies = createBodyReader({ timeoutMs: 60, maximumBytes: 100_000 });
    const seen: { outcome: string; synchronous: boolean }[] = [];
    const fixture = await serve(async (message, response) => {
      const awaitsContinue = message.headers.expect !== undefined;
      const pending = bodies.explainRefusal(deny(reason), message, awaitsContinue);
      seen.push({ outcome: outcomeOf(await pending), synchronous: !(pending instanceof Promise) });
      response.writeHead(400, { connection: 'close' }).end();
    });
    fixtures.push(fixture);
    const received = await exchange(fixture.port, [head, ...parts]);
    return { ...(seen[0] as { outcome: string; synchronous: boolean }), received };
  }

  const form = (text: string, more = '') =>
    `${WITHOUT}Content-Type: application/x-www-form-urlencoded\r\n${more}Content-Length: ${text.length}\r\n\r\n`;

  it('request.credentials_in_body', async () => {
    const text = 'a=b&access_token=abc';
    expect(await explain(form(text), [text])).toMatchObject({ outcome: 'request.credentials_in_body' });
    const long = `${text}&c=${'x'.repeat(90_000)}`;
    expect(await explain(form(long), [long])).toMatchObject({ outcome: 'request.credentials_in_body' });
  });

  it('request.credentials_missing: the form has none, does not come, or is empty', async () => {
    expect(await explain(form('a=b'), ['a=b'])).toMatchObject({ outcome: 'request.credentials_missing' });
    expect(await explain(form('a=b'), ['a'])).toMatchObject({ outcome: 'request.credentials_missing' });
    expect(await explain(form(''), [])).toMatchObject({ outcome: 'request.credentials_missing' });
  });

  it('no body is asked for in order to refuse, and none of another type is read', async () => {
    const text = 'access_token=abc';
    const held = await explain(form(text, 'Expect: 100-continue\r\n'), []);
    expect(held).toMatchObject({ outcome: 'request.credentials_missing', synchronous: true });
    expect(held.received).not.toContain('100 Continue');
    const plain = `${WITHOUT}Content-Type: text/plain\r\nContent-Length: ${text.length}\r\n\r\n`;
    expect(await explain(plain, [text])).toMatchObject({ outcome: 'request.credentials_missing', synchronous: true });
  });

  it('every other refusal stays what it is', async () => {
    const text = 'access_token=abc';
    expect(await explain(form(text), [text], 'request.scheme_unsupported')).toMatchObject({
      outcome: 'request.scheme_unsupported',
      synchronous: true,
    });
  });
});
