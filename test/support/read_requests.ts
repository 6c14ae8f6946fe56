/** One request as a strict HTTP/1.1 server would cut it out of the bytes of a connection (RFC 9112 §6). */
export interface RecordedRequest {
  /** The request line and the header section, without the empty line. */
  readonly head: string;
  readonly method: string;
  readonly target: string;
  /** In order, names as they were sent. */
  readonly headers: readonly (readonly [string, string])[];
  /** As latin1 text, without chunk framing. */
  readonly body: string;
  /** The body came to its end. */
  readonly complete: boolean;
}

/** Cuts the bytes of a connection into requests: the oracle for "at most one request upstream". Independent of any HTTP library. */
export function readRequests(bytes: string): RecordedRequest[] {
  return cutRequests(bytes).requests;
}

/** The same, with what stands after the last request whose header section is complete. */
export function cutRequests(bytes: string): { readonly requests: RecordedRequest[]; readonly rest: string } {
  const requests: RecordedRequest[] = [];
  let rest = bytes;
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) break;
    const head = rest.slice(0, end);
    const [line = '', ...lines] = head.split('\r\n');
    const [method = '', target = ''] = line.split(' ');
    const headers = lines.map((field) => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon), field.slice(colon + 1).trim()] as const;
    });
    const { body, used, complete } = readBody(headers, rest.slice(end + 4));
    requests.push({ head, method, target, headers, body, complete });
    rest = rest.slice(end + 4 + used);
  }
  return { requests, rest };
}

/** The values of a header field, in order. */
export function valuesOf(request: RecordedRequest | undefined, name: string): string[] {
  return (request?.headers ?? [])
    .filter(([field]) => field.toLowerCase() === name.toLowerCase())
    .map(([, value]) => value);
}

interface Body {
  readonly body: string;
  readonly used: number;
  readonly complete: boolean;
}

function readBody(headers: readonly (readonly [string, string])[], rest: string): Body {
  const value = (name: string) => headers.find(([field]) => field.toLowerCase() === name)?.[1];
  if (value('transfer-encoding') !== undefined) return readChunks(rest);
  const length = Number(value('content-length') ?? 0);
  return { body: rest.slice(0, length), used: Math.min(length, rest.length), complete: rest.length >= length };
}

function readChunks(rest: string): Body {
  let body = '';
  let at = 0;
  for (;;) {
    const end = rest.indexOf('\r\n', at);
    if (end === -1) return { body, used: rest.length, complete: false };
    const size = Number.parseInt(rest.slice(at, end), 16);
    if (Number.isNaN(size)) throw new Error(`not a chunk: ${rest.slice(at, end)}`);
    const next = end + 2 + size + 2;
    if (rest.length < next) return { body: body + rest.slice(end + 2), used: rest.length, complete: false };
    if (size === 0) return { body, used: next, complete: true };
    body += rest.slice(end + 2, end + 2 + size);
    at = next;
  }
}
