import type { Denial } from '../kernel/denial.ts';

/** Ends a request body that grew past what the gateway or the policy allows. */
export class BodyTooLarge extends Error {
  readonly code = 'BODY_TOO_LARGE';
}

/** Ends an exchange whose answer nobody waits for any more; never seen outside of `forward/`. */
export const ABANDONED = new Error('abandoned');

/** What a connection reset is called once a connection stands: see upstream.ts. */
export const RESET = 'EUPSTREAMRESET';

const TIMEOUTS: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
]);

/** The gateway is closing its connections to upstreams. */
const STOPPING: ReadonlySet<string> = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED']);

/** Codes of Node.js and OpenSSL for a handshake that failed or a certificate that was not accepted. */
const TLS =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_PURPOSE|INVALID_CA|PATH_LENGTH_EXCEEDED|ERROR_IN_CERT_|EPROTO$)/;

/** Codes for a use of undici or Node.js that is a mistake of the gateway's own. */
const MISUSE = /^(?:UND_ERR_INVALID_|UND_ERR_NOT_SUPPORTED|ERR_)/;

/** undici's words for an answer that no request asked for: 100 without Expect, 101 without Upgrade (RFC 9110 §15.2). */
const UNASKED: ReadonlySet<string> = new Set(['bad response', 'bad upgrade']);

/** How far an exchange had come when it failed: a connection was awaited, the request was handed to one, the answer had begun. */
export type Phase = 'connecting' | 'sent' | 'answered';

/** The denial for an error on the way to the upstream and back; null for what nobody expected, a mistake of the gateway's own. */
export function denialOf(error: unknown, phase: Phase): Denial | null {
  const { name, code, message } = error as Partial<NodeJS.ErrnoException>;
  if (name === 'HTTPParserError' || code?.startsWith('HPE_')) return ofParser(code, message ?? '');
  if (code === undefined) return null;
  if (code === 'BODY_TOO_LARGE') return { reason: 'request.body_too_large' };
  if (code === 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH') return { reason: 'request.body_unreadable', note: code };
  if (STOPPING.has(code)) return { reason: 'forward.stopping' };
  if (TIMEOUTS.has(code)) return { reason: 'forward.upstream_timeout', note: code };
  if (TLS.test(code)) return { reason: 'forward.upstream_tls', note: code };
  if (code === 'UPSTREAM_WITHOUT_HTTP2') return { reason: 'forward.upstream_invalid', note: 'no HTTP/2' };
  if (MISUSE.test(code)) return null;
  if (phase === 'connecting') return { reason: 'forward.upstream_unreachable', note: code };
  if (isInvalid(code, message ?? '', phase)) return { reason: 'forward.upstream_invalid', note: message ?? code };
  return { reason: 'forward.upstream_broken', note: code };
}

/** Where the bytes ended too early the parser says so; all else were bytes that are not HTTP. */
function ofParser(code: string | undefined, message: string): Denial {
  const cut = /EOF/.test(message) || code === 'HPE_INVALID_EOF_STATE';
  return { reason: cut ? 'forward.upstream_broken' : 'forward.upstream_invalid', note: message };
}

function isInvalid(code: string, message: string, phase: Phase): boolean {
  if (code === 'UND_ERR_SOCKET') return UNASKED.has(message);
  // Before the answer began it is not the body that does not fit its length: the length itself makes no sense.
  if (code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return phase === 'sent';
  return code === 'UND_ERR_HEADERS_OVERFLOW';
}
