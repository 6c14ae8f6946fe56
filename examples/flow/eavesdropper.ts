import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** One request, as it passed. */
export interface Overheard {
  readonly method: string;
  readonly target: string;
  /** The bytes of its head, with the empty line. */
  readonly head: string;
  /** A field of the head by its name in lower case; null where there is none. */
  field(name: string): string | null;
}

const HEAD = /(([A-Z]+) (\S+) HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n)/g;
/** Bytes of one connection that are kept. */
const MOST_BYTES = 1_048_576;

/** Somebody who stands between two parties, passes every byte on, and reads what is sent in one direction. */
export class Eavesdropper {
  readonly origin: string;
  /** Where the bytes go; set before the first connection. */
  port = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #read: Buffer[][] = [];

  private constructor(server: Server) {
    this.#server = server;
    this.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('connection', (socket) => this.#pass(socket));
  }

  static async start(port = 0): Promise<Eavesdropper> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const eavesdropper = new Eavesdropper(server);
    eavesdropper.port = port;
    return eavesdropper;
  }

  /** The requests that passed since the last time, connection by connection. */
  take(): Overheard[] {
    const texts = this.#read.map((chunks) => Buffer.concat(chunks.splice(0)).toString('latin1'));
    return texts.flatMap((text) =>
      [...text.matchAll(HEAD)].map(([, head = '', method = '', target = '']) => {
        const field = (name: string) => new RegExp(`^${name}: (.*)\\r$`, 'im').exec(head)?.[1] ?? null;
        return { method, target, head, field };
      }),
    );
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(socket: Socket): void {
    const other = connect(this.port, '127.0.0.1');
    const chunks: Buffer[] = [];
    this.#read.push(chunks);
    socket.on('data', (chunk: Buffer) => {
      if (chunks.reduce((sum, { length }) => sum + length, chunk.length) <= MOST_BYTES) chunks.push(chunk);
    });
    socket.pipe(other).pipe(socket);
    for (const end of [socket, other]) {
      this.#sockets.add(end);
      end.on('error', () => undefined).on('close', () => this.#sockets.delete(end));
    }
  }
}
