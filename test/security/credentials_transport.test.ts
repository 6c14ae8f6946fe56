import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ANONYMOUS, get, post } from './messages.ts';
import { answersOn, BUILDS, PROJECT, Wire } from './wire.ts';
import { type Expected, passes, refused, runCase, type WireCase } from './wire_case.ts';

const GET_LINE = `GET ${PROJECT}`;
const ALLOWED = passes(GET_LINE);
const MISSING = refused(401, 'request.credentials_missing');
const MALFORMED = refused(400, 'request.credentials_malformed');
const REPEATED = refused(400, 'request.credentials_repeated');
const UNSUPPORTED = refused(401, 'request.scheme_unsupported');
const IN_QUERY = refused(400, 'request.credentials_in_query');
const IN_BODY = refused(400, 'request.credentials_in_body');
const NO_PROOF = refused(401, 'proof.missing');
const BAD_PROOF = refused(401, 'proof.malformed');
const BAD_TOKEN = refused(401, 'token.malformed');

const TOKEN = 'Authorization: DPoP {token}\r\n';
const PROOF = `DPoP: {proof ${GET_LINE}}\r\n`;

/** A GET with these header lines and no other credentials. */
const sent = (name: string, lines: string, answer: Expected, path: string = PROJECT): WireCase => ({
  name,
  send: `GET ${path} HTTP/1.1\r\nHost: {host}\r\n${lines}\r\n`,
  answers: [answer],
  closes: false,
});

const authorization: WireCase[] = [
  sent('RFC 6750 §3.1: no credentials', '', MISSING),
  sent('RFC 6750 §3.1: a proof and no token', PROOF, MISSING),
  sent('RFC 9110 §5.1: the name in any case', `aUTHORIZATION: DPoP {token}\r\n${PROOF}`, ALLOWED),
  sent('RFC 9110 §11.1: the scheme in any case', `Authorization: dPoP {token}\r\n${PROOF}`, ALLOWED),
  sent('RFC 9110 §11.4: several blanks after the scheme', `Authorization: DPoP   {token}\r\n${PROOF}`, ALLOWED),
  sent('RFC 9110 §5.5: blanks around the value', `Authorization: \t DPoP {token} \t\r\n${PROOF}`, ALLOWED),
  sent('RFC 6750 §2: twice, equal', TOKEN + TOKEN + PROOF, REPEATED),
  sent('RFC 6750 §2: twice, in other cases', `${TOKEN}authorization: DPoP {token}\r\n${PROOF}`, REPEATED),
  sent('RFC 6750 §2: a good one and an empty one', `${TOKEN}Authorization:\r\n${PROOF}`, REPEATED),
  sent('RFC 6750 §2: Basic and a good one', `Authorization: Basic dTpw\r\n${TOKEN}${PROOF}`, REPEATED),
  sent('RFC 6750 §2: three', TOKEN + TOKEN + TOKEN + PROOF, REPEATED),
  sent('RFC 6750 §2: two in one field', `Authorization: DPoP {token}, DPoP {token}\r\n${PROOF}`, MALFORMED),
  sent('RFC 6750 §2: two schemes in one field', `Authorization: DPoP {token}, Bearer {token}\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: empty', `Authorization:\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: the scheme alone', `Authorization: DPoP\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: the token alone', `Authorization: {token}\r\n${PROOF}`, UNSUPPORTED),
  sent('RFC 9110 §11.4: a tab after the scheme', `Authorization: DPoP\t{token}\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: a colon after the scheme', `Authorization: DPoP: {token}\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: a word after the token', `Authorization: DPoP {token} x\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: a comma after the token', `Authorization: DPoP {token},\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: the token in quotes', `Authorization: DPoP "{token}"\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: the token as a parameter', `Authorization: DPoP token="{token}"\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.4: a byte above ASCII after the token', `Authorization: DPoP {token}\xe4\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.1: Basic', 'Authorization: Basic dTpw\r\n', UNSUPPORTED),
  sent('RFC 9110 §11.1: Digest', 'Authorization: Digest username="u"\r\n', UNSUPPORTED),
  sent('RFC 9110 §11.1: Negotiate', 'Authorization: Negotiate YII=\r\n', UNSUPPORTED),
  sent('RFC 9110 §11.1: two schemes', `Authorization: Bearer DPoP {token}\r\n${PROOF}`, MALFORMED),
  sent('RFC 9110 §11.1: a scheme of other letters', `Authorization: DP0P {token}\r\n${PROOF}`, UNSUPPORTED),
  sent('RFC 7515 §5.2: padding', `Authorization: DPoP {token}==\r\n${PROOF}`, BAD_TOKEN),
  sent('RFC 7515 §5.2: one part', `Authorization: DPoP abc\r\n${PROOF}`, BAD_TOKEN),
  sent('RFC 7515 §5.2: five parts', `Authorization: DPoP a.b.c.d.e\r\n${PROOF}`, BAD_TOKEN),
  sent('RFC 7515 §5.2: dots', `Authorization: DPoP ..\r\n${PROOF}`, BAD_TOKEN),
  sent(
    'RFC 9449 §4.2: the proof as token',
    `Authorization: DPoP {proof ${GET_LINE}}\r\n${PROOF}`,
    refused(401, 'token.type'),
  ),
  sent(
    'RFC 9449 §7.2: a bound token under Bearer',
    'Authorization: Bearer {token}\r\n',
    refused(401, 'proof.bound_token_as_bearer'),
  ),
  sent(
    'RFC 9449 §7.2: a bound token under Bearer, with a good proof',
    `Authorization: Bearer {token}\r\n${PROOF}`,
    refused(401, 'proof.bound_token_as_bearer'),
  ),
];

const proofs: WireCase[] = [
  sent('RFC 9449 §4.3 check 1: none', TOKEN, NO_PROOF),
  sent('RFC 9449 §4.3 check 1: the name in any case', `${TOKEN}dpOp: {proof ${GET_LINE}}\r\n`, ALLOWED),
  sent('RFC 9449 §4.3 check 1: twice', TOKEN + PROOF + PROOF, refused(401, 'request.proof_repeated')),
  sent(
    'RFC 9449 §4.3 check 1: twice, the first empty',
    `${TOKEN}DPoP:\r\n${PROOF}`,
    refused(401, 'request.proof_repeated'),
  ),
  sent(
    'RFC 9449 §4.3 check 1: twice, in other cases',
    `${TOKEN}${PROOF}dpop: x\r\n`,
    refused(401, 'request.proof_repeated'),
  ),
  sent(
    'RFC 9449 §4.3 check 1: two in one field',
    `${TOKEN}DPoP: {proof ${GET_LINE}}, {proof ${GET_LINE}}\r\n`,
    BAD_PROOF,
  ),
  sent('RFC 9449 §4.3 check 1: under an alias with a good one', `${TOKEN}${PROOF}DPoP_: x\r\n`, ALLOWED),
  sent('RFC 9449 §4.3 check 2: empty', `${TOKEN}DPoP:\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 2: a word', `${TOKEN}DPoP: proof\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 2: a blank at its start', `${TOKEN}DPoP: x {proof ${GET_LINE}}\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 2: padding', `${TOKEN}DPoP: {proof ${GET_LINE}}=\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 2: with its scheme', `${TOKEN}DPoP: DPoP {proof ${GET_LINE}}\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 2: as JSON', `${TOKEN}DPoP: {"payload":"e30","signatures":[]}\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 2: 10 kB of one letter', `${TOKEN}DPoP: ${'a'.repeat(10_000)}\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 2: 10 kB of dots', `${TOKEN}DPoP: ${'.'.repeat(10_000)}\r\n`, BAD_PROOF),
  sent('RFC 9449 §4.3 check 4: the token as proof', `${TOKEN}DPoP: {token}\r\n`, refused(401, 'proof.type')),
  sent(
    'RFC 9449 §4.3 check 8: for another method',
    `${TOKEN}DPoP: {proof POST ${PROJECT}}\r\n`,
    refused(401, 'proof.method'),
  ),
  sent(
    'RFC 9449 §4.3 check 8: for the method in lower case',
    `${TOKEN}DPoP: {proof get ${PROJECT}}\r\n`,
    refused(401, 'proof.method'),
  ),
  sent(
    'RFC 9449 §4.3 check 9: for another path',
    `${TOKEN}DPoP: {proof GET ${PROJECT}/}\r\n`,
    refused(401, 'proof.target'),
  ),
  sent(
    'RFC 9449 §4.3 check 9: for the path in upper case',
    `${TOKEN}DPoP: {proof GET /V1/projects/p1}\r\n`,
    refused(401, 'proof.target'),
  ),
  sent('RFC 9449 §4.3 check 9: Host has no effect on htu', `${TOKEN}${PROOF}X-Forwarded-Host: other\r\n`, ALLOWED),
];

/** RFC 6750 §2.3: the gateway takes no token from the target, whatever stands in the header. */
const queries: WireCase[] = [
  ['access_token={token}', ''],
  ['access_token={token}', TOKEN + PROOF],
  ['a=b&access_token={token}', TOKEN + PROOF],
  ['%61ccess_token={token}', TOKEN + PROOF],
  ['access%5Ftoken={token}', TOKEN + PROOF],
  ['access_token=', TOKEN + PROOF],
  ['access_token', TOKEN + PROOF],
  ['access_token=x&access_token=y', TOKEN + PROOF],
].map(([query = '', lines = ''], index) =>
  sent(
    `RFC 6750 §2.3: ${query}, ${index === 0 ? 'alone' : 'beside the header'}`,
    lines,
    IN_QUERY,
    `${PROJECT}?${query}`,
  ),
);

const FORM = 'Content-Type: application/x-www-form-urlencoded\r\n';
const form = (name: string, fields: string, body: string, answer: Expected, anonymous = false): WireCase => {
  const message = post(`${fields}Content-Length: ${body.length}\r\n`, body);
  const send = anonymous ? message.replace(/\{auth [^}]+\}/, '') : message;
  return { name: `RFC 6750 §2.2: ${name}`, send, answers: [answer], closes: false };
};
const POSTED = (body: string) => passes(`POST ${BUILDS}`, body);

const forms: WireCase[] = [
  form('a token in a form', FORM, 'access_token=abc', IN_BODY),
  form('a token in a form, and none in the header', FORM, 'access_token=abc', IN_BODY, true),
  form('a token among other parameters', FORM, 'a=b&access_token=abc&c=d', IN_BODY),
  form('a token under an encoded name', FORM, 'a=b&%61ccess%5ftoken=abc', IN_BODY),
  form('a token without a value', FORM, 'access_token', IN_BODY),
  form('a token in a form with a charset', FORM.replace('\r\n', '; charset=utf-8\r\n'), 'access_token=abc', IN_BODY),
  form('a token in a form whose type is in upper case', FORM.toUpperCase(), 'access_token=abc', IN_BODY),
  form('a token behind 10 kB', FORM, `a=${'b'.repeat(10_000)}&access_token=abc`, IN_BODY),
  form(
    'a form without a token passes, byte for byte',
    FORM,
    'a=b&access_tokens=c&token=d',
    POSTED('a=b&access_tokens=c&token=d'),
  ),
  form('a form of 40 kB passes, byte for byte', FORM, `a=${'b'.repeat(40_000)}`, POSTED(`a=${'b'.repeat(40_000)}`)),
  form('a form without a token and without credentials', FORM, 'a=b', MISSING, true),
  form(
    'JSON that has such a member passes',
    'Content-Type: application/json\r\n',
    '{"access_token":"abc"}',
    POSTED('{"access_token":"abc"}'),
  ),
  form(
    'a form is left alone that says it is something else',
    'Content-Type: text/plain\r\n',
    'access_token=abc',
    POSTED('access_token=abc'),
  ),
];

/** Where a token is not looked for, and from where it goes nowhere. */
const elsewhere: WireCase[] = [
  ['Proxy-Authorization', 'Proxy-Authorization: DPoP {token}\r\n'],
  ['X-Forwarded-Authorization', 'X-Forwarded-Authorization: DPoP {token}\r\n'],
  ['X-Original-Authorization', 'X-Original-Authorization: DPoP {token}\r\n'],
  ['a cookie', 'Cookie: access_token={token}\r\n'],
  ['Sallyport-Token', 'Sallyport-Token: {token}\r\n'],
  ['DPoP', 'DPoP: {token}\r\n'],
  ['Client-Cert', 'Client-Cert: :{token}:\r\n'],
].flatMap(([place = '', line = '']) => [
  sent(`RFC 6750 §2: a token in ${place} is none`, line, MISSING),
  ...(place === 'DPoP'
    ? []
    : [sent(`RFC 6750 §2: a token in ${place} does not reach the upstream`, TOKEN + PROOF + line, ALLOWED)]),
]);

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start();
});
afterAll(() => wire.close());
afterEach(() => wire.hangUp());

describe.each([
  ['Authorization', authorization],
  ['DPoP', proofs],
  ['a token in the query', queries],
  ['a token in a form', forms],
  ['a token elsewhere', elsewhere],
])('%s', (_family, cases) => {
  it.each(cases)('$name', (each) => runCase(wire, each));
});

describe('a proof is good for one request', () => {
  const twice = async (messages: readonly string[]) => {
    const connection = await wire.connect();
    connection.send(messages.join(''));
    const { answers, rest } = await answersOn(connection, messages.length);
    expect(rest).toBe('');
    return answers.map(({ status, body }) => (status === 200 ? 200 : (JSON.parse(body) as { reason: string }).reason));
  };

  it('RFC 9449 §11.1: the same bytes again, on the same connection', async () => {
    const mark = wire.upstreamMark();
    const message = await wire.fill(get());
    expect(await twice([message, message, message])).toEqual([200, 'proof.replayed', 'proof.replayed']);
    expect(
      wire
        .upstreamSince(mark)
        .join('')
        .match(/ HTTP\/1\.1\r\n/g),
    ).toHaveLength(1);
    expect((await wire.nextRecords(3)).map(({ reason }) => reason)).toEqual([null, 'proof.replayed', 'proof.replayed']);
  });

  it('RFC 9449 §11.1: the same bytes on forty connections at once', async () => {
    const mark = wire.upstreamMark();
    const message = await wire.fill(get());
    const outcomes = (await Promise.all(Array.from({ length: 40 }, () => twice([message])))).flat();
    expect(outcomes.filter((outcome) => outcome === 200)).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'proof.replayed')).toHaveLength(39);
    expect(
      wire
        .upstreamSince(mark)
        .join('')
        .match(/ HTTP\/1\.1\r\n/g),
    ).toHaveLength(1);
    expect(await wire.nextRecords(40)).toHaveLength(40);
  });

  it('RFC 9449 §11.1: a request that is refused before the proof was looked at burns nothing', async () => {
    const message = await wire.fill(get());
    const broken = message.replace('\r\n\r\n', '\r\nAuthorization: x\r\n\r\n');
    expect(await twice([broken, message])).toEqual(['request.credentials_repeated', 200]);
    expect(await wire.nextRecords(2)).toHaveLength(2);
  });
});

describe('challenges', () => {
  it.each([
    ['no credentials', ANONYMOUS, /^DPoP algs="[A-Za-z0-9 ]+", resource_metadata="[^"]+"$/],
    [
      'no proof',
      get().replace(/\{auth [^}]+\}/, TOKEN),
      /^DPoP error="invalid_dpop_proof", error_description="[^"\\]+", algs="[^"]+", resource_metadata="[^"]+"$/,
    ],
    [
      'a bad token',
      get().replace(/\{auth [^}]+\}/, 'Authorization: DPoP abc\r\n'),
      /^DPoP error="invalid_token", error_description="[^"\\]+", algs="[^"]+", resource_metadata="[^"]+"$/,
    ],
    [
      'two credentials',
      get(TOKEN),
      /^DPoP error="invalid_request", error_description="[^"\\]+", algs="[^"]+", resource_metadata="[^"]+"$/,
    ],
  ])('RFC 6750 §3, RFC 9449 §7.1: %s', async (_name, template, pattern) => {
    const connection = await wire.connect();
    connection.send(await wire.fill(template));
    const { answers } = await answersOn(connection, 1);
    // The scheme in error stands first; another that the route takes may follow (RFC 9110 §11.6.1).
    expect(answers[0]?.headers['www-authenticate']?.[0]).toMatch(pattern);
    expect(await wire.nextRecords(1)).toHaveLength(1);
  });
});
