import type { Server } from 'node:http';
import { Server as NetServer } from 'node:net';
import { http2ConnectionsOf } from './http2_sessions.ts';
import { openConnections } from './open_connections.ts';

/** How a server is stopped. */
export interface StopOptions {
  /** Milliseconds that requests under way may take. */
  readonly graceMs: number;
  /** Milliseconds in which a request that is on its way on an idle connection may still arrive. Absent: none. */
  readonly quietMs?: number;
  /** Whether a request is under way, asked when the grace time is over. Absent: every connection counts as one. */
  readonly busy?: () => boolean;
  /** Called when the grace time is over and requests are under way: they should end now, so that callers still get an answer. */
  readonly hurry?: () => void;
}

/** Milliseconds between two looks for connections that became idle. */
const LOOK_EVERY_MS = 50;
/** Milliseconds that callers have to take the last answers after the grace time. */
const LAST_ANSWERS_MS = 500;

/**
 * Stops a server without losing a request: no new connections, those that are idle or never said anything are closed, requests under way
 * are finished; what is left after the grace time is cut.
 * @returns true when no request had to be cut
 */
export async function stopServer(
  server: Server,
  { graceMs, quietMs = 0, busy = () => true, hurry }: StopOptions,
): Promise<boolean> {
  const { sockets, streams } = openConnections(server);
  const quietUntil = performance.now() + quietMs;
  const closeIdle = () => {
    if (performance.now() < quietUntil) return;
    server.closeIdleConnections();
    for (const connection of http2ConnectionsOf(server)) connection.close();
    for (const stream of streams) if (stream.bytesRead === 0) stream.destroy();
  };
  let whole = true;
  const looking = setInterval(closeIdle, LOOK_EVERY_MS);
  const cut = () => {
    server.closeAllConnections();
    for (const socket of sockets) socket.destroy();
  };
  let limit = setTimeout(() => {
    whole = !busy();
    if (whole || hurry === undefined) return cut();
    hurry();
    limit = setTimeout(cut, LAST_ANSWERS_MS);
  }, graceMs);
  // node:http would end idle connections at once.
  const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(server, () => resolve()));
  closeIdle();
  await closed;
  clearInterval(looking);
  clearTimeout(limit);
  // Ends what node:http does from time to time; nothing is left for it to close.
  server.close();
  return whole;
}
