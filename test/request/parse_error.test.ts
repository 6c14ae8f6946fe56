import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import type { Denial } from '../../src/kernel/denial.ts';
import { createAnswers } from '../../src/request/answer.ts';
import { denialOfParseError, type ParseError } from '../../src/request/parse_error.ts';
import { formatAnswer } from '../../src/request/raw_answer.ts';
import { makeRoute } from './fixtures.ts';
import { exchange, type HttpFixture, serve } from './http_fixture.ts';

const fixtures: HttpFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.close();
});

/** What node:http makes of the bytes, through its own parser: the reason, and the first line that the caller gets. */
async function refusalOf(parts: (string | Buffer)[]): Promise<{ reason: string; line: string }> {
  const denials: (Denial | null)[] = [];
  const answers = createAnswers({ algorithms: ['ES256'], certificates: false, routes: [makeRoute()] });
  const fixture = await serve(
    (message, response) => {
      message.resume();
      response.writeHead(204, { connection: 'close' }).end();
    },
    (server) => {
      server.headersTimeout = 200;
      server.requestTimeout = 200;
      server.on('clientError', (error: ParseError, socket: Duplex) => {
        const denial = denialOfParseError(error);
        denials.push(denial);
        if (denial === null) return socket.destroy();
        const answer = answers({ denial, route: null, scheme: null, decisionId: 'd', method: '' });
        return socket.end(formatAnswer(answer, 0));
      });
    },
  );
  fixtures.push(fixture);
  const received = await exchange(fixture.port, parts);
  return { reason: denials[0]?.reason ?? 'passed', line: received.slice(0, received.indexOf('\r\n')) };
}

const H = 'Host: cloud.example.com\r\n';
const CHUNKED = `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n`;

describe('what node:http cannot read gets a reason and an answer', () => {
  it.each<[string, string, string, number]>([
    ['lower-case method', `get / HTTP/1.1\r\n${H}\r\n`, 'request.method_not_allowed', 405],
    ['unknown method', `FOO / HTTP/1.1\r\n${H}\r\n`, 'request.method_not_allowed', 405],
    ['mixed-case method', `Get / HTTP/1.1\r\n${H}\r\n`, 'request.method_not_allowed', 405],
    ['TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'request.malformed', 400],
    ['garbage', '\0\0\0\0\r\n\r\n', 'request.malformed', 400],
    ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'request.malformed', 400],
    ['SSH', 'SSH-2.0-OpenSSH_9.0\r\n', 'request.malformed', 400],
    ['version 1.2', `GET / HTTP/1.2\r\n${H}\r\n`, 'request.malformed', 400],
    ['version in lower case', `GET / http/1.1\r\n${H}\r\n`, 'request.malformed', 400],
    ['bare LF', `GET / HTTP/1.1\n${H}\n`, 'request.malformed', 400],
    ['space in the target', `GET /a b HTTP/1.1\r\n${H}\r\n`, 'request.malformed', 400],
    ['tab in the target', `GET /a\tb HTTP/1.1\r\n${H}\r\n`, 'request.target_ambiguous', 400],
    ['NUL in the target', `GET /a\0b HTTP/1.1\r\n${H}\r\n`, 'request.target_ambiguous', 400],
    ['UTF-8 in the target', `GET /\xc3\xa9 HTTP/1.1\r\n${H}\r\n`, 'request.target_ambiguous', 400],
    ['authority form', `GET cloud.example.com:443 HTTP/1.1\r\n${H}\r\n`, 'request.target_ambiguous', 400],
    ['no slash', `GET v1 HTTP/1.1\r\n${H}\r\n`, 'request.target_ambiguous', 400],
    ['obs-fold', `GET / HTTP/1.1\r\n${H}A: b\r\n c\r\n\r\n`, 'request.header_malformed', 400],
    ['field before the first', `GET / HTTP/1.1\r\n A: b\r\n${H}\r\n`, 'request.header_malformed', 400],
    ['space before the colon', `GET / HTTP/1.1\r\n${H}A : b\r\n\r\n`, 'request.header_malformed', 400],
    ['no name', `GET / HTTP/1.1\r\n${H}: b\r\n\r\n`, 'request.header_malformed', 400],
    ['no colon', `GET / HTTP/1.1\r\n${H}A\r\n\r\n`, 'request.header_malformed', 400],
    ['NUL in a field', `GET / HTTP/1.1\r\n${H}A: b\0c\r\n\r\n`, 'request.header_malformed', 400],
    ['control in a field', `GET / HTTP/1.1\r\n${H}A: b\x01c\r\n\r\n`, 'request.header_malformed', 400],
    ['bare CR in a field', `GET / HTTP/1.1\r\n${H}A: b\rX: y\r\n\r\n`, 'request.malformed', 400],
    ['bare LF in a field', `GET / HTTP/1.1\r\n${H}A: b\nX: y\r\n\r\n`, 'request.malformed', 400],
    [
      'CL then TE',
      `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
      'request.framing',
      400,
    ],
    [
      'TE then CL',
      `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n`,
      'request.framing',
      400,
    ],
    ['two CL', `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\nContent-Length: 0\r\n\r\n`, 'request.framing', 400],
    ['signed CL', `POST / HTTP/1.1\r\n${H}Content-Length: +5\r\n\r\n`, 'request.framing', 400],
    ['list of CL', `POST / HTTP/1.1\r\n${H}Content-Length: 5, 5\r\n\r\n`, 'request.framing', 400],
    [
      'CL beyond 64 bits',
      `POST / HTTP/1.1\r\n${H}Content-Length: 18446744073709551621\r\n\r\n`,
      'request.framing',
      400,
    ],
    [
      'TE twice',
      `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
      'request.framing',
      400,
    ],
    [
      'large header section',
      `GET / HTTP/1.1\r\n${H}A: ${'x'.repeat(20_000)}\r\n\r\n`,
      'request.headers_too_large',
      431,
    ],
    ['large target', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${H}\r\n`, 'request.headers_too_large', 431],
    ['incomplete header section', `GET / HTTP/1.1\r\n${H}`, 'request.timeout', 408],
  ])('%s', async (_, text, reason, status) => {
    const refusal = await refusalOf([Buffer.from(text, 'latin1')]);
    expect(refusal.reason).toBe(reason);
    expect(refusal.line).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  it.each([
    ['hex prefix', '0x1\r\nx\r\n0\r\n\r\n'],
    ['sign', '+1\r\nx\r\n0\r\n\r\n'],
    ['no digits', 'zz\r\nx\r\n'],
    ['beyond 64 bits', 'fffffffffffffffff1\r\nx\r\n'],
    ['space in the size', '1 1\r\nx\r\n'],
    ['extensions without end', `1;${'a'.repeat(20_000)}\r\nx\r\n`],
  ])('request.framing: chunk size, %s', async (_, body) => {
    expect((await refusalOf([CHUNKED, body])).reason).toBe('request.framing');
  });

  it('a broken connection has nobody to answer', () => {
    for (const code of ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', '', undefined]) {
      expect(denialOfParseError({ code })).toBeNull();
    }
  });

  it('an unknown code of the parser is still a malformed request, and no note has bytes of the caller', () => {
    const denial = denialOfParseError({ code: 'HPE_NEW', rawPacket: Buffer.from('SECRET') });
    expect(denial).toEqual({ reason: 'request.malformed', note: 'HPE_NEW' });
  });
});
