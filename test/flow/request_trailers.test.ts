import http2, { type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { FLAG, FRAME, frame, headerBlock } from '../support/http2_frames.ts';
import { HOST, Http2Front, pseudo } from '../support/http2_front.ts';
import { connectRawTls } from '../support/raw_connection.ts';

/** Fields after the body of a request: which reach an upstream that speaks HTTP/2, and that nothing else does (RFC 9110 §6.5). */

const PATH = '/deploy.v1.Deployments/Collect';
const SUM = 'x-sum';

interface Seen {
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: string;
  /** Names and values in turn; null: the stream ended without any. */
  readonly trailers: readonly string[] | null;
}

const seen: Seen[] = [];
const sessions = new Set<ServerHttp2Session>();
const upstream = http2.createServer();
upstream.on('session', (session) => sessions.add(session));
upstream.on('stream', (stream, headers) => {
  let body = '';
  let trailers: string[] | null = null;
  stream.on('error', () => undefined);
  stream.setEncoding('latin1');
  stream.on('trailers', (_fields, _flags, ...rest: unknown[]) => {
    trailers = (rest[0] as string[] | undefined) ?? [];
  });
  stream.on('data', (chunk: string) => {
    body += chunk;
  });
  stream.on('end', () => {
    if (stream.aborted || stream.destroyed) return;
    seen.push({ headers, body, trailers });
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end('answer');
  });
});

let front: Http2Front;
beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  front = await Http2Front.start({
    upstream: url,
    artifact: await compilePolicy('package sallyport\n\ndecision := {"allow": true}\n'),
    route: {
      path_prefix: '/deploy.v1.Deployments',
      methods: ['POST'],
      upstream: { url, protocol: 'http2', timeout_ms: 3000 },
      streaming: true,
      trailers: { request: [SUM, 'x-count'], response: ['grpc-status'] },
    },
  });
});
afterAll(async () => {
  await front.close();
  for (const session of sessions) session.destroy();
  upstream.close();
});
afterEach(async () => {
  seen.length = 0;
  await front.skipRecords();
});

/** One message of gRPC: not compressed, its length, its bytes. */
function message(text: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, Buffer.from(text)]);
}

type Fields = readonly (readonly [string, string])[];

/** A client stream of gRPC: messages one after the other, then the fields after them. */
async function byHttp2(messages: readonly string[], trailers: Fields, together = false) {
  const connection = await front.connect();
  const fields: Fields = [
    ...pseudo({ method: 'POST', path: PATH }),
    ...(await front.credentials('POST', PATH)),
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ];
  connection.request(1, fields, 0);
  const parts = messages.map((text) => frame(FRAME.DATA, 0, 1, message(text)));
  const last = frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 1, headerBlock(trailers));
  if (together) connection.send(...parts, last);
  else {
    for (const part of parts) {
      connection.send(part);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    connection.send(last);
  }
  await eventually(
    'the answer',
    () => connection.answer(1).ended || connection.answer(1).reset !== null || connection.closed,
  );
  const answer = connection.answer(1);
  connection.socket.destroy();
  return answer;
}

/** Chunks, and the fields after the last one, byte for byte. */
async function byHttp1(body: string, trailers: string, pauseMs = 0): Promise<string> {
  const connection = await connectRawTls(front.port, { ca: front.ca, servername: HOST });
  const credentials = (await front.credentials('POST', PATH)).map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = `POST ${PATH} HTTP/1.1\r\nHost: ${HOST}\r\n${credentials}Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n`;
  const chunk = `${body.length.toString(16)}\r\n${body}\r\n`;
  const end = `0\r\n${trailers}\r\n`;
  if (pauseMs === 0) connection.send(head + chunk + end);
  else {
    connection.send(head);
    for (const part of [chunk, end]) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      connection.send(part);
    }
  }
  await connection.until((one) => one.answers.length > 0 || one.ended);
  const status = connection.received.slice(9, 12);
  connection.socket.destroy();
  return status;
}

describe.each([
  ['message by message', false],
  ['all at once', true],
])('a client stream of gRPC over HTTP/2, %s', (_name, together) => {
  it('RFC 9110 §6.5.1: fields that the route names reach the upstream after the messages, in order and as often as they stand', async () => {
    const answer = await byHttp2(
      ['one', 'two'],
      [
        [SUM, 'abc'],
        ['x-count', '1'],
        [SUM, 'def'],
      ],
      together,
    );
    expect(answer).toMatchObject({ ended: true, body: 'answer' });
    expect(answer.statuses[0]).toBe(200);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.body).toBe(message('one').toString('latin1') + message('two').toString('latin1'));
    expect(seen[0]?.trailers).toEqual([SUM, 'abc', SUM, 'def', 'x-count', '1']);
    expect(seen[0]?.headers).not.toHaveProperty(SUM);
    // RFC 9110 §7.6.3: what the request was received in.
    expect(seen[0]?.headers['via']).toBe('2 sallyport');
    expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed', upstream: { complete: true, status: 200 } });
  });

  it.each([
    ['authorization', 'Bearer stolen'],
    ['x-sum-2', 'other'],
    ['x_sum', 'alias'],
    ['host', 'evil.example.com'],
    ['sallyport-subject', 'root'],
    ['x-forwarded-for', '1.2.3.4'],
    ['cookie', 'a=b'],
    ['dpop', 'x.y.z'],
    ['via', '9.9 forged'],
    ['impersonate-user', 'root'],
  ])('RFC 9110 §6.5.1: %s is not on the list, and ends at the gateway', async (name, value) => {
    const answer = await byHttp2(
      ['one'],
      [
        [name, value],
        [SUM, 'abc'],
      ],
      together,
    );
    expect(answer.statuses[0]).toBe(200);
    expect(seen[0]?.trailers).toEqual([SUM, 'abc']);
    expect(JSON.stringify(seen)).not.toContain(value);
  });

  it.each([
    [':path', '/v1/other'],
    ['content-length', '3'],
    [':method', 'DELETE'],
    [':status', '200'],
    ['X-Sum', 'upper case'],
    ['connection', 'x-sum'],
    ['transfer-encoding', 'chunked'],
  ])('RFC 9113 §8.1, §8.2: %s after the body is malformed: the upstream sees no whole request', async (name, value) => {
    const answer = await byHttp2(['one'], [[name, value]], together);
    expect(answer.reset).not.toBeNull();
    expect(answer.statuses).toEqual([]);
    expect(seen).toEqual([]);
  });

  it('without any the request ends all the same', async () => {
    const answer = await byHttp2(['one'], [['x-other', '1']], together);
    expect(answer.statuses[0]).toBe(200);
    expect(seen[0]?.trailers ?? []).toEqual([]);
  });
});

describe.each([
  ['slowly', 30],
  ['all at once', 0],
])('chunks over HTTP/1.1, %s', (_name, pauseMs) => {
  it('RFC 9112 §7.1.2: named fields pass in any spelling, others do not', async () => {
    const sent = 'X-SUM: abc\r\nAuthorization: Bearer stolen\r\nX_Sum: alias\r\nx-count: 1\r\n';
    expect(await byHttp1('body', sent, pauseMs)).toBe('200');
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ body: 'body', trailers: [SUM, 'abc', 'x-count', '1'] });
    expect(seen[0]?.headers).not.toHaveProperty('trailer');
    await eventually('the record', async () => (await front.nextRecord())['outcome'] === 'allowed');
  });

  it.each([
    ['obs-text', 'X-Sum: caf\xe9\r\n'],
    ['a tab', 'X-Sum: a\tb\r\n'],
    ['nothing', 'X-Sum:\r\n'],
    ['many', 'X-Sum: a\r\n'.repeat(50)],
    ['long', `X-Sum: ${'a'.repeat(8000)}\r\n`],
  ])('RFC 9110 §5.5: a value with %s hurts nobody', async (_value, sent) => {
    const status = await byHttp1('body', sent, pauseMs);
    expect(['200', '400', '502']).toContain(status);
    expect(await byHttp1('body', 'X-Sum: fine\r\n')).toBe('200');
    expect(seen.at(-1)?.trailers).toEqual([SUM, 'fine']);
    expect(seen.length).toBeLessThanOrEqual(2);
  });

  it.each([
    ['a line break', 'X-Sum: a\nX-Count: b\r\n'],
    ['a NUL', 'X-Sum: a\0b\r\n'],
    ['a blank in the name', 'X Sum: a\r\n'],
    ['a folded line', 'X-Sum: a\r\n b\r\n'],
    ['no colon', 'X-Sum\r\n'],
    ['a length', 'Content-Length: 4\r\n'],
    ['a coding', 'Transfer-Encoding: chunked\r\n'],
  ])('RFC 9112 §7.1.2: %s is refused, and the upstream sees no whole request', async (_value, sent) => {
    expect(await byHttp1('body', sent, pauseMs)).toBe('400');
    expect(seen).toEqual([]);
  });
});
