import { once } from 'node:events';
import http2, { type ClientHttp2Session } from 'node:http2';
import { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { FLAG, FRAME, frame, headerBlock, headerFrames, PREFACE } from './http2_frames.ts';
import type { RawAnswer } from './raw_client.ts';
import { connectRaw, RawConnection } from './raw_connection.ts';

/** How requests get to a gateway. */
export type TransportName = 'HTTP/1.1' | 'TLS' | 'HTTP/2';

/** All of them. */
export const TRANSPORTS: readonly TransportName[] = ['HTTP/1.1', 'TLS', 'HTTP/2'];

/** A request as it stands in a case, whatever carries it. */
export interface PlainRequest {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  /** Header lines, `Name: value`, as latin1 text. */
  readonly lines: readonly string[];
  readonly body: string;
}

/** Sends requests one at a time, each as it is: nothing of it is repaired on its way. */
export interface Transport {
  send(request: PlainRequest): Promise<RawAnswer>;
  close(): void;
}

/** Opens a transport to a port of this machine. */
export function openTransport(name: TransportName, port: number): Transport {
  switch (name) {
    case 'HTTP/1.1':
      return overHttp1(() => connectRaw(port));
    case 'TLS':
      return overHttp1(resuming(port));
    case 'HTTP/2':
      return new Http2Transport(port);
  }
}

/** Each request alone on its connection, as bytes. */
function overHttp1(open: () => Promise<RawConnection>): Transport {
  return {
    async send({ method, target, host, lines, body }) {
      const connection = await open();
      const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
      const head = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...length, ...lines];
      connection.send(Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1'));
      await connection.closed();
      const [answer, ...more] = connection.answers;
      if (answer === undefined || more.length > 0) throw new Error(`not one answer: ${connection.received}`);
      return answer;
    },
    close: () => undefined,
  };
}

/** TLS connections, of which all but the first resume the session of one before. */
function resuming(port: number): () => Promise<RawConnection> {
  let session: Buffer | undefined;
  return async () => {
    const ticket = session === undefined ? {} : { session };
    const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ...ticket });
    socket.on('session', (next) => {
      session = next;
    });
    await once(socket, 'secureConnect');
    return new RawConnection(socket);
  };
}

/** One connection, one stream for each request. */
class Http2Transport implements Transport {
  readonly #port: number;
  #client: Promise<LiteralClient> | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  async send(request: PlainRequest): Promise<RawAnswer> {
    this.#client ??= LiteralClient.connect(this.#port);
    let client = await this.#client;
    if (client.closed) {
      this.#client = LiteralClient.connect(this.#port);
      client = await this.#client;
    }
    return client.send(request);
  }

  close(): void {
    void this.#client?.then((client) => client.close());
  }
}

/**
 * A client whose requests are written by hand, frame by frame, so that fields arrive as a case has them, repeated and malformed ones too, and
 * whose answers are read by node:http2: what that writes for a request is replaced on its way.
 */
class LiteralClient {
  readonly #socket: TLSSocket;
  readonly #session: ClientHttp2Session;
  /** The frames of the request that is next, for its stream. */
  #next: (stream: number) => Buffer = () => Buffer.alloc(0);

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    const cut = cutFrames();
    const wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        for (const { bytes, type, stream } of cut(chunk)) {
          socket.write(type === FRAME.HEADERS ? this.#next(stream) : bytes);
        }
        done();
      },
    });
    socket.on('data', (chunk) => wire.push(chunk));
    socket.on('close', () => wire.destroy());
    this.#session = http2.connect('https://127.0.0.1', { createConnection: () => wire });
    this.#session.on('error', () => undefined);
  }

  static async connect(port: number): Promise<LiteralClient> {
    const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    socket.on('error', () => undefined);
    return new LiteralClient(socket);
  }

  get closed(): boolean {
    return this.#session.closed || this.#session.destroyed || this.#socket.destroyed;
  }

  close(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  send({ method, target, host, lines, body }: PlainRequest): Promise<RawAnswer> {
    const bytes = Buffer.from(body, 'latin1');
    const fields = [
      [':method', method],
      [':scheme', 'https'],
      [':authority', host],
      [':path', target],
    ];
    if (bytes.length > 0) fields.push(['content-length', String(bytes.length)]);
    const block = headerBlock([...fields, ...lines.map(fieldOf)] as [string, string][]);
    this.#next = (stream) =>
      bytes.length === 0
        ? headerFrames(stream, block, FLAG.END_STREAM)
        : Buffer.concat([headerFrames(stream, block, 0), frame(FRAME.DATA, FLAG.END_STREAM, stream, bytes)]);
    return new Promise((resolve, reject) => {
      // Of the same method, so that node:http2 knows whether the answer has a body.
      const stream = this.#session.request({ ':method': method === 'HEAD' ? 'HEAD' : 'GET', ':path': '/' });
      let answer: Omit<RawAnswer, 'body'> | null = null;
      const chunks: Buffer[] = [];
      stream.on('response', (_headers, _flags, ...rest) => {
        answer = readHead(rest[0] as unknown as string[]);
      });
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('close', () => {
        if (answer === null) reject(new Error(`no answer: the stream was reset with ${stream.rstCode}`));
        else resolve({ ...answer, body: Buffer.concat(chunks).toString('latin1') });
      });
      stream.end();
    });
  }
}

/** RFC 9113 §8.2.1: names in lower case, no white space around values. */
function fieldOf(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')];
}

function readHead(rawHeaders: readonly string[]): Omit<RawAnswer, 'body'> {
  const headers: Record<string, string[]> = {};
  const lines: string[] = [];
  let status = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2);
    if (name === ':status') status = Number(value);
    else headers[name] = [...(headers[name] ?? []), value];
    lines.push(`${name}: ${value}`);
  }
  return { status, headers, head: lines.join('\r\n') };
}

/** A frame as it was written, or the preface, which is none. */
interface WrittenFrame {
  readonly bytes: Buffer;
  readonly type: number | null;
  readonly stream: number;
}

/** Cuts what a client writes into frames. */
function cutFrames(): (chunk: Buffer) => WrittenFrame[] {
  let rest: Buffer = Buffer.alloc(0);
  let begun = false;
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const frames: WrittenFrame[] = [];
    for (;;) {
      const size = begun ? (rest.length < 9 ? Number.POSITIVE_INFINITY : 9 + rest.readUIntBE(0, 3)) : PREFACE.length;
      if (rest.length < size) return frames;
      const bytes = rest.subarray(0, size);
      frames.push({ bytes, type: begun ? (bytes[3] ?? 0) : null, stream: begun ? bytes.readUInt32BE(5) : 0 });
      rest = rest.subarray(size);
      begun = true;
    }
  };
}
