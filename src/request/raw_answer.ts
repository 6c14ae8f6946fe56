import { STATUS_CODES } from 'node:http';
import type { Answer } from './answer.ts';

/**
 * An answer as bytes of HTTP/1.1, for a socket without a response object: after a parse error, an upgrade or CONNECT. The connection is
 * always closed after it.
 * @param now milliseconds since the Unix epoch
 */
export function formatAnswer(answer: Answer, now: number): string {
  let text = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}\r\nDate: ${new Date(now).toUTCString()}\r\n`;
  for (let index = 0; index < answer.headers.length; index += 2) {
    if (answer.headers[index] === 'Connection') continue;
    text += `${answer.headers[index]}: ${answer.headers[index + 1]}\r\n`;
  }
  return `${text}Connection: close\r\n\r\n${answer.body}`;
}
