import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { type RawAnswer, readAnswers } from './raw_client.ts';

/** One side of a TCP connection, byte for byte: what came, and what is sent. */
export class RawConnection {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  #ended = false;
  #reset = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      socket.emit('progress');
    });
    socket.on('end', () => {
      this.#ended = true;
      socket.emit('progress');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reset = error.code === 'ECONNRESET';
    });
    socket.on('close', () => socket.emit('progress'));
  }

  /** Everything that came, as latin1 text. */
  get received(): string {
    return Buffer.concat(this.#chunks).toString('latin1');
  }

  /** Everything that came, as answers. */
  get answers(): RawAnswer[] {
    return readAnswers(Buffer.concat(this.#chunks));
  }

  /** The peer ended its side in order. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The peer reset the connection. */
  get wasReset(): boolean {
    return this.#reset;
  }

  /** Sends bytes as they are; strings as latin1. */
  send(data: string | Buffer): void {
    if (!this.socket.destroyed) this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  /** Ends our side. */
  end(): void {
    this.socket.end();
  }

  /** Resets the connection. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** Waits until the condition holds for what came so far; fails when the connection is over before that. */
  async until(condition: string | ((connection: RawConnection) => boolean)): Promise<void> {
    const holds = typeof condition === 'string' ? () => this.received.includes(condition) : condition;
    while (!holds(this)) {
      if (this.socket.closed) throw new Error(`the connection was over before ${condition}: ${this.received}`);
      await this.#next('progress');
    }
  }

  /** Waits until the connection is over. */
  async closed(): Promise<void> {
    if (!this.socket.closed) await this.#next('close');
  }

  #next(event: string): Promise<void> {
    return new Promise((resolve) => this.socket.once(event, () => resolve()));
  }
}

/** Connects to a port of this machine. */
export async function connectRaw(
  port: number,
  options: { readonly allowHalfOpen?: boolean } = {},
): Promise<RawConnection> {
  const socket = connect({ host: '127.0.0.1', port, ...options });
  const connection = new RawConnection(socket);
  await once(socket, 'connect');
  return connection;
}

/** Connects to a TLS port of this machine; the handshake is done. Fails with the error that ended it. */
export async function connectRawTls(port: number, options: ConnectionOptions): Promise<RawConnection> {
  const socket = connectTls({ host: '127.0.0.1', port, ...options });
  await once(socket, 'secureConnect');
  return new RawConnection(socket);
}
