import type { Denial, Reason } from '../kernel/denial.ts';

/** What node:http says when it cannot read a request (`clientError`). */
export interface ParseError {
  readonly code?: string | undefined;
  /** The bytes in which the error was found. */
  readonly rawPacket?: Uint8Array | undefined;
  /** Where in them, in bytes; a packet may hold whole requests before the one that could not be read. */
  readonly bytesParsed?: number | undefined;
}

const REASONS_BY_CODE: Readonly<Record<string, Reason>> = {
  HPE_HEADER_OVERFLOW: 'request.headers_too_large',
  HPE_INVALID_URL: 'request.target_ambiguous',
  HPE_INVALID_CONTENT_LENGTH: 'request.framing',
  HPE_UNEXPECTED_CONTENT_LENGTH: 'request.framing',
  HPE_INVALID_TRANSFER_ENCODING: 'request.framing',
  HPE_INVALID_CHUNK_SIZE: 'request.framing',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'request.framing',
  HPE_INVALID_HEADER_TOKEN: 'request.header_malformed',
  HPE_UNEXPECTED_SPACE: 'request.header_malformed',
  HPE_INVALID_EOF_STATE: 'request.body_unreadable',
  ERR_HTTP_REQUEST_TIMEOUT: 'request.timeout',
};

/** A method as RFC 9110 §9.1 allows it, and a space: what follows may be a request with a method that node:http does not know. */
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} \S/;

const LINE_FEED = 10;

/** The refusal for a request that node:http could not read; null when the connection broke and there is nobody to answer. */
export function denialOfParseError({ code = '', rawPacket, bytesParsed = 0 }: ParseError): Denial | null {
  const known = REASONS_BY_CODE[code];
  if (known !== undefined) return { reason: known, note: code };
  if (!code.startsWith('HPE_')) return null;
  // Lower-case and unknown methods end here, and so does a TLS handshake sent to a plain port.
  const packet = rawPacket ?? new Uint8Array();
  const begin = packet.lastIndexOf(LINE_FEED, bytesParsed) + 1;
  const start = Buffer.from(packet.subarray(begin, begin + 80)).toString('latin1');
  const isMethod = code === 'HPE_INVALID_METHOD' && METHOD.test(start);
  return { reason: isMethod ? 'request.method_not_allowed' : 'request.malformed', note: code };
}
