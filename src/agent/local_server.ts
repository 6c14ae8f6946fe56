import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createHttpServer } from '../net/http_server.ts';
import type { PeerUsers } from './peer_user.ts';
import { refuse, refuseOnSocket } from './refusal.ts';
import { Turns } from './turns.ts';

/** What a local server hands on, once it is known that the right user is at the other end. None may throw. */
export interface LocalHandlers {
  request(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void;
  /** WebSocket and CONNECT. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** Who may connect. */
export interface Admission {
  /** Null: this system cannot tell, or need not. */
  readonly peers: PeerUsers | null;
  /** User ids that may. */
  readonly users: ReadonlySet<number>;
}

/** Whoever may come in: a server whose connections were let in elsewhere already. */
export const EVERYBODY: Admission = { peers: null, users: new Set() };

const LIMITS = {
  // The gateway's own limit may be lower; its refusal then says so.
  header_bytes: 65_536,
  // A tool uploads for as long as it takes; a connection without a byte is ended by the way to the gateway.
  request_timeout_ms: 86_400_000,
  headers_timeout_ms: 60_000,
  keep_alive_timeout_ms: 60_000,
  connections: 1000,
  headers: 1000,
  http2_streams: 1,
};
/** What is told beside 400, by the code of node:http. */
const STATUS_OF: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Bounds on what a tool may send, and how slowly. */
export type LocalLimits = typeof LIMITS;

/** Makes an HTTP server for tools of this machine. Not yet listening. */
export function createLocalServer(
  handlers: LocalHandlers,
  admission: Admission,
  changes: Partial<LocalLimits> = {},
): Server {
  const turns = new Turns();
  const server = createHttpServer(
    {
      request: (caller, answer, awaitsContinue) => {
        // Without TLS of its own, the server hands on what node:http makes only.
        const request = caller as IncomingMessage;
        const response = answer as ServerResponse;
        void Promise.all([admitted(request.socket, admission), turns.begin(request, response)]).then(
          ([may, goesOn]) => {
            if (!goesOn) return;
            if (!may) refuse(request, response, 'other_user');
            else if (request.httpVersionMajor !== 1) refuse(request, response, 'request_malformed');
            else handlers.request(request, response, awaitsContinue);
          },
        );
      },
      late: (request) => request.socket.destroy(),
      upgrade: (request, socket, head) => {
        socket.on('error', () => socket.destroy());
        void Promise.all([admitted(request.socket, admission), turns.begin(request, null)]).then(([may, goesOn]) => {
          if (!goesOn) return void socket.destroy();
          if (!may) refuseOnSocket(socket, 'other_user');
          else if (request.httpVersionMajor !== 1) refuseOnSocket(socket, 'request_malformed');
          else handlers.upgrade(request, socket, head);
        });
      },
      malformed: ({ code }, socket) => {
        const status = STATUS_OF[code ?? ''] ?? '400 Bad Request';
        const answer = `HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`;
        turns.malformed(socket, () => {
          if (socket.writable) socket.end(answer, () => socket.destroy());
          else socket.destroy();
        });
      },
      overloaded: (socket) => socket.destroy(),
    },
    { ...LIMITS, ...changes },
    null,
  );
  // Asked at once, while whoever connected is still there.
  server.on('connection', (socket: Socket) => void admitted(socket, admission));
  return server;
}

const ADMITTED = new WeakMap<Socket, Promise<boolean>>();

/** Asked once for each connection. Where it cannot be established who it is, although this system can tell, nobody is let in. */
function admitted(socket: Socket, { peers, users }: Admission): Promise<boolean> {
  if (peers === null) return Promise.resolve(true);
  let answer = ADMITTED.get(socket);
  if (answer === undefined) {
    answer = peers.of(socket).then(
      (user) => user !== null && users.has(user),
      () => false,
    );
    ADMITTED.set(socket, answer);
  }
  return answer;
}
