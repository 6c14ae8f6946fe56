import { connect, type TLSSocket } from 'node:tls';

/** Frame types (RFC 9113 §6). */
export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

/** Flags of frames; ACK is that of SETTINGS and PING. */
export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;

/** Error codes (RFC 9113 §7). */
export const ERROR = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const;

/** Bytes of a frame's payload that every peer takes (RFC 9113 §6.5.2). */
const MAXIMUM_FRAME = 16_384;

/** What a client says first (RFC 9113 §3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** One frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A frame as bytes, whatever is in it. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A number of 32 bits, as RST_STREAM and WINDOW_UPDATE carry it. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Settings as they are sent: identifiers and values in turn (RFC 9113 §6.5.1). */
export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  return Buffer.concat(
    pairs.map(([id, value]) => {
      const bytes = Buffer.alloc(6);
      bytes.writeUInt16BE(id, 0);
      bytes.writeUInt32BE(value, 2);
      return bytes;
    }),
  );
}

/**
 * A header block (RFC 7541): literals without indexing and without Huffman coding, so that names and values are sent just as they are
 * given, in any order, as often as wanted.
 */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.of(0), text(name), text(value)])));
}

/** A header block in one HEADERS frame and as many CONTINUATION frames as it takes; `flags` without END_HEADERS. */
export function headerFrames(stream: number, block: Buffer, flags: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += MAXIMUM_FRAME) {
    const last = at + MAXIMUM_FRAME >= block.length ? FLAG.END_HEADERS : 0;
    const part = block.subarray(at, at + MAXIMUM_FRAME);
    parts.push(
      at === 0 ? frame(FRAME.HEADERS, flags | last, stream, part) : frame(FRAME.CONTINUATION, last, stream, part),
    );
  }
  return Buffer.concat(parts);
}

/** A literal with incremental indexing: the decoder puts it into its dynamic table (RFC 7541 §6.2.1). */
export function indexedLiteral(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0x40), text(name), text(value)]);
}

/** An integer with a prefix (RFC 7541 §5.1). */
export function integer(value: number, prefixBits: number, first = 0): Buffer {
  const maximum = 2 ** prefixBits - 1;
  if (value < maximum) return Buffer.of(first | value);
  const bytes = [first | maximum];
  let rest = value - maximum;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(bytes.length, 7), bytes]);
}

/** The status at the start of a header block of an answer; NaN when it stands nowhere where servers put it. */
export function statusOf(block: Buffer): number {
  // The decoder's table may have been resized first (RFC 7541 §6.3).
  let at = 0;
  while (((block[at] ?? 0) & 0xe0) === 0x20) at++;
  const first = block[at] ?? 0;
  const known = [200, 204, 206, 304, 400, 404, 500][first - 0x88];
  if (known !== undefined) return known;
  if (first !== 0x48 && first !== 0x08 && first !== 0x18) return Number.NaN;
  const length = block[at + 1] ?? 0;
  const bytes = block.subarray(at + 2, at + 2 + (length & 0x7f));
  return Number((length & 0x80) === 0 ? bytes.toString('latin1') : huffmanDigits(bytes));
}

/** Three digits: 0 to 2 are coded in five bits, 3 to 9 in six (RFC 7541 appendix B). */
function huffmanDigits(bytes: Buffer): string {
  let bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let digits = '';
  while (digits.length < 3 && bits.length >= 5) {
    const short = Number.parseInt(bits.slice(0, 5), 2);
    const size = short <= 2 ? 5 : 6;
    digits += short <= 2 ? String(short) : String(Number.parseInt(bits.slice(0, 6), 2) - 0x19 + 3);
    bits = bits.slice(size);
  }
  return digits;
}

/** What came on one stream. */
export interface StreamAnswer {
  /** Of each header section: interim answers, the answer; trailers have NaN. */
  readonly statuses: readonly number[];
  readonly body: string;
  readonly ended: boolean;
  /** Error code of the RST_STREAM that ended it; null: none came. */
  readonly reset: number | null;
}

/** A connection to a server on which frames are written by hand. */
export class FrameConnection {
  readonly socket: TLSSocket;
  readonly frames: Frame[] = [];
  closed = false;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
    });
  }

  /** Connects with ALPN; without `quiet` the preface and empty settings are sent. */
  static connect(
    port: number,
    { alpn = ['h2'], quiet = false }: { readonly alpn?: string[]; readonly quiet?: boolean } = {},
  ): Promise<FrameConnection> {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port, ALPNProtocols: alpn, rejectUnauthorized: false };
      const socket = connect(options, () => {
        const connection = new FrameConnection(socket);
        if (!quiet) connection.send(PREFACE, frame(FRAME.SETTINGS, 0, 0));
        resolve(connection);
      });
      socket.once('error', reject);
    });
  }

  send(...parts: readonly Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(parts));
  }

  /** A request without a body, or the beginning of one with a body. */
  request(stream: number, fields: readonly (readonly [string, string])[], flags: number = FLAG.END_STREAM): void {
    this.send(headerFrames(stream, headerBlock(fields), flags));
  }

  /** A request with its whole body in one DATA frame. */
  requestWithBody(stream: number, fields: readonly (readonly [string, string])[], body: string): void {
    this.send(
      headerFrames(stream, headerBlock(fields), 0),
      frame(FRAME.DATA, FLAG.END_STREAM, stream, Buffer.from(body)),
    );
  }

  /** What came on a stream so far. */
  answer(stream: number): StreamAnswer {
    const own = this.frames.filter((each) => each.stream === stream);
    const reset = own.find(({ type }) => type === FRAME.RST_STREAM);
    return {
      statuses: own.filter(({ type }) => type === FRAME.HEADERS).map(({ payload }) => statusOf(payload)),
      body: Buffer.concat(own.filter(({ type }) => type === FRAME.DATA).map(({ payload }) => payload)).toString('utf8'),
      ended: own.some(
        ({ type, flags }) => (type === FRAME.HEADERS || type === FRAME.DATA) && (flags & FLAG.END_STREAM) !== 0,
      ),
      reset: reset === undefined ? null : reset.payload.readUInt32BE(0),
    };
  }

  /** Error codes of the GOAWAY frames that came. */
  get goaways(): number[] {
    return this.frames.filter(({ type }) => type === FRAME.GOAWAY).map(({ payload }) => payload.readUInt32BE(4));
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      this.frames.push({
        type: this.#rest[3] as number,
        flags: this.#rest[4] as number,
        stream: this.#rest.readUInt32BE(5) & 0x7fffffff,
        payload: this.#rest.subarray(9, 9 + length),
      });
      this.#rest = this.#rest.subarray(9 + length);
    }
  }
}
