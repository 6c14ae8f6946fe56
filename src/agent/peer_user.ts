import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Which user is at the other end of a connection over loopback. Node.js has no SO_PEERCRED; Linux lists every TCP socket with its owner in
 * /proc/net/tcp and tcp6 (proc(5)). Elsewhere nothing is known, and the secret alone guards.
 */
export interface PeerUsers {
  /** The user's id, or null when it could not be established. */
  of(socket: Socket): Promise<number | null>;
}

/** Opens nothing; says whether this system can tell, by asking about a connection of its own. Null: it cannot. */
export async function findPeerUsers(): Promise<PeerUsers | null> {
  if (process.platform !== 'linux' || process.getuid === undefined) return null;
  const server = createServer();
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const probe = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined);
  const socket = await accepted;
  const seen = await peerUser(socket);
  probe.destroy();
  socket.destroy();
  server.close();
  return seen === process.getuid() ? { of: peerUser } : null;
}

const ESTABLISHED = '01';
const CLOSE_WAIT = '08';
const TIME_WAIT = '06';

async function peerUser(socket: Socket): Promise<number | null> {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (remotePort === undefined || localPort === undefined) return null;
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'latin1').catch(() => '')),
  );
  for (const [index, table] of tables.entries()) {
    const address = index === 0 ? hexOfV4 : hexOfMappedV4;
    const theirs = address(remoteAddress, remotePort);
    const ours = address(localAddress, localPort);
    if (theirs === null || ours === null) return null;
    const uid = userIn(table, `${theirs} ${ours} `);
    if (uid !== null) return uid;
  }
  return null;
}

/** Finds the row of the other end: `sl: local remote st queues timer retransmits uid …`. */
function userIn(table: string, ends: string): number | null {
  const at = table.indexOf(` ${ends}`);
  if (at === -1) return null;
  const [state, , , , uid] = table.slice(at + 1 + ends.length, at + 120 + ends.length).split(/\s+/);
  if (state === TIME_WAIT || uid === undefined || !/^\d+$/.test(uid)) return null;
  // A socket that its owner closed already is listed as root's.
  return uid === '0' && state !== ESTABLISHED && state !== CLOSE_WAIT ? null : Number(uid);
}

/** As the kernel of a little-endian machine prints it: 127.0.0.1 port 80 is 0100007F:0050. */
function hexOfV4(address: string | undefined, port: number): string | null {
  const match = /^(?:::ffff:)?(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address ?? '');
  if (match === null) return null;
  const bytes = Buffer.from(match.slice(1).map(Number));
  return `${bytes.reverse().toString('hex').toUpperCase()}:${port.toString(16).toUpperCase().padStart(4, '0')}`;
}

/** The same address as a socket of IPv6 has it. */
function hexOfMappedV4(address: string | undefined, port: number): string | null {
  const plain = hexOfV4(address, port);
  return plain === null ? null : `0000000000000000FFFF0000${plain}`;
}
