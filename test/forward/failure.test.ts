import { describe, expect, it } from 'vitest';
import { denialOf, type Phase } from '../../src/forward/failure.ts';

function failure(code: string | undefined, message = 'text', name = 'Error'): Error {
  return Object.assign(new Error(message), { name }, code === undefined ? {} : { code });
}

describe('what an error on the way to the upstream means', () => {
  it.each<[string, string, Phase, string]>([
    ['ENOTFOUND', 'text', 'connecting', 'forward.upstream_unreachable'],
    ['EAI_AGAIN', 'text', 'connecting', 'forward.upstream_unreachable'],
    ['ECONNREFUSED', 'text', 'connecting', 'forward.upstream_unreachable'],
    ['EHOSTUNREACH', 'text', 'connecting', 'forward.upstream_unreachable'],
    ['EMFILE', 'text', 'connecting', 'forward.upstream_unreachable'],
    ['ECONNRESET', 'text', 'connecting', 'forward.upstream_unreachable'],
    ['ETIMEDOUT', 'text', 'connecting', 'forward.upstream_timeout'],
    ['UND_ERR_CONNECT_TIMEOUT', 'text', 'connecting', 'forward.upstream_timeout'],
    ['UND_ERR_HEADERS_TIMEOUT', 'text', 'sent', 'forward.upstream_timeout'],
    ['UND_ERR_BODY_TIMEOUT', 'text', 'answered', 'forward.upstream_timeout'],
    ['CERT_HAS_EXPIRED', 'text', 'connecting', 'forward.upstream_tls'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'text', 'connecting', 'forward.upstream_tls'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'text', 'connecting', 'forward.upstream_tls'],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'text', 'connecting', 'forward.upstream_tls'],
    ['EPROTO', 'text', 'connecting', 'forward.upstream_tls'],
    ['EPIPE', 'text', 'sent', 'forward.upstream_broken'],
    ['UND_ERR_SOCKET', 'other side closed', 'sent', 'forward.upstream_broken'],
    ['UND_ERR_SOCKET', 'bad response', 'sent', 'forward.upstream_invalid'],
    ['UND_ERR_SOCKET', 'bad upgrade', 'sent', 'forward.upstream_invalid'],
    ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'text', 'sent', 'forward.upstream_invalid'],
    ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'text', 'answered', 'forward.upstream_broken'],
    ['UND_ERR_HEADERS_OVERFLOW', 'text', 'sent', 'forward.upstream_invalid'],
    ['HPE_INVALID_HEADER_TOKEN', 'text', 'sent', 'forward.upstream_invalid'],
    ['HPE_INVALID_EOF_STATE', 'text', 'answered', 'forward.upstream_broken'],
    ['UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', 'text', 'sent', 'request.body_unreadable'],
    ['BODY_TOO_LARGE', 'text', 'sent', 'request.body_too_large'],
    ['UND_ERR_DESTROYED', 'text', 'connecting', 'forward.stopping'],
    ['UND_ERR_CLOSED', 'text', 'connecting', 'forward.stopping'],
  ])('%s (%s) while %s is %s', (code, message, phase, reason) => {
    expect(denialOf(failure(code, message), phase)).toMatchObject({ reason });
  });

  it.each([
    ['Response does not match the HTTP/1.1 protocol (Invalid header token)', 'forward.upstream_invalid'],
    ['Response does not match the HTTP/1.1 protocol (Invalid EOF state)', 'forward.upstream_broken'],
  ])("undici's parser, which may not give a code: %s is %s", (message, reason) => {
    expect(denialOf(failure(undefined, message, 'HTTPParserError'), 'sent')).toEqual({ reason, note: message });
  });

  it.each([
    [failure(undefined)],
    [new TypeError('x is not a function')],
    [failure('UND_ERR_INVALID_ARG')],
    [failure('UND_ERR_NOT_SUPPORTED')],
    [failure('ERR_ASSERTION')],
    [failure('ERR_INVALID_ARG_TYPE')],
  ])('a mistake of the gateway is no fault of the upstream: %s', (error) => {
    expect(denialOf(error, 'sent')).toBeNull();
  });
});
