import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { ERROR, FRAME, type FrameConnection, frame, uint32 } from '../support/http2_frames.ts';
import { type Fields, Http2Front, PROJECT, pseudo, reasonOf } from '../support/http2_front.ts';
import { lastOrAnswer } from '../support/last_or_answer.ts';
import { connectRawTls, type RawConnection } from '../support/raw_connection.ts';
import { refusalsWaiting } from '../support/refusals_waiting.ts';

/** Refusals over HTTP/2 have the same pace as those over HTTP/1.1, each on its stream; so have upgrades over TLS. */

/** Milliseconds after which a request that is over counts as honest traffic no more. */
const AFTERWARDS_MS = 1000;
const FLOOD = 60;
const STREAMS = Array.from({ length: FLOOD }, (_, n) => 2 * n + 1);

let front: Http2Front;
let events: FrameConnection;

beforeEach(async () => {
  // So slow that some of a flood wait on every machine.
  front = await Http2Front.start({
    script: lastOrAnswer,
    config: { limits: { refusals_per_second: 15 } },
    route: { websocket: true },
  });
  // The answer that lasts is all that is let through when the flood comes.
  events = await front.connect();
  events.request(1, [...(await front.good()), ['accept', 'text/event-stream']]);
  await eventually('an event', () => events.answer(1).body.includes('event'));
  await sleep(AFTERWARDS_MS * 1.2);
});
afterEach(async () => {
  events.socket.destroy();
  await front.close();
});

const someWait = () => eventually('refusals wait', async () => (await refusalsWaiting(front.gateway)) > 0);
const noneWaits = () => eventually('nobody waits', async () => (await refusalsWaiting(front.gateway)) === 0);

interface Outcome {
  readonly status: number;
  readonly reason?: string;
}

/** The outcomes of refused requests, once there are so many. */
async function refused(count: number): Promise<Outcome[]> {
  const records = (await front.gateway.records(count)) as unknown as { custom: { sallyport: Outcome } }[];
  return records.map(({ custom }) => custom.sallyport).filter(({ reason }) => reason !== undefined);
}

async function flood(fields: Fields): Promise<FrameConnection> {
  const connection = await front.connect();
  for (const stream of STREAMS) connection.request(stream, fields);
  await someWait();
  return connection;
}

async function honest(): Promise<void> {
  const connection = await front.connect();
  for (const stream of [1, 3, 5]) {
    connection.request(stream, await front.good());
    await eventually('the answer', () => connection.answer(stream).ended);
    expect(connection.answer(stream)).toMatchObject({ statuses: [200], body: 'ok' });
  }
  connection.socket.destroy();
}

const kinds: readonly [string, number, string, () => Promise<Fields>][] = [
  ['requests without credentials', 401, 'request.credentials_missing', async () => pseudo()],
  [
    'requests that the policy refuses',
    403,
    'policy.insufficient_authorization_details',
    async () => [...pseudo({ path: `${PROJECT}2` }), ...(await front.credentials('GET', `${PROJECT}2`))],
  ],
  [
    'CONNECT (RFC 9113 §8.5)',
    405,
    'request.method_not_allowed',
    async () => pseudo({ method: 'CONNECT', scheme: null, path: null }),
  ],
];

describe('a flood of streams beside an event stream', () => {
  it.each(kinds)('%s: each is refused in its turn and recorded, others go on', async (_name, status, reason, make) => {
    const connection = await flood(await make());
    const before = events.answer(1).body.length;
    await honest();
    await eventually('events go on', () => events.answer(1).body.length > before);
    await eventually('all are answered', () => STREAMS.every((stream) => connection.answer(stream).ended), 20);
    const [first] = STREAMS.map((stream) => connection.answer(stream));
    expect(first?.statuses).toEqual([status]);
    const replayed = (one: string | null) => one === reason || one === 'proof.replayed';
    expect(STREAMS.map((stream) => reasonOf(connection.answer(stream))).every(replayed)).toBe(true);
    expect((await refused(FLOOD + 3)).length).toBe(FLOOD);
    expect(connection.closed).toBe(false);
    connection.socket.destroy();
  });

  it('streams that are reset meanwhile wait no longer, have their records, and keep nobody waiting', async () => {
    const connection = await flood(pseudo());
    for (const stream of STREAMS) connection.send(frame(FRAME.RST_STREAM, 0, stream, uint32(ERROR.CANCEL)));
    await noneWaits();
    const outcomes = await refused(FLOOD);
    expect(outcomes.map(({ reason }) => reason)).toEqual(STREAMS.map(() => 'request.credentials_missing'));
    expect(outcomes.some(({ status }) => status === 0)).toBe(true);
    await honest();
    connection.socket.destroy();
  });

  it('with their connection they end, too', async () => {
    const connection = await flood(pseudo());
    connection.socket.destroy();
    await noneWaits();
    expect((await refused(1)).length).toBeLessThanOrEqual(FLOOD);
    await honest();
  });

  it('when the gateway stops, those that wait are answered at once and recorded', async () => {
    const connection = await flood(pseudo());
    const stopping = front.gateway.gateway.close();
    await eventually('the connection ends', () => connection.closed);
    const answers = STREAMS.map((stream) => connection.answer(stream)).filter(({ body }) => body !== '');
    expect(answers.length).toBeGreaterThan(1);
    for (const answer of answers) {
      expect([reasonOf(answer), answer.ended]).toEqual(['request.credentials_missing', true]);
    }
    events.socket.destroy();
    expect(await stopping).toBe(true);
    const outcomes = await refused(answers.length + 1);
    const told = outcomes.filter(({ reason }) => reason === 'request.credentials_missing');
    expect(told.map(({ status }) => status)).toEqual(answers.map(() => 401));
  });
});

describe('WebSocket over HTTP/2', () => {
  it('RFC 8441 §4: extended CONNECT, which is not offered, is reset without an answer, until its connection ends', async () => {
    const connection = await front.connect();
    const extended: Fields = [
      [':method', 'CONNECT'],
      [':protocol', 'websocket'],
      ...pseudo({ method: null }),
      ...(await front.credentials('GET', PROJECT)),
    ];
    for (let n = 0; n < 300 && !connection.closed; n++) {
      connection.request(2 * n + 1, extended);
      if (n % 20 === 0) await sleep(1);
    }
    await eventually('the connection ends', () => connection.closed);
    expect(connection.answer(1)).toMatchObject({ statuses: [], reset: ERROR.PROTOCOL_ERROR });
    await honest();
    expect(await refused(3)).toEqual([]);
    expect(await refusalsWaiting(front.gateway)).toBe(0);
  });
});

describe('upgrades over TLS', () => {
  const upgrade =
    'Host: cloud.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  const open = (): Promise<RawConnection> =>
    connectRawTls(front.port, { ALPNProtocols: ['http/1.1'], rejectUnauthorized: false });

  it('each is refused in its turn; a caller that hangs up waits no longer', async () => {
    const callers = await Promise.all(STREAMS.map(open));
    for (const caller of callers) caller.send(`GET ${PROJECT} HTTP/1.1\r\n${upgrade}`);
    await someWait();
    const [gone, left] = [callers.slice(0, FLOOD / 2), callers.slice(FLOOD / 2)];
    for (const caller of gone) caller.socket.destroy();
    await honest();
    await Promise.all(left.map((caller) => caller.closed()));
    for (const { answers } of left) expect(answers.map(({ status }) => status)).toEqual([401]);
    await noneWaits();
    expect((await refused(left.length + 3)).length).toBeGreaterThanOrEqual(left.length);
  });
});
