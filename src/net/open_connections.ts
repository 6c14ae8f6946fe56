import type { Server, Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';

/** The connections of a server that are open. */
export interface OpenConnections {
  /** Those of TCP: also those whose TLS handshake is under way. */
  readonly sockets: ReadonlySet<Socket>;
  /** Those that requests are read from; the same where there is no TLS. */
  readonly streams: ReadonlySet<Socket>;
}

const OPEN = new WeakMap<Server, OpenConnections>();

/** The open connections of a server, known from the first call on: before it listens. */
export function openConnections(server: Server): OpenConnections {
  const known = OPEN.get(server);
  if (known !== undefined) return known;
  const sockets = collect(server, 'connection');
  const open = { sockets, streams: server instanceof TlsServer ? collect(server, 'secureConnection') : sockets };
  OPEN.set(server, open);
  return open;
}

function collect(server: Server, event: 'connection' | 'secureConnection'): ReadonlySet<Socket> {
  const open = new Set<Socket>();
  server.on(event, (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return open;
}
