import type { Server } from 'node:http';

/**
 * Stops a server without losing a request: no new connections, idle ones closed, requests under way finished; what is left after
 * `graceMs` milliseconds is cut.
 * @returns true when nothing had to be cut
 */
export function stopServer(server: Server, graceMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    const limit = setTimeout(() => {
      clearInterval(idle);
      server.closeAllConnections();
      resolve(false);
    }, graceMs);
    server.close(() => {
      clearInterval(idle);
      clearTimeout(limit);
      resolve(true);
    });
    server.closeIdleConnections();
  });
}
