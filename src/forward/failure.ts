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

/** The answer ended before it was complete, as a parser says it. */
const CUT: ReadonlySet<string> = new Set(['HPE_INVALID_EOF_STATE', 'HPE_CLOSED_CONNECTION']);

/** Codes of Node.js and OpenSSL for a handshake that failed or a certificate that was not accepted. */
const TLS =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_PURPOSE|INVALID_CA|PATH_LENGTH_EXCEEDED|ERROR_IN_CERT_|EPROTO$)/;

/** undici's words for an answer that no request asked for: 100 without Expect, 101 without Upgrade (RFC 9110 §15.2). */
const UNASKED: ReadonlySet<string> = new Set(['bad response', 'bad upgrade']);

/**
 * The denial for an error on the way to the upstream. `connected`: a connection stood and the request was handed to it, so the error is
 * about the answer. Null for what nobody expected, a mistake of the gateway's own.
 */
export function denialOf(error: unknown, connected: boolean): Denial | null {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string') return null;
  if (code === 'BODY_TOO_LARGE') return { reason: 'request.body_too_large' };
  if (code === 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH') return { reason: 'request.body_unreadable', note: code };
  if (STOPPING.has(code)) return { reason: 'forward.stopping' };
  if (TIMEOUTS.has(code)) return { reason: 'forward.upstream_timeout', note: code };
  if (TLS.test(code)) return { reason: 'forward.upstream_tls', note: code };
  if (/^(?:UND_ERR_INVALID_|UND_ERR_NOT_SUPPORTED|ERR_)/.test(code)) return null;
  if (!connected) return { reason: 'forward.upstream_unreachable', note: code };
  if (isInvalid(code, message)) return { reason: 'forward.upstream_invalid', note: code };
  return { reason: 'forward.upstream_broken', note: code };
}

function isInvalid(code: string, message: unknown): boolean {
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return true;
  if (code === 'UND_ERR_SOCKET') return UNASKED.has(message as string);
  return code.startsWith('HPE_') && !CUT.has(code);
}
