/** One answer, cut out of the bytes of a connection the way a strict client does it. */
export interface Answer {
  readonly status: number;
  /** Status line and header section, without the empty line. */
  readonly head: string;
  /** Values by lower-case name, in order. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** Without chunk framing. */
  readonly body: string;
  /** Whether the body came to the end that its framing says; one that lasts until the connection closes never does. */
  readonly complete: boolean;
}

/** The answers on a connection, and what stands after the last of them: nothing, unless something went wrong. */
export interface Answers {
  readonly answers: readonly Answer[];
  readonly rest: string;
}

const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/;
const STATUS_LINE = /^HTTP\/1\.1 ([1-5][0-9]{2}) [\x20-\x7e]*$/;

/**
 * Cuts bytes (as latin1 text) into answers. Strict, so that a stray byte, a field on two lines or a second answer is seen.
 * `methods`: those of the requests, in order, since an answer to HEAD has no body; of requests past the list, GET.
 */
export function readAnswers(bytes: string, methods: readonly string[] = []): Answers {
  const answers: Answer[] = [];
  let finals = 0;
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return { answers, rest };
    const head = rest.slice(0, end);
    const read = readHead(head);
    if (read === null) return { answers, rest };
    const { status, headers } = read;
    const bodyless = status < 200 || status === 204 || status === 304 || methods[finals] === 'HEAD';
    const { body, used, complete } = bodyless ? NO_BODY : readBody(headers, rest.slice(end + 4));
    if (status >= 200) finals++;
    answers.push({ status, head, headers, body, complete });
    rest = rest.slice(end + 4 + used);
    if (!complete) return { answers, rest };
  }
}

interface Body {
  readonly body: string;
  readonly used: number;
  readonly complete: boolean;
}

const NO_BODY: Body = { body: '', used: 0, complete: true };

function readHead(head: string): Pick<Answer, 'status' | 'headers'> | null {
  const [line = '', ...fields] = head.split('\r\n');
  const status = STATUS_LINE.exec(line)?.[1];
  if (status === undefined) return null;
  const headers: Record<string, string[]> = Object.create(null);
  for (const field of fields) {
    const [, name, value] = FIELD.exec(field) ?? [];
    if (name === undefined || value === undefined) return null;
    headers[name.toLowerCase()] = [...(headers[name.toLowerCase()] ?? []), value];
  }
  return { status: Number(status), headers };
}

function readBody(headers: Answer['headers'], rest: string): Body {
  if (headers['transfer-encoding'] !== undefined) return readChunks(rest);
  const length = headers['content-length']?.[0];
  if (length === undefined) return { body: rest, used: rest.length, complete: false };
  const body = rest.slice(0, Number(length));
  return { body, used: body.length, complete: body.length === Number(length) };
}

function readChunks(rest: string): Body {
  let body = '';
  let at = 0;
  for (;;) {
    const [line = '', digits] = /^([0-9a-f]+)\r\n/i.exec(rest.slice(at)) ?? [];
    const start = at + line.length;
    const size = Number.parseInt(digits ?? '', 16);
    if (Number.isNaN(size) || !rest.startsWith('\r\n', start + size))
      return { body, used: rest.length, complete: false };
    body += rest.slice(start, start + size);
    at = start + size + 2;
    if (size === 0) return { body, used: at, complete: true };
  }
}
