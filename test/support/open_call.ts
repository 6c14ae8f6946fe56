import { readAnswers } from '../security/answers.ts';
import { FLAG, FRAME, type FrameConnection, frame } from './http2_frames.ts';
import { HOST, type Http2Front, pseudo } from './http2_front.ts';
import type { TestJob } from './issuer.ts';
import { connectRawTls, type RawConnection } from './raw_connection.ts';

/** What callers speak. */
export const PROTOCOLS = ['HTTP/1.1', 'HTTP/2'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Bytes of a body in one frame of HTTP/2; together they may be as many as a window has, 65,535. */
const FRAME_BYTES = 16_000;

/** One call, as it is begun. */
export interface CallParts {
  readonly method?: string;
  readonly path: string;
  readonly token?: string;
  /** Whose key the token is bound to. Absent: the front's. */
  readonly job?: TestJob | undefined;
  readonly fields?: readonly (readonly [string, string])[];
  /** Beginning of a body; in HTTP/1.1 it is chunked unless `fields` name its length. Absent: there is none. */
  readonly body?: string;
  /** Whether the body ends there. Absent: yes. */
  readonly more?: boolean;
}

/** What the caller saw so far. */
export interface CallView {
  /** Null: nothing yet. */
  readonly status: number | null;
  /** Without chunk framing. */
  readonly body: string;
  /** Whether the answer came to the end that its framing says. */
  readonly whole: boolean;
  /** Whether it is known that no more will come although it is not whole. */
  readonly cut: boolean;
}

/** A call over TLS by hand, whose body and answer may last, in either protocol. */
export abstract class OpenCall {
  /** Begins a call with good credentials. */
  static async open(front: Http2Front, protocol: Protocol, parts: CallParts): Promise<OpenCall> {
    const { method = parts.body === undefined ? 'GET' : 'POST', path, token, job } = parts;
    const credentials = await front.credentials(method, path, token, job);
    const whole = { ...parts, method, fields: [...credentials, ...(parts.fields ?? [])] };
    if (protocol === 'HTTP/2') return new Http2Call(await front.connect(), whole);
    const socket = await connectRawTls(front.port, { ca: front.ca, servername: HOST });
    return new Http1Call(socket, whole);
  }

  abstract view(): CallView;
  abstract sendMore(body: string, end?: boolean): void;
  /** Whether the whole connection is over. */
  abstract get over(): boolean;
  abstract hangUp(): void;
}

type Whole = CallParts & { readonly method: string; readonly fields: readonly (readonly [string, string])[] };

class Http1Call extends OpenCall {
  readonly #connection: RawConnection;
  readonly #chunked: boolean;
  readonly #method: string;

  constructor(connection: RawConnection, { method, path, fields, body, more = false }: Whole) {
    super();
    this.#connection = connection;
    this.#method = method;
    this.#chunked = body !== undefined && !fields.some(([name]) => name.toLowerCase() === 'content-length');
    const all = [['Host', HOST], ...fields, ...(this.#chunked ? [['Transfer-Encoding', 'chunked']] : [])];
    const head = all.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    connection.send(`${method} ${path} HTTP/1.1\r\n${head}\r\n`);
    if (body !== undefined) this.sendMore(body, !more);
  }

  view(): CallView {
    const [answer] = readAnswers(this.#connection.received, [this.#method]).answers.filter(
      ({ status }) => status >= 200,
    );
    const whole = answer?.complete ?? false;
    return {
      status: answer?.status ?? null,
      body: answer?.body ?? '',
      whole,
      cut: !whole && this.over,
    };
  }

  sendMore(body: string, end = false): void {
    if (!this.#chunked) this.#connection.send(body);
    else {
      const chunk = body === '' ? '' : `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`;
      this.#connection.send(`${chunk}${end ? '0\r\n\r\n' : ''}`);
    }
  }

  get over(): boolean {
    return this.#connection.ended || this.#connection.socket.closed;
  }

  hangUp(): void {
    this.#connection.socket.destroy();
  }
}

class Http2Call extends OpenCall {
  readonly #connection: FrameConnection;

  constructor(connection: FrameConnection, { method, path, fields, body, more = false }: Whole) {
    super();
    this.#connection = connection;
    // A connection whose settings are never acknowledged ends.
    connection.send(frame(FRAME.SETTINGS, FLAG.ACK, 0));
    connection.request(1, [...pseudo({ method, path }), ...fields], body === undefined ? FLAG.END_STREAM : 0);
    if (body !== undefined) this.sendMore(body, !more);
  }

  view(): CallView {
    const { statuses, body, ended, reset } = this.#connection.answer(1);
    const status = statuses.find((each) => each >= 200) ?? null;
    return { status, body, whole: ended, cut: !ended && (reset !== null || this.over) };
  }

  sendMore(body: string, end = false): void {
    const bytes = Buffer.from(body);
    for (let at = 0; at === 0 || at < bytes.length; at += FRAME_BYTES) {
      const last = end && at + FRAME_BYTES >= bytes.length;
      const part = bytes.subarray(at, at + FRAME_BYTES);
      this.#connection.send(frame(FRAME.DATA, last ? FLAG.END_STREAM : 0, 1, part));
    }
  }

  get over(): boolean {
    return this.#connection.closed;
  }

  hangUp(): void {
    this.#connection.socket.destroy();
  }
}

/** The reason in a refusal; null where the body is none. */
export function refusalOf({ body }: CallView): string | null {
  return body.startsWith('{"type":"urn:sallyport:reason:') ? (JSON.parse(body) as { reason: string }).reason : null;
}
