import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { FLAG, FRAME, type Frame, frame, headerBlock, PREFACE } from './http2_frames.ts';

/** What an upstream does with one request. */
export type FrameBehaviour = (connection: FrameUpstreamConnection, stream: number) => void;

/** One connection of the gateway to it. */
export class FrameUpstreamConnection {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, onRequest: FrameBehaviour) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => this.#take(chunk, onRequest));
    this.send(frame(FRAME.SETTINGS, 0, 0));
  }

  send(...parts: readonly Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(parts));
  }

  /** A header section of an answer, as it is given. */
  headers(stream: number, fields: readonly (readonly [string, string])[], flags: number = 0): void {
    this.send(frame(FRAME.HEADERS, FLAG.END_HEADERS | flags, stream, headerBlock(fields)));
  }

  data(stream: number, text: string, flags: number = 0): void {
    this.send(frame(FRAME.DATA, flags, stream, Buffer.from(text)));
  }

  #take(chunk: Buffer, onRequest: FrameBehaviour): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    if (
      this.frames.length === 0 &&
      this.#rest.length >= PREFACE.length &&
      this.#rest.subarray(0, PREFACE.length).equals(PREFACE)
    )
      this.#rest = this.#rest.subarray(PREFACE.length);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      const [type = 0, flags = 0] = [this.#rest[3], this.#rest[4]];
      const stream = this.#rest.readUInt32BE(5) & 0x7fffffff;
      this.frames.push({ type, flags, stream, payload: this.#rest.subarray(9, 9 + length) });
      this.#rest = this.#rest.subarray(9 + length);
      if (type === FRAME.SETTINGS && (flags & FLAG.ACK) === 0) this.send(frame(FRAME.SETTINGS, FLAG.ACK, 0));
      if (type === FRAME.HEADERS) onRequest(this, stream);
    }
  }
}

/** An upstream on which frames of HTTP/2 are written by hand. */
export class FrameUpstream {
  readonly connections: FrameUpstreamConnection[] = [];
  behaviour: FrameBehaviour = answerOk;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((socket) => {
      this.connections.push(new FrameUpstreamConnection(socket, (...request) => this.behaviour(...request)));
    });
  }

  static async start(): Promise<FrameUpstream> {
    const upstream = new FrameUpstream();
    upstream.#server.listen(0, '127.0.0.1');
    await once(upstream.#server, 'listening');
    return upstream;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many requests came. */
  get requests(): number {
    return this.connections.flatMap(({ frames }) => frames).filter(({ type }) => type === FRAME.HEADERS).length;
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** A whole answer. */
export const answerOk: FrameBehaviour = (connection, stream) => {
  connection.headers(stream, [
    [':status', '200'],
    ['content-length', '2'],
  ]);
  connection.data(stream, 'ok', FLAG.END_STREAM);
};
