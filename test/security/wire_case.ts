import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { cutRequests, type RecordedRequest, valuesOf } from '../support/read_requests.ts';
import type { Answer } from './answers.ts';
import { answersOn, eventually, PROJECT, type Wire, type WireRecord } from './wire.ts';

/** What one request of a case must come to. */
export interface Expected {
  readonly status: number;
  /** Null: the answer is the upstream's. */
  readonly reason: string | null;
  /** What of it must reach the upstream; with `complete: false` at most a beginning of it, which has no end. Null: no byte. */
  readonly upstream: Sent | null;
  /** HEAD, whose answers have no body. Absent: that of `upstream`, else GET. */
  readonly method?: 'HEAD';
}

/** A request as the upstream gets it; `line`: method and target. */
interface Sent {
  readonly line: string;
  readonly body: string;
  readonly complete: boolean;
}

/** Bytes on one connection, and everything that must come of them. */
export interface WireCase {
  /** Clause or reason first. */
  readonly name: string;
  /** Templates (see {@link Wire.fill}); several are sent with a pause between them. */
  readonly send: string | readonly string[];
  /** The final answers, in order, and no others. */
  readonly answers: readonly Expected[];
  /** Whether the gateway ends the connection after the last of them; if not, a clean request on it must be answered. */
  readonly closes: boolean;
  /** Whether the caller ends its side after sending. */
  readonly end?: boolean;
  /** Of the first request: header fields that the upstream must get exactly so, names in lower case; null: not at all. */
  readonly forwards?: Readonly<Record<string, readonly string[] | null>>;
  /** Interim answers, and no others. */
  readonly interim?: readonly number[];
}

/** The request is let through: `line` is method and target as the upstream must get them, `body` its body. */
export function passes(line: string, body = ''): Expected {
  return { status: 200, reason: null, upstream: { line, body, complete: true } };
}

/** The request is refused and nothing of it reaches the upstream. */
export function refused(status: number, reason: string): Expected {
  return { status, reason, upstream: null };
}

/** The request is refused when its beginning, `body` included, may have been on its way already: the upstream sees that it has no end. */
export function cutOff(status: number, reason: string, line: string, body = ''): Expected {
  return { status, reason, upstream: { line, body, complete: false } };
}

const PAUSE_MS = 15;
const CLEAN = passes(`GET ${PROJECT}`);
const CLEAN_REQUEST = `GET ${PROJECT} HTTP/1.1\r\nHost: {host}\r\n{auth GET ${PROJECT}}\r\n`;

/**
 * Runs a case: sends it, looks at what the caller saw; if the connection was kept, sends a clean request on it; sends a clean request on a
 * new connection; then looks at what the upstream received and what was recorded, all of it.
 */
export async function runCase(wire: Wire, each: WireCase): Promise<void> {
  const { name, send, answers: expected, closes, interim = [] } = each;
  await wire.settleAfterFailure();
  const mark = wire.upstreamMark();
  const connection = await wire.connect();
  const parts = typeof send === 'string' ? [send] : send;
  for (const [index, part] of parts.entries()) {
    if (index > 0) await sleep(PAUSE_MS);
    connection.send(await wire.fill(part));
  }
  if (each.end) connection.end();
  const onFirst = closes ? expected : [...expected, CLEAN];
  const methods = onFirst.map(({ upstream, method }) => method ?? upstream?.line.split(' ')[0] ?? 'GET');
  if (!closes) {
    await answersOn(connection, expected.length, methods);
    connection.send(await wire.fill(CLEAN_REQUEST));
  }
  const { answers, rest } = await answersOn(connection, onFirst.length, methods);
  if (closes) await eventually(`${name}: the connection ends`, () => connection.ended || connection.socket.closed);
  const final = answers.filter(({ status }) => status >= 200);
  const seen = { interim: statuses(answers.filter(({ status }) => status < 200)), final: statuses(final), rest };
  expect(seen).toEqual({ interim, final: statuses(onFirst), rest: '' });
  const last = final[expected.length - 1];
  if (last !== undefined) expect(last.headers['connection']?.includes('close') ?? false).toBe(closes);

  const fresh = await wire.connect();
  fresh.send(await wire.fill(CLEAN_REQUEST));
  const [clean] = (await answersOn(fresh, 1)).answers;
  const everything = [...onFirst, CLEAN];
  const records = await wire.nextRecords(everything.length);
  expect(records).toHaveLength(everything.length);
  for (const [index, answer] of [...final, clean].entries()) {
    expectAnswer(wire, answer as Answer, everything[index] as Expected, records);
  }
  const requests = expectUpstream(wire, mark, everything, records);
  for (const [field, values] of Object.entries(each.forwards ?? {})) {
    const first = requests.find(({ method, target }) => `${method} ${target}` === expected[0]?.upstream?.line);
    expect({ [field]: valuesOf(first, field) }).toEqual({ [field]: values ?? [] });
  }
  wire.hangUp();
  wire.settled = true;
}

function statuses(answers: readonly { readonly status: number }[]): number[] {
  return answers.map(({ status }) => status);
}

/** The answer is clean, and the one record of its request says the same. */
function expectAnswer(
  wire: Wire,
  answer: Answer,
  { status, reason, upstream, method }: Expected,
  records: readonly WireRecord[],
): void {
  wire.expectNoSecret('the answer', answer.head + answer.body);
  expect(answer).toMatchObject({ status, complete: true });
  if (reason !== null) expectRefusal(answer, reason);
  const id = reason === null ? answer.headers['sallyport-decision-id']?.[0] : decisionOf(answer);
  const record = records.find((each) => (method === 'HEAD' ? each.method === 'HEAD' : each.id === id));
  const outcome = reason === null ? 'allowed' : status < 499 ? 'refused' : 'failed';
  expect(record).toMatchObject({ status, reason, outcome });
  if (upstream?.complete !== false) expect(record?.upstream !== undefined).toBe(upstream !== null);
}

function decisionOf({ body }: Answer): string | undefined {
  return body === '' ? undefined : (JSON.parse(body) as { decision_id: string }).decision_id;
}

function expectRefusal({ headers, body, status }: Answer, reason: string): void {
  const of = (name: string) => headers[name];
  expect(of('cache-control')).toEqual(['no-store']);
  expect(of('content-type')).toEqual(['application/problem+json']);
  expect(of('proxy-status')).toEqual([expect.stringContaining(`details="${reason}"`)]);
  expect(of('www-authenticate') !== undefined || status !== 401).toBe(true);
  expect(Number(of('content-length')?.[0])).toBeGreaterThan(0);
  if (body !== '') expect(JSON.parse(body)).toMatchObject({ reason, status });
}

/** The upstream received these requests, what was judged is what was sent, and no byte more. */
function expectUpstream(
  wire: Wire,
  mark: ReturnType<Wire['upstreamMark']>,
  expected: readonly Expected[],
  records: readonly WireRecord[],
): RecordedRequest[] {
  const connections = wire.upstreamSince(mark);
  for (const bytes of connections) wire.expectNoSecret('the upstream', bytes);
  const cuts = connections.map(cutRequests);
  for (const { rest } of cuts) expect(rest).toBe('');
  const requests = cuts.flatMap((cut) => cut.requests);
  const sent = expected.flatMap(({ upstream }) => (upstream === null ? [] : [upstream]));
  const received = requests.map(({ method, target, body, complete }) => ({
    line: `${method} ${target}`,
    body,
    complete,
  }));
  expect(sorted(received.filter(({ complete }) => complete))).toEqual(sorted(sent.filter(({ complete }) => complete)));
  const beginnings = sent.filter(({ complete }) => !complete);
  for (const { line, body } of received.filter(({ complete }) => !complete)) {
    const index = beginnings.findIndex((each) => each.line === line && each.body.startsWith(body));
    expect(index, `${line} is the beginning of one of the requests`).not.toBe(-1);
    beginnings.splice(index, 1);
  }
  for (const request of requests) expectForwarded(wire, request, records);
  return requests;
}

function sorted<T>(values: readonly T[]): string[] {
  return values.map((value) => JSON.stringify(value)).sort();
}

/** What the gateway states of a request it lets through is there once, and nothing that ends at the gateway is there. */
function expectForwarded(wire: Wire, request: RecordedRequest, records: readonly WireRecord[]): void {
  const of = (name: string) => valuesOf(request, name);
  const record = records.find(({ id }) => id === of('sallyport-decision-id')[0]);
  const query = record?.query === undefined ? '' : `?${record.query}`;
  expect(`${record?.method} ${record?.path}${query}`).toBe(`${request.method} ${request.target.replace(/\?$/, '')}`);
  expect(record?.judged).toBe(record?.path);
  expect(of('host')).toEqual([new URL(wire.upstream.origin).host]);
  expect(of('sallyport-subject')).toEqual(['wf-4711']);
  expect(of('sallyport-client')).toEqual(['wf-4711']);
  expect(of('forwarded')).toEqual([expect.stringMatching(/^for=127.0.0.1;proto=http;host=/)]);
  expect(of('content-length').length + of('transfer-encoding').length).toBeLessThan(2);
  const names = request.headers.map(([name]) => name.toLowerCase().replaceAll('_', '-'));
  expect(names.filter((name) => ENDS_AT_GATEWAY.test(name) || /[^!#$%&'*+.^`|~0-9a-z-]/.test(name))).toEqual([]);
  expect(names.filter((name) => name.startsWith('sallyport-')).sort()).toEqual(
    [...new Set(names.filter((name) => name.startsWith('sallyport-')))].sort(),
  );
}

const ENDS_AT_GATEWAY =
  /^(?:authorization|dpop|cookie|proxy-(?:authorization|connection)|te|trailer|upgrade|keep-alive|expect|http2-settings|x-forwarded.*|x-real-ip|x-original-.*|x-rewrite-url|x-http-method.*|x-method-override|client-cert.*)$/;
