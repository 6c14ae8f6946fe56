import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';

/** The header fields that stage 1 judges, from one pass over the header section. Null: not sent. */
export interface HeaderSection {
  readonly host: string;
  readonly authorization: string | null;
  /** True when Authorization was sent more than once. */
  readonly authorizationRepeated: boolean;
  readonly proof: string | null;
  /** True when DPoP was sent more than once. */
  readonly proofRepeated: boolean;
  readonly contentLength: string | null;
  readonly transferEncoding: string | null;
  /** Repeated fields are joined with a comma (RFC 9110 §5.3), as for the two that follow. */
  readonly expect: string | null;
  readonly connection: string | null;
  readonly upgrade: string | null;
}

/** Bounds on a header section; as in the configuration's `limits`. */
export interface SectionLimits {
  /** Number of fields. */
  readonly headers: number;
  /** Bytes of names and values. */
  readonly header_bytes: number;
}

/** Octets that HTTP/2 counts for each field beside its name and value (RFC 9113 §6.5.2). */
const FIELD_OVERHEAD = 32;

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 §5.5: field values have no control characters but the tab; CR and LF would be obs-fold (RFC 9112 §5.2). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the point.
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;

const AT_AN_END = /^[\t ]|[\t ]$/;

/**
 * Reads the header section from `rawHeaders`: Node.js itself drops a second Authorization, joins two DPoP headers and takes two Hosts.
 * @param authority `:authority` of HTTP/2, which stands for Host (RFC 9113 §8.3.1); null: not sent; undefined: HTTP/1.1, where node:http has
 * counted the bytes
 * Refuses with `request.too_many_headers`, `request.headers_too_large`, `request.header_malformed`, `request.header_repeated`, `request.host_malformed` and
 * `request.framing`. A repeated Authorization or DPoP is noted only: their refusals carry the challenge of the route, which is not known yet.
 */
export function readHeaderSection(
  rawHeaders: readonly string[],
  limits: SectionLimits,
  authority?: string | null,
): Checked<HeaderSection> {
  if (rawHeaders.length > limits.headers * 2) return deny('request.too_many_headers');
  if (authority !== undefined && listSize(rawHeaders) > limits.header_bytes) return deny('request.headers_too_large');
  let host: string | null = null;
  let authorization: string | null = null;
  let authorizationRepeated = false;
  let proof: string | null = null;
  let proofRepeated = false;
  let contentLength: string | null = null;
  let transferEncoding: string | null = null;
  let contentType: string | null = null;
  let expect: string | null = null;
  let connection: string | null = null;
  let upgrade: string | null = null;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    if (!TOKEN.test(name)) return deny('request.header_malformed', 'field name');
    const lowerName = name.toLowerCase();
    // RFC 9113 §8.2.1: of HTTP/1.1, the parser has taken it away (RFC 9112 §5).
    if (authority !== undefined && AT_AN_END.test(value)) {
      return deny('request.header_malformed', 'white space around a field value');
    }
    // Token and proof are most of the bytes, and are held to a narrower alphabet by those who read them.
    if (lowerName !== 'authorization' && lowerName !== 'dpop' && CONTROL.test(value)) {
      return deny('request.header_malformed', 'control character in a field value');
    }
    switch (lowerName) {
      case 'host':
        if (host !== null) return deny('request.host_malformed', 'Host repeated'); // RFC 9112 §3.2
        host = value;
        break;
      case 'authorization':
        authorizationRepeated = authorization !== null;
        authorization = value;
        break;
      case 'dpop':
        proofRepeated = proof !== null;
        proof = value;
        break;
      case 'content-length':
        // RFC 9112 §6.3: equal values could be taken as one; a sender that repeats them is not one to trust with framing.
        if (contentLength !== null) return deny('request.framing', 'Content-Length repeated');
        contentLength = value;
        break;
      case 'transfer-encoding':
        if (transferEncoding !== null) return deny('request.framing', 'Transfer-Encoding repeated');
        transferEncoding = value;
        break;
      case 'content_length':
      case 'transfer_encoding':
        // CGI and its kin read `_` as `-`, and would frame the request by a field that nobody before them has looked at.
        return deny('request.framing', 'alias of a framing field');
      case 'content-type':
        if (contentType !== null) return deny('request.header_repeated', 'Content-Type repeated');
        contentType = value;
        break;
      case 'expect':
        expect = join(expect, value);
        break;
      case 'connection':
        connection = join(connection, value);
        break;
      case 'upgrade':
        upgrade = join(upgrade, value);
        break;
    }
  }
  if (authority !== undefined && authority !== null) {
    // RFC 9113 §8.3.1: two readings where they differ.
    if (host !== null && host.toLowerCase() !== authority.toLowerCase()) {
      return deny('request.host_malformed', 'Host is not :authority');
    }
    host = authority;
  }
  // RFC 9112 §3.2 demands it of HTTP/1.1; without it an HTTP/1.0 request names no route either.
  if (host === null) return deny('request.host_malformed', 'Host missing');
  return pass({
    host,
    authorization,
    authorizationRepeated,
    proof,
    proofRepeated,
    contentLength,
    transferEncoding,
    expect,
    connection,
    upgrade,
  });
}

/** RFC 9113 §6.5.2: the size of a field section, uncompressed. */
function listSize(rawHeaders: readonly string[]): number {
  let size = (rawHeaders.length / 2) * FIELD_OVERHEAD;
  for (const text of rawHeaders) size += text.length;
  return size;
}

function join(before: string | null, value: string): string {
  return before === null ? value : `${before}, ${value}`;
}
