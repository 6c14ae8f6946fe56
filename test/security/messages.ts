import { BUILDS, PROJECT } from './wire.ts';

/** Templates of requests (see `Wire.fill`), good but for what a case adds. `fields`: header lines, each with its line end. */

/** A GET with good credentials. */
export function get(fields = '', path: string = PROJECT): string {
  return `GET ${path} HTTP/1.1\r\nHost: {host}\r\n{auth GET ${withoutQuery(path)}}${fields}\r\n`;
}

/** A POST with good credentials and whatever follows its header section. */
export function post(fields: string, body = ''): string {
  return `POST ${BUILDS} HTTP/1.1\r\nHost: {host}\r\n{auth POST ${BUILDS}}${fields}\r\n${body}`;
}

/** A POST whose body is chunked: `body` is everything after the header section, chunk framing included. */
export function chunked(body: string, fields = ''): string {
  return post(`Transfer-Encoding: chunked\r\n${fields}`, body);
}

/** A GET without credentials. */
export const ANONYMOUS = `GET ${PROJECT} HTTP/1.1\r\nHost: {host}\r\n\r\n`;

/** The same message in another version of HTTP. */
export function version(template: string, to: string): string {
  return template.replace('HTTP/1.1', to);
}

/** With another first line: `method` and `target` are put in place of those that the proof is for. */
export function requestLine(template: string, line: string): string {
  return line + template.slice(template.indexOf('\r\n'));
}

function withoutQuery(path: string): string {
  return path.split('?')[0] as string;
}
