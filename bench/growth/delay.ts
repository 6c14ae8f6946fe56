import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';

/** A TCP relay that holds what it passes back: half of the time on each way. */
export interface Delay {
  readonly port: number;
  close(): void;
}

/** Starts one in front of a port of this machine. @param milliseconds what it adds to a round trip */
export async function startDelay(to: number, milliseconds: number): Promise<Delay> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: to, host: '127.0.0.1', noDelay: true });
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      holdBack(from, into, milliseconds / 2);
      from.on('error', () => into.destroy()).on('close', () => sockets.delete(from) && into.destroy());
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Timers are good to a millisecond; what is due sooner is waited for turn by turn. */
function holdBack(from: Socket, into: Socket, milliseconds: number): void {
  const waiting: { due: number; chunk: Buffer }[] = [];
  const pass = () => {
    const now = performance.now();
    while (waiting[0] !== undefined && waiting[0].due <= now) into.write(waiting.shift()?.chunk as Buffer);
    if (waiting.length > 0) setImmediate(pass);
  };
  from.on('data', (chunk: Buffer) => {
    waiting.push({ due: performance.now() + milliseconds, chunk });
    if (waiting.length === 1) setImmediate(pass);
  });
}
