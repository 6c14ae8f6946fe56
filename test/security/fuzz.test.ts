import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRequests } from '../support/read_requests.ts';
import { readAnswers } from './answers.ts';
import { FUZZ_TIMEOUT, fuzzed } from './fuzzing.ts';
import { chunked, get, post } from './messages.ts';
import { answersOn, BUILDS, eventually, PROJECT, Wire } from './wire.ts';

/** Good requests, to be spoilt. */
const TEMPLATES = [
  get(),
  get('Accept: */*\r\nUser-Agent: fuzz\r\n', `${PROJECT}?a=b`),
  post('Content-Length: 5\r\n', 'hello'),
  chunked('5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Trailer: a\r\n\r\n'),
  post('Expect: 100-continue\r\nContent-Length: 5\r\n', 'hello'),
  get('Connection: Upgrade\r\nUpgrade: websocket\r\n'),
];

/** Bytes that mean something to somebody who reads HTTP. */
const WORDS = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '\0',
  '%00',
  '%2e%2e/',
  '/',
  '//',
  '\\',
  '#',
  '?',
  '\xff',
  '0',
  '-',
  'HTTP/1.0',
  'HTTP/2.0',
  'GET ',
  'Content-Length: 3\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: x\r\n',
  'Connection: close\r\n',
  'Connection: authorization, sallyport-subject\r\n',
  'Expect: 100-continue\r\n',
  'Host: evil.example\r\n',
  'Sallyport-Subject: root\r\n',
  '\r\n0\r\n\r\n',
  `GET ${BUILDS} HTTP/1.1\r\n`,
];

/** One change: at a place (a fraction of the length), some bytes are taken out, and others put in. */
interface Change {
  readonly at: number;
  readonly remove: number;
  readonly insert: string;
}

const change: fc.Arbitrary<Change> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 200 })),
  insert: fc.oneof(
    fc.constant(''),
    fc.constantFrom(...WORDS),
    fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)), maxLength: 4 }),
  ),
});

const spoilt = fc.record({
  template: fc.constantFrom(...TEMPLATES),
  changes: fc.array(change, { minLength: 1, maxLength: 3 }),
});

function apply(message: string, changes: readonly Change[]): string {
  return changes.reduce((text, { at, remove, insert }) => {
    const place = Math.floor(at * text.length);
    return text.slice(0, place) + insert + text.slice(place + remove);
  }, message);
}

let wire: Wire;
beforeAll(async () => {
  // A message that has no end any more is ended by the clock.
  wire = await Wire.start({
    config: { limits: { headers_timeout_ms: 200, request_timeout_ms: 300, keep_alive_timeout_ms: 100 } },
  });
});
afterAll(() => wire.close());

/** Sends a message on a connection of its own and waits for the end of the connection, which comes by itself. */
async function send(message: string): Promise<{ readonly statuses: number[]; readonly rest: string }> {
  const connection = await wire.connect();
  connection.send(message);
  await eventually('the connection ends', () => connection.ended || connection.socket.closed);
  const { answers, rest } = readAnswers(connection.received);
  return { statuses: answers.filter(({ status }) => status >= 200).map(({ status }) => status), rest };
}

describe('good requests with some bytes changed', () => {
  it(
    'never a 5xx, never two requests of one, an answer for every record, and the gateway lives on',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(spoilt, { minLength: 30, maxLength: 30 }), async (batch) => {
          await wire.settleAfterFailure();
          const mark = wire.upstreamMark();
          const messages = await Promise.all(
            batch.map(async ({ template, changes }) => apply(await wire.fill(template), changes)),
          );
          const outcomes = await Promise.all(messages.map(send));
          const statuses = outcomes.flatMap((outcome) => outcome.statuses);
          for (const [index, { rest }] of outcomes.entries())
            expect({ rest, of: messages[index] }).toEqual({ rest: '', of: messages[index] });
          expect(statuses.filter((status) => status >= 500)).toEqual([]);

          const requests = wire.upstreamSince(mark).flatMap(readRequests);
          const complete = requests.filter((request) => request.complete);
          expect(complete).toHaveLength(statuses.filter((status) => status === 200).length);
          expect(requests.length).toBeLessThanOrEqual(messages.length);

          const records = await wire.nextRecords(statuses.length);
          expect(records.map(({ status }) => status).sort()).toEqual([...statuses].sort());
          wire.hangUp();
          wire.settled = true;
        }),
        { ...fuzzed(12), endOnFailure: true },
      );
      const connection = await wire.connect();
      connection.send(await wire.fill(get()));
      expect((await answersOn(connection, 1)).answers).toMatchObject([{ status: 200, body: 'ok' }]);
    },
    30_000 + FUZZ_TIMEOUT,
  );
});
