import type { Server } from 'node:net';

/**
 * Starts to listen.
 * @returns the port, which the system chose when 0 was asked for
 * @throws Error that says which address, why not, and what to do
 */
export function listen(server: Server, address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => reject(new Error(explain(error, address, port)));
    server.once('error', failed);
    server.listen({ host: address, port }, () => {
      server.removeListener('error', failed);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : port);
    });
  });
}

/** Address and port as they stand in a URL: IPv6 in brackets. */
export function authorityOf(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function explain(error: NodeJS.ErrnoException, address: string, port: number): string {
  const where = authorityOf(address, port);
  switch (error.code) {
    case 'EADDRINUSE':
      return `cannot listen on ${where}: the port is in use; stop the other program, or configure another port (0: any free one)`;
    case 'EACCES':
      return `cannot listen on ${where}: not permitted; ports below 1024 need a privilege, configure a higher one`;
    case 'EADDRNOTAVAIL':
      return `cannot listen on ${where}: this machine does not have that address`;
    default:
      return `cannot listen on ${where}: ${error.message}`;
  }
}
