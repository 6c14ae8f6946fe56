import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { HeaderSection } from './header_section.ts';

/** How the request ends, in its one reading. */
export interface Framing {
  /** Whether a body of at least one byte is announced; a chunked one counts. */
  readonly hasBody: boolean;
  /** True when the caller asks to switch to WebSocket (RFC 6455 §4.1). */
  readonly websocket: boolean;
}

/** What the end of a message is judged by, beside its header section. */
export interface FramedMessage {
  readonly method?: string | undefined;
  /** `1.0`, `1.1`, `2`. */
  readonly httpVersion: string;
  /** Of HTTP/2, where frames say where a body ends: whether there is one. */
  readonly announcesBody?: boolean | undefined;
}

/** RFC 9110 §8.6 without what can be read in another base: sign, leading zero, list. 15 digits are exact in a double. */
const LENGTH = /^(?:0|[1-9][0-9]{0,14})$/;
/** RFC 9112 §7: codings are compared without case. A list, an empty element in it and a parameter are other readings (RFC 9110 §5.6.1). */
const CHUNKED = /^chunked$/i;
const DIGITS = /^[1-9][0-9]*$/;

const NO_BODY: Framing = { hasBody: false, websocket: false };
const BODY: Framing = { hasBody: true, websocket: false };
const WEBSOCKET: Framing = { hasBody: false, websocket: true };

/**
 * Judges where the request ends (RFC 9112 §6), and what it expects and asks for.
 * Refuses with `request.malformed`, `request.framing`, `request.body_too_large` and `request.expectation_unsupported`.
 */
export function judgeFraming(
  headers: HeaderSection,
  message: FramedMessage,
  maximumBodyBytes: number,
): Checked<Framing> {
  const { contentLength, transferEncoding, expect } = headers;
  const modern = message.httpVersion === '1.1' || message.httpVersion === '2';
  if (!modern && message.httpVersion !== '1.0') return deny('request.malformed', 'HTTP version');
  if (transferEncoding !== null) {
    // RFC 9113 §8.2.2: nghttp2 lets none through.
    if (message.httpVersion === '2') return deny('request.framing', 'Transfer-Encoding in HTTP/2');
    // RFC 9112 §6.1: both together are an attempt at smuggling or look like one; HTTP/1.0 knows no transfer coding.
    if (contentLength !== null) return deny('request.framing', 'Content-Length beside Transfer-Encoding');
    if (!modern) return deny('request.framing', 'Transfer-Encoding with HTTP/1.0');
    if (!CHUNKED.test(transferEncoding)) return deny('request.framing', 'Transfer-Encoding is not chunked');
  }
  if (contentLength !== null && !LENGTH.test(contentLength)) {
    const huge = DIGITS.test(contentLength);
    return huge ? deny('request.body_too_large') : deny('request.framing', 'Content-Length is not a decimal number');
  }
  const length = contentLength === null ? 0 : Number(contentLength);
  if (length > maximumBodyBytes) return deny('request.body_too_large');
  // RFC 9110 §10.1.1: nothing else is defined; HTTP/1.0 has no expectations, so they are ignored there.
  if (expect !== null && modern && expect.toLowerCase() !== '100-continue')
    return deny('request.expectation_unsupported');
  const hasBody = bodyFollows(headers, message, length);
  if (message.httpVersion !== '1.1' || !asksForWebSocket(headers, message.method ?? ''))
    return pass(hasBody ? BODY : NO_BODY);
  // After the switch the bytes of a body would be the first frames for one reader and a body for another.
  if (hasBody || transferEncoding !== null) return deny('request.framing', 'body with a protocol upgrade');
  return pass(WEBSOCKET);
}

function bodyFollows(
  { contentLength, transferEncoding }: HeaderSection,
  message: FramedMessage,
  length: number,
): boolean {
  if (message.announcesBody === undefined) return transferEncoding !== null || length > 0;
  // nghttp2 resets streams whose DATA frames are not as long as Content-Length says (RFC 9113 §8.1.1).
  return message.announcesBody && (contentLength === null || length > 0);
}

/** RFC 9110 §7.8: Upgrade counts only where Connection names it. Other protocols than WebSocket are never switched to. */
function asksForWebSocket(headers: HeaderSection, method: string): boolean {
  if (headers.upgrade === null || headers.connection === null || method !== 'GET') return false;
  if (headers.upgrade.trim().toLowerCase() !== 'websocket') return false;
  return headers.connection.split(',').some((option) => option.trim().toLowerCase() === 'upgrade');
}
