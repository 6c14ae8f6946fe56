import { connect, type Socket } from 'node:net';

/** What came back on one connection, taken apart only as far as every HTTP/1.1 answer can be. */
export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: string;
}

/** Options of {@link sendRaw}. */
export interface RawOptions {
  /** Milliseconds without a byte after which the connection is taken as done. */
  readonly idleMs?: number;
  /** Milliseconds between two parts of the message. */
  readonly gapMs?: number;
  /** End our side after the last part. */
  readonly end?: boolean;
}

/** Sends bytes as they are, part by part, and collects everything until the peer closes or is silent. */
export async function sendRaw(
  port: number,
  message: string | Buffer | readonly (string | Buffer)[],
  { idleMs = 400, gapMs = 20, end = false }: RawOptions = {},
): Promise<{ readonly bytes: Buffer; readonly closed: boolean }> {
  const socket = connect({ host: '127.0.0.1', port });
  const chunks: Buffer[] = [];
  const done = collect(socket, chunks, idleMs);
  const parts = Array.isArray(message) ? (message as (string | Buffer)[]) : [message as string | Buffer];
  for (const [index, part] of parts.entries()) {
    if (index > 0) await new Promise((resolve) => setTimeout(resolve, gapMs));
    if (socket.destroyed) break;
    socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
  }
  if (end && !socket.destroyed) socket.end();
  const closed = await done;
  socket.destroy();
  return { bytes: Buffer.concat(chunks), closed };
}

function collect(socket: Socket, chunks: Buffer[], idleMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    let idle = setTimeout(() => resolve(false), idleMs + 1000);
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      clearTimeout(idle);
      idle = setTimeout(() => resolve(false), idleMs);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(idle);
      resolve(true);
    });
  });
}

/** Takes a byte stream apart into answers; interim (1xx) answers are answers too. */
export function readAnswers(bytes: Buffer): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let text = bytes.toString('latin1');
  while (text.startsWith('HTTP/1.1 ')) {
    const end = text.indexOf('\r\n\r\n');
    if (end === -1) break;
    const head = text.slice(0, end);
    const headers: Record<string, string[]> = {};
    for (const line of head.split('\r\n').slice(1)) {
      const name = line.slice(0, line.indexOf(':')).toLowerCase();
      const list = headers[name] ?? [];
      list.push(line.slice(line.indexOf(':') + 1).trim());
      headers[name] = list;
    }
    const status = Number(head.slice(9, 12));
    const rest = text.slice(end + 4);
    const { body, used } = readBody(status, headers, rest);
    answers.push({ status, head, headers, body });
    text = rest.slice(used);
  }
  return answers;
}

function readBody(status: number, headers: Record<string, string[]>, rest: string): { body: string; used: number } {
  if (status < 200 || status === 204 || status === 304) return { body: '', used: 0 };
  if (headers['transfer-encoding']?.[0] === 'chunked') {
    let body = '';
    let at = 0;
    for (;;) {
      const line = rest.indexOf('\r\n', at);
      if (line === -1) return { body, used: rest.length };
      const size = Number.parseInt(rest.slice(at, line), 16);
      if (Number.isNaN(size)) return { body, used: rest.length };
      if (size === 0) return { body, used: line + 4 };
      body += rest.slice(line + 2, line + 2 + size);
      at = line + 2 + size + 2;
    }
  }
  const length = headers['content-length']?.[0];
  const used = length === undefined ? rest.length : Math.min(Number(length), rest.length);
  return { body: rest.slice(0, used), used };
}

/** Sends bytes and returns the answers. */
export async function exchange(
  port: number,
  message: string | Buffer | readonly (string | Buffer)[],
  options?: RawOptions,
): Promise<RawAnswer[]> {
  return readAnswers((await sendRaw(port, message, options)).bytes);
}
