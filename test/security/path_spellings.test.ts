import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed } from '../support/expect_outcome.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { type Outcome, Wire } from '../support/wire.ts';

/**
 * Every spelling of a step times every spelling of a separator, over HTTP/1.1, TLS and HTTP/2, each with good credentials for just that
 * target: what is not refused is judged and sent byte for byte.
 */

let wire: Wire;
let plain: Wire;
beforeAll(async () => {
  [wire, plain] = await Promise.all([
    Wire.start({ transports: TRANSPORTS }),
    Wire.start({ transports: ['HTTP/1.1', 'TLS'] }),
  ]);
});
afterAll(async () => {
  await wire.close();
  await plain.close();
});

/** Steps that somebody may take for `..` or `.`. */
const CLIMBING = [
  '..',
  '.',
  '%2e%2e',
  '%2E%2E',
  '.%2e',
  '%2e.',
  '%2e',
  '%252e%252e',
  '%25252e%25252e',
  '%252e.',
  '%c0%ae%c0%ae',
  '%c0%2e%c0%2e',
  '%e0%80%ae%e0%80%ae',
  '%f0%80%80%ae%f0%80%80%ae',
  '%fe%fe',
  '%u002e%u002e',
  '%%32%65%%32%65',
  '%ef%bc%8e%ef%bc%8e',
  '%ef%b9%92%ef%b9%92',
  '%e2%80%a4%e2%80%a4',
  '%e2%80%a5',
  '..;',
  '..;a=b',
  '..%3b',
  '..%3Ba',
  ';..',
  '.;/..',
  '..%00',
  '..%09',
  '..%0d%0a',
  '..%7f',
  '%2e%00%2e',
];
/** Separators that somebody may take for a slash, beside the one that is one. */
const SEPARATING = [
  '%2f',
  '%2F',
  '%252f',
  '%25252f',
  '\\',
  '%5c',
  '%5C',
  '%255c',
  '%c0%af',
  '%c1%9c',
  '%c0%5c',
  '%e0%80%af',
  '%f0%80%80%af',
  '%25c0%25af',
  '%%32%66',
  '%%35%63',
  '%u2215',
  '%u2216',
  '%ef%bc%8f',
  '%ef%bc%bc',
  '//',
  '///',
  '/;/',
  '/%3b/',
  '/%20/..%2f',
];

/** A request for a target, with a proof for just that. */
function ask(target: string, over = wire): Promise<Outcome> {
  const token = over.token();
  const [path = ''] = target.split(/[?#]/);
  return over.send({ target, lines: over.lines(token, over.proof(token, { path })) });
}

/** Refused before anything was judged, and nothing of it sent. */
function expectAmbiguous(target: string, { answer, problem, upstream, record }: Outcome): void {
  const seen = [target, answer.status, problem?.['reason'], upstream.length, 'input' in record];
  expect(seen).toEqual([target, 400, 'request.target_ambiguous', 0, false]);
}

describe('public path corpora, over every transport', { timeout: 120_000 }, () => {
  it.each(CLIMBING)('RFC 3986 §5.2.4: a step spelt %s', async (step) => {
    for (const target of [
      `/v1/projects/p2/${step}/p1`,
      `/v1/projects/p1/${step}`,
      `/${step}/v1/projects/p1`,
      `/v1/projects/p1/builds/${step}/${step}/${step}`,
    ]) {
      expectAmbiguous(target, await ask(target));
    }
  });

  it.each(SEPARATING)('RFC 3986 §3.3: a separator spelt %s', async (separator) => {
    for (const target of [
      `/v1/projects${separator}p1`,
      `/v1/projects/p1${separator}builds`,
      `/v1${separator}projects/p1`,
      `/v1/projects/p2/..${separator}p1`,
      `/v1/projects/p2${separator}..${separator}p1`,
    ]) {
      expectAmbiguous(target, await ask(target));
    }
  });

  it.each([
    '%20',
    '%2b',
    '%c3%a4',
    '%E4%BD%A0',
    '%f0%9f%98%80',
    '%e2%88%95',
    '%e2%81%84',
    '%26',
    '%3d',
    '%3f',
    '%23',
    '%40',
    '%25',
    '%2520',
    ';a=b',
    '...',
    '.a',
    '~',
    '*',
    "'",
    '(x)',
    '%62',
    '%7E',
  ])('RFC 3986 §2.1, §3.3: %s within a name is judged and sent as it is', async (spelling) => {
    for (const target of [`/v1/projects/p1/builds/b${spelling}c`, `/v1/projects/p1/builds/b${spelling}`]) {
      const outcome = await ask(target);
      expectAllowed(outcome);
      const { input } = outcome.record as { input: { request: { path: string } } };
      expect([outcome.upstream[0]?.target, input.request.path]).toEqual([target, target]);
    }
  });
});

describe('forms of targets and methods, without TLS and with', () => {
  const bare = (method: string, target: string) => plain.send({ method, target, lines: plain.lines(plain.token()) });

  it.each([
    'http://evil.example/v1/projects/p1',
    'https://evil.example/v1/projects/p1',
    'https://cloud.example.com:444/v1/projects/p1',
    'http://cloud.example.com/v1/projects/p1',
    'https://cloud.example.com.evil.example/v1/projects/p1',
    'https://evil.example@cloud.example.com/v1/projects/p1',
    'https://cloud.example.com@evil.example/v1/projects/p1',
    'https://[::1]/v1/projects/p1',
    'ftp://cloud.example.com/v1/projects/p1',
    'https:/cloud.example.com/v1/projects/p1',
    'https:cloud.example.com',
    'urn:x',
    '*',
  ])('RFC 9112 §3.2.2: %s is not ours', async (target) => expectAmbiguous(target, await bare('GET', target)));

  it.each(['https://cloud.example.com/v1/projects/p1', 'HTTPS://CLOUD.example.com/v1/projects/p1'])(
    'RFC 9112 §3.2.2: %s is ours, and sent in origin-form',
    async (target) => {
      const outcome = await bare('GET', target);
      expectAllowed(outcome);
      expect(outcome.upstream[0]?.target).toBe('/v1/projects/p1');
    },
  );

  it.each([
    ['OPTIONS', '*'],
    ['TRACE', '/v1/projects/p1'],
    ['TRACE', 'https://cloud.example.com/v1/projects/p1'],
    ['OPTIONS', '/v1/projects/p1'],
    ['PROPFIND', '/v1/projects/p1'],
    ['CONNECT', 'cloud.example.com:443'],
    ['CONNECT', 'evil.example:443'],
    ['CONNECT', '/v1/projects/p1'],
  ])('RFC 9110 §9.3: %s %s is not allowed', async (method, target) => {
    const { answer, problem, upstream } = await bare(method, target);
    expect([answer.status, problem?.['reason'], upstream]).toEqual([405, 'request.method_not_allowed', []]);
  });
});
