import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cutRequests } from '../support/read_requests.ts';
import { readAnswers } from './answers.ts';
import { BUILDS, eventually, PROJECT, Wire } from './wire.ts';

/**
 * Whole families of public corpora through raw sockets, made here from what spans them.
 * Smuggling: the gadgets of defparam/smuggler (names of a transfer coding with every control character and every byte above ASCII before,
 * within and after name and value; joined, folded, quoted, doubled). Paths: the products of dotdotpwn and PayloadsAllTheThings, "exotic
 * encodings": every spelling of a step times every spelling of a separator, at several depths.
 */

let wire: Wire;
beforeAll(async () => {
  // What waits for an end that does not come is ended by the clock.
  wire = await Wire.start({
    config: { limits: { headers_timeout_ms: 300, request_timeout_ms: 400, keep_alive_timeout_ms: 100 } },
  });
});
afterAll(() => wire.close());

const BATCH = 40;
const byte = (code: number) => String.fromCharCode(code);
const ODD = [...Array(0x20).keys()]
  .slice(1)
  .concat([...Array(0x81).keys()].map((index) => 0x7f + index))
  .map(byte);

const NAMED = [
  ' Transfer-Encoding: chunked',
  'Transfer-Encoding:\tchunked',
  'Transfer-Encoding\t:\tchunked',
  'Transfer Encoding: chunked',
  'Transfer_Encoding: chunked',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding:  chunked',
  'Transfer-Encoding: chunked, cow',
  'Transfer-Encoding: cow, chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: identity, chunked, chunked',
  'Transfer-Encoding:\n chunked',
  'Transfer-Encoding:\r\n chunked',
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding: 'chunked'",
  'Transfer-Encoding: chunk',
  'Transfer-Encoding: xchunked',
  'TrAnSFer-EnCODinG: cHuNkeD',
  'Transfer-Encoding: chunked\r',
  'Transfer-Encoding: chunked;q=1',
  'Transfer-Encoding: cow\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow',
  'Transfer\r-Encoding: chunked',
  'Transfer-Encoding: cow chunked bar',
  'Transfer-Encoding:',
  'Transfer-Encoding: ,chunked',
  'X: X\rTransfer-Encoding: chunked',
  'X: X\nTransfer-Encoding: chunked',
  'X: X\r\n\rTransfer-Encoding: chunked',
  'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked',
  'Content-Length: 0',
  'Content_Length: 0',
  'Content-Length : 0',
  ' Content-Length: 0',
  'Content-Length: +0',
  'Content-Length: 0, 0',
  'Content-Length:\x0b0',
];
const AROUND = ODD.flatMap((odd) => [
  `Transfer-Encoding:${odd}chunked`,
  `Transfer-Encoding${odd}: chunked`,
  `${odd}Transfer-Encoding: chunked`,
  `Transfer-Encoding: chunked${odd}`,
  `Transfer${odd}-Encoding: chunked`,
  `Content-Length${odd}: 0`,
]);

/** A request whose body is a request, for whoever takes the gadget for the framing. */
function smuggling(gadget: string): string {
  const hidden = `0\r\n\r\nGET ${PROJECT}?hidden HTTP/1.1\r\nHost: {host}\r\n{auth GET ${PROJECT}}\r\n`;
  return `POST ${BUILDS} HTTP/1.1\r\nHost: {host}\r\n{auth POST ${BUILDS}}${gadget}\r\nContent-Length: {length}\r\n\r\n${hidden}`;
}

async function fill(gadget: string): Promise<string> {
  const whole = await wire.fill(smuggling(gadget));
  const body = whole.slice(whole.indexOf('\r\n\r\n0\r\n\r\nGET ') + 4);
  return whole.replace('{length}', String(body.length));
}

/** Sends each on a connection of its own. @returns final answers by message */
async function sendAll(messages: readonly string[]): Promise<number[][]> {
  return Promise.all(
    messages.map(async (message) => {
      const connection = await wire.connect();
      connection.send(Buffer.from(message, 'latin1').toString('latin1'));
      await eventually('the connection ends', () => connection.ended || connection.socket.closed);
      return readAnswers(connection.received)
        .answers.map(({ status }) => status)
        .filter((status) => status >= 200);
    }),
  );
}

/** A field that some server may take for the framing. */
const LOOKALIKE = /(?:^|\n)[^a-z0-9\n]*(?:transfer[^a-z0-9\n]*encoding|content[^a-z0-9-\n]+length)/i;

describe('public smuggling corpora: at most one upstream request, and nobody’s framing but the gateway’s', {
  timeout: 120_000,
}, () => {
  it.each([
    ['named gadgets', NAMED],
    ['a byte around the name or the value', AROUND],
  ])('%s', async (_, gadgets) => {
    for (let at = 0; at < gadgets.length; at += BATCH) {
      const batch = gadgets.slice(at, at + BATCH);
      await wire.settleAfterFailure();
      const mark = wire.upstreamMark();
      const statuses = await sendAll(await Promise.all(batch.map(fill)));
      for (const [index, finals] of statuses.entries()) {
        expect([batch[index], finals.length <= 1, finals.every((status) => status < 500)]).toEqual([
          batch[index],
          true,
          true,
        ]);
      }
      const requests = wire.upstreamSince(mark).flatMap((bytes) => {
        const { requests: cut, rest } = cutRequests(bytes);
        expect(rest).toBe('');
        return cut;
      });
      const passed = statuses.flat().filter((status) => status === 200).length;
      expect(requests.filter(({ complete }) => complete)).toHaveLength(passed);
      for (const { head, target, body } of requests) {
        expect(target).not.toContain('hidden');
        // Where it passed, the hidden request is what it was declared to be: a body, whole.
        expect(body).toContain(`GET ${PROJECT}?hidden`);
        const fields = head.replace(/\r\nContent-Length: \d+(?=\r\n|$)/i, '').replace(/\r/g, '');
        expect(fields).not.toMatch(LOOKALIKE);
      }
      await wire.nextRecords(statuses.flat().length);
      wire.hangUp();
      wire.settled = true;
    }
  });
});

const STEPS = [
  '..',
  '%2e%2e',
  '.%2e',
  '%2E.',
  '%252e%252e',
  '%c0%ae%c0%ae',
  '%25c0%25ae%25c0%25ae',
  '%%32%65%%32%65',
  '%e0%80%ae%e0%80%ae',
  '%uff0e%uff0e',
  '..;',
  '..%00',
  '..%09',
  '.%00.',
];
const SEPARATORS = [
  '/',
  '%2f',
  '%252f',
  '%25252f',
  '\\',
  '%5c',
  '%255c',
  '%c0%af',
  '%25c0%25af',
  '%c1%9c',
  '%25c1%259c',
  '%%32%66',
  '%%35%63',
  '%e0%80%af',
  '%u2215',
  '//',
  '/./',
  ';/',
];
const DEPTHS = [1, 3, 8];

describe('public path corpora: nothing that climbs is judged, sent or answered but by a refusal', {
  timeout: 120_000,
}, () => {
  it.each(STEPS)('a step spelt %s, with every separator', async (step) => {
    await wire.settleAfterFailure();
    const mark = wire.upstreamMark();
    const targets = SEPARATORS.flatMap((separator) =>
      DEPTHS.flatMap((depth) => [
        `${PROJECT}/${(step + separator).repeat(depth)}etc/passwd`,
        `/${(step + separator).repeat(depth)}v1/projects/p2`,
      ]),
    );
    for (let at = 0; at < targets.length; at += BATCH) {
      const batch = targets.slice(at, at + BATCH);
      const messages = await Promise.all(
        batch.map((target) =>
          wire.fill(`GET ${target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{auth GET ${PROJECT}}\r\n`),
        ),
      );
      const statuses = await sendAll(messages);
      for (const [index, finals] of statuses.entries()) expect([batch[index], finals]).toEqual([batch[index], [400]]);
      await wire.nextRecords(batch.length);
      wire.hangUp();
    }
    expect(wire.upstreamSince(mark)).toEqual([]);
    wire.settled = true;
  });
});
