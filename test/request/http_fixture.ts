import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import net, { type AddressInfo } from 'node:net';

/** A real server on loopback, for what only a real connection shows. */
export interface HttpFixture {
  readonly port: number;
  close(): Promise<void>;
}

/** Starts it; every handler may reject, which fails the request and is rethrown by `close`. */
export async function serve(
  handler: (message: IncomingMessage, response: ServerResponse) => Promise<void> | void,
  prepare: (server: http.Server) => void = () => {},
): Promise<HttpFixture> {
  let failure: unknown;
  const listener = (message: IncomingMessage, response: ServerResponse) => {
    Promise.resolve(handler(message, response)).catch((error: unknown) => {
      failure = error;
      response.destroy();
    });
  };
  const server = http.createServer({ requireHostHeader: false, connectionsCheckingInterval: 50 }, listener);
  server.on('checkContinue', listener);
  prepare(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve, reject) => {
        server.close(() => (failure === undefined ? resolve() : reject(failure)));
        server.closeAllConnections();
      }),
  };
}

/** Sends parts, each once the one before was written, and gives everything that came back until the server closed. */
export function exchange(port: number, parts: readonly (string | Buffer)[], hangUp = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    let received = '';
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      received += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
    const send = (index: number) => {
      const part = parts[index];
      if (part === undefined) {
        if (hangUp) socket.destroy();
        return;
      }
      socket.write(part, () => setImmediate(send, index + 1));
    };
    socket.on('connect', () => send(0));
  });
}
