import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UPGRADE } from '../faults/scene.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { TestJob } from '../support/issuer.ts';
import { lastOrAnswer } from '../support/last_or_answer.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { refusalsWaiting } from '../support/refusals_waiting.ts';

/**
 * Refusals wait for their turn while others are let through, whatever was asked for: also those of upgrades, which hold a connection that
 * has no response, and also beside answers that last. What of them waits is bounded, and ends with the caller and with the gateway.
 */

const PATH = '/v1/projects/p1';
const EVENTS = 'Accept: text/event-stream\r\n';
/** Milliseconds after which a request that is over counts as honest traffic no more. */
const AFTERWARDS_MS = 1000;
const FLOOD = 60;
/** So slow that some of a flood wait on every machine. */
const LIMITS = { limits: { refusals_per_second: 15 } };

let upstream: RecordingUpstream;
let gateway: TestGateway;
const callers: RawConnection[] = [];

beforeEach(async () => {
  upstream = await startRecordingUpstream(lastOrAnswer);
  gateway = await startTestGateway({ upstream: upstream.origin, config: LIMITS, route: { websocket: true } });
});
afterEach(async () => {
  for (const { socket } of callers.splice(0)) socket.destroy();
  await gateway.close();
  await upstream.close();
});

async function call(): Promise<RawConnection> {
  const caller = await connectRaw(gateway.port);
  callers.push(caller);
  return caller;
}

interface Asked {
  readonly path?: string;
  readonly token?: string;
  readonly job?: TestJob;
  /** The end of the header section, and what follows it. */
  readonly rest?: string;
}

async function bytes({ path = PATH, token, job = gateway.job, rest = '\r\n' }: Asked = {}): Promise<string> {
  const headers = await job.headers('GET', gateway.origin + path, token ?? (await gateway.token()));
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\nHost: ${new URL(gateway.origin).host}\r\n${fields.join('')}${rest}`;
}

const anonymous = (rest: string) => `GET ${PATH} HTTP/1.1\r\nHost: ${new URL(gateway.origin).host}\r\n${rest}`;

/** Connections that are all open before the first byte is sent. */
async function flood(requests: readonly string[]): Promise<RawConnection[]> {
  const connections = await Promise.all(requests.map(() => call()));
  for (const [index, connection] of connections.entries()) connection.send(requests[index] as string);
  return connections;
}

async function honest(count: number): Promise<void> {
  const caller = await call();
  for (let sent = 1; sent <= count; sent++) {
    caller.send(await bytes());
    await caller.until(({ answers }) => answers.length === sent);
  }
  expect(caller.answers.map(({ status }) => status)).toEqual(Array.from({ length: count }, () => 200));
}

/** Beside this, refusals have a pace; it goes on until the end of the test. */
async function openEvents(): Promise<RawConnection> {
  const caller = await call();
  caller.send(await bytes({ rest: `${EVENTS}\r\n` }));
  await caller.until('event\n');
  return caller;
}

interface Outcome {
  readonly status: number;
  readonly reason?: string;
}

async function outcomes(count: number): Promise<Outcome[]> {
  const records = (await gateway.records(count)) as { custom: { sallyport: Outcome } }[];
  return records.map(({ custom }) => custom.sallyport);
}

/** Every request that was read has its record; one whose caller was gone before it could be told has no status. */
const someoneNotTold = () =>
  eventually('a record without a status', async () => (await outcomes(0)).some(({ status }) => status === 0));

const reasonsOf = (connections: readonly RawConnection[]) => [
  ...new Set(
    connections.map(({ answers }) => {
      const [first] = answers;
      expect(answers).toHaveLength(1);
      expect(first?.headers['connection']).toEqual(['close']);
      return `${first?.status} ${(JSON.parse(first?.body ?? '{}') as { reason: string }).reason}`;
    }),
  ),
];

const kinds: Readonly<Record<string, { expected: string; make(token: string): Promise<string> }>> = {
  'without credentials': {
    expected: '401 request.credentials_missing',
    make: async () => anonymous(UPGRADE),
  },
  'with forged signatures': {
    expected: '401 token.signature',
    make: (token) => bytes({ token: `${token.slice(0, -8)}AAAAAAAA`, rest: UPGRADE }),
  },
  'by a thief of the token': {
    expected: '401 proof.key_mismatch',
    make: async (token) => bytes({ token, job: await TestJob.create(), rest: UPGRADE }),
  },
  'that the policy refuses': {
    expected: '403 policy.insufficient_authorization_details',
    make: (token) => bytes({ token, path: '/v1/projects/p2', rest: UPGRADE }),
  },
  'with a body (RFC 9112 §6.3)': {
    expected: '400 request.framing',
    make: (token) => bytes({ token, rest: `Content-Length: 5\r\n${UPGRADE}hello` }),
  },
  'by CONNECT': {
    expected: '405 request.method_not_allowed',
    make: async () => {
      const { host } = new URL(gateway.origin);
      return `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    },
  },
};

describe('a flood of what is no HTTP', () => {
  const broken = 'GET / HTTP/1.1\r\nHo st: x\r\n\r\n';

  it.each([
    ['a field name that is none', broken],
    ['an upgrade with one', () => anonymous(UPGRADE.replace('Upgrade:', 'Up grade:'))],
  ])('%s: each is answered once, in its turn, and recorded once', async (_, given) => {
    const one = typeof given === 'string' ? given : given();
    await openEvents();
    const connections = await flood(Array.from({ length: FLOOD }, () => one));
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    // What follows is looked at no more.
    for (const connection of connections) connection.send(broken);
    await honest(10);
    await Promise.all(connections.map((connection) => connection.closed()));
    expect(reasonsOf(connections)).toEqual(['400 request.header_malformed']);
    expect(await outcomes(FLOOD + 10)).toHaveLength(FLOOD + 10);
  });

  it('a caller that hangs up waits no longer, and has its record', async () => {
    await openEvents();
    const connections = await flood(Array.from({ length: FLOOD }, () => broken));
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    for (const connection of connections) connection.reset();
    await eventually('nobody waits', async () => (await refusalsWaiting(gateway)) === 0);
    await someoneNotTold();
  });

  it('when the gateway stops, those that wait are answered at once and recorded', async () => {
    const events = await openEvents();
    const connections = await flood(Array.from({ length: FLOOD }, () => broken));
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    const stopping = gateway.gateway.close();
    await Promise.all(connections.map((connection) => connection.closed()));
    const told = connections.filter(({ received }) => received !== '');
    expect(told.length).toBeGreaterThan(1);
    expect(reasonsOf(told)).toEqual(['400 request.header_malformed']);
    events.reset();
    expect(await stopping).toBe(true);
    expect(await outcomes(told.length + 1)).toHaveLength(told.length + 1);
  });
});

describe('a flood of upgrades', () => {
  it.each(Object.entries(kinds))(
    '%s: honest requests pass, each is refused in its turn and recorded',
    async (_, kind) => {
      const token = await gateway.token();
      await openEvents();
      const requests = await Promise.all(Array.from({ length: FLOOD }, () => kind.make(token)));
      const connections = await flood(requests);
      await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
      await honest(10);
      await Promise.all(connections.map((connection) => connection.closed()));
      expect(reasonsOf(connections)).toEqual([kind.expected]);
      expect(await refusalsWaiting(gateway)).toBe(0);
      const recorded = (await outcomes(FLOOD + 10)).map(({ status, reason }) => `${status} ${reason ?? ''}`.trim());
      expect(recorded.filter((one) => one === kind.expected)).toHaveLength(FLOOD);
      expect(upstream.requests).toHaveLength(11);
    },
  );

  it('request.upgrade_not_allowed: where the route allows none', async () => {
    const { gateway: first } = gateway;
    await first.close();
    gateway = await startTestGateway({ upstream: upstream.origin, config: LIMITS });
    const token = await gateway.token();
    await openEvents();
    const requests = await Promise.all(Array.from({ length: FLOOD }, () => bytes({ token, rest: UPGRADE })));
    const connections = await flood(requests);
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    await honest(10);
    await Promise.all(connections.map((connection) => connection.closed()));
    expect(reasonsOf(connections)).toEqual(['403 request.upgrade_not_allowed']);
  });

  it.each([
    ['an upgrade', UPGRADE],
    ['another request', '\r\n'],
  ])('a caller of %s that hangs up waits no longer, has its record, and keeps nobody waiting', async (_, rest) => {
    await openEvents();
    const connections = await flood(Array.from({ length: FLOOD }, () => anonymous(rest)));
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    for (const connection of connections) connection.reset();
    await eventually('nobody waits', async () => (await refusalsWaiting(gateway)) === 0);
    await honest(3);
    await someoneNotTold();
    const refused = (await outcomes(4)).filter(({ reason }) => reason !== undefined);
    expect(refused.length).toBeLessThanOrEqual(FLOOD);
    expect(new Set(refused.map(({ reason }) => reason))).toEqual(new Set(['request.credentials_missing']));
  });

  it('a caller that ends its side is answered in its turn', async () => {
    await openEvents();
    const connections = await flood(Array.from({ length: FLOOD }, () => anonymous(UPGRADE)));
    for (const connection of connections) connection.end();
    await Promise.all(connections.map((connection) => connection.closed()));
    expect(reasonsOf(connections)).toEqual(['401 request.credentials_missing']);
  });

  it('what is sent while it waits is read as nothing', async () => {
    await openEvents();
    const more = anonymous(UPGRADE) + (await bytes()).repeat(20);
    const connections = await flood(Array.from({ length: FLOOD }, () => more));
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    await Promise.all(connections.map((connection) => connection.closed()));
    expect(reasonsOf(connections)).toEqual(['401 request.credentials_missing']);
    expect(await outcomes(FLOOD)).toHaveLength(FLOOD);
    expect(upstream.requests).toHaveLength(1);
  });

  it('when the gateway stops, those that wait are answered at once and recorded', async () => {
    const events = await openEvents();
    const connections = await flood(Array.from({ length: FLOOD }, () => anonymous(UPGRADE)));
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    const stopping = gateway.gateway.close();
    await Promise.all(connections.map((connection) => connection.closed()));
    // A connection that was not accepted yet is none of the gateway's.
    const told = connections.filter(({ received }) => received !== '');
    expect(reasonsOf(told)).toEqual(['401 request.credentials_missing']);
    events.reset();
    expect(await stopping).toBe(true);
    const refused = (await outcomes(told.length + 1)).filter(({ reason }) => reason === 'request.credentials_missing');
    expect(refused.map(({ status }) => status)).toEqual(told.map(() => 401));
    expect(told.length).toBeGreaterThan(1);
  });
});

describe('several refusals on one connection (RFC 9112 §9.3.2)', () => {
  it.each([
    ['an upgrade', UPGRADE, '401 request.credentials_missing'],
    ['bytes that are no HTTP', 'Ho st: x\r\n\r\n', '400 request.header_malformed'],
  ])('a refused request, then %s: each has its own turn, in order, and its record', async (_, last, expected) => {
    await openEvents();
    const connections = await flood(Array.from({ length: 20 }, () => anonymous('\r\n') + anonymous(last)));
    await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
    await Promise.all(connections.map((connection) => connection.closed()));
    for (const { answers } of connections) {
      const seen = answers.map(({ status, body }) => `${status} ${(JSON.parse(body) as { reason: string }).reason}`);
      expect(seen).toEqual(['401 request.credentials_missing', expected]);
    }
    expect(await outcomes(40)).toHaveLength(40);
  });
});

describe('answers that last', () => {
  it.each(['an event stream', 'a WebSocket'])(
    'beside %s alone, refusals of every kind wait, and it goes on',
    async (kind) => {
      const lasting = await call();
      lasting.send(await bytes({ rest: kind === 'a WebSocket' ? UPGRADE : `${EVENTS}\r\n` }));
      await lasting.until(kind === 'a WebSocket' ? '101 Switching' : 'event\n');
      await sleep(AFTERWARDS_MS * 1.2);
      const requests = Array.from({ length: FLOOD }, (_, index) => anonymous(index % 2 === 0 ? UPGRADE : '\r\n'));
      const connections = await flood(requests);
      await eventually('refusals wait', async () => (await refusalsWaiting(gateway)) > 0);
      const before = lasting.received.length;
      if (kind === 'a WebSocket') lasting.send('hello');
      await lasting.until(({ received }) => received.length > before);
      await Promise.all(connections.map((connection) => connection.until(({ answers }) => answers.length > 0)));
      expect(lasting.socket.closed).toBe(false);
      lasting.end();
      lasting.socket.destroy();
      await outcomes(FLOOD + 1);
      // After it nobody is let through any more.
      await sleep(AFTERWARDS_MS * 1.2);
      const [alone] = await flood([anonymous(UPGRADE)]);
      await alone?.closed();
      expect(await refusalsWaiting(gateway)).toBe(0);
    },
  );
});
