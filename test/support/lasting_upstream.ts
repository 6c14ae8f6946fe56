import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { OK, type RecordingUpstream, startRecordingUpstream, type UpstreamConnection } from './recording_upstream.ts';

/** What an upstream saw of one request. */
export interface SeenUpstream {
  readonly path: string;
  /** Whether the gateway has given the request up before it was answered to its end. */
  readonly left: boolean;
  /** Body so far. */
  readonly body: string;
  /** Whether the body came to its end. */
  readonly complete: boolean;
}

/** An upstream that answers `/v1/events…` with events without end, `/v1/silent…` with nothing, and everything else at once when it has the body. */
export interface LastingUpstream {
  readonly origin: string;
  readonly protocol: 'http1' | 'http2';
  seen(path: string): SeenUpstream[];
  close(): Promise<void>;
}

const EVENTS = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
/** Milliseconds between two events. */
const EVENT_MS = 50;

/** Starts one that speaks HTTP/1.1. */
export async function startLastingHttp1(): Promise<LastingUpstream> {
  const upstream = await startRecordingUpstream(async (connection) => {
    for (let n = 1; ; n++) {
      await connection.until(() => connection.requests[n - 1] !== undefined);
      const target = connection.requests[n - 1]?.target ?? '';
      if (target.startsWith('/v1/events')) sendEvents(connection);
      else if (!target.startsWith('/v1/silent')) {
        await connection.request(n);
        connection.send(OK);
        continue;
      }
      return;
    }
  });
  return {
    origin: upstream.origin,
    protocol: 'http1',
    seen: (path) => seenOn(upstream, path),
    close: () => upstream.close(),
  };
}

function sendEvents(connection: UpstreamConnection): void {
  connection.send(EVENTS);
  const timer = setInterval(() => connection.send('6\r\nevent\n\r\n'), EVENT_MS);
  connection.socket.once('close', () => clearInterval(timer));
}

function seenOn(upstream: RecordingUpstream, path: string): SeenUpstream[] {
  return upstream.connections.flatMap((connection) =>
    connection.requests
      .filter(({ target }) => target === path)
      .map(({ target, body, complete }) => ({
        path: target,
        body,
        complete,
        left: connection.ended || connection.socket.destroyed,
      })),
  );
}

/** Starts one that speaks HTTP/2 without TLS. */
export async function startLastingHttp2(): Promise<LastingUpstream> {
  const server = http2.createServer();
  const sessions = new Set<ServerHttp2Session>();
  const seen: { path: string; left: boolean; body: string; complete: boolean }[] = [];
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream, headers) => {
    const entry = { path: String(headers[':path']), left: false, body: '', complete: false };
    seen.push(entry);
    stream.on('error', () => undefined);
    stream.on('close', () => {
      entry.left = stream.rstCode !== 0 || !stream.writableFinished;
    });
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      entry.body += chunk;
    });
    stream.on('end', () => {
      entry.complete = !stream.aborted && !stream.destroyed;
      if (!entry.path.startsWith('/v1/events') && !entry.path.startsWith('/v1/silent')) answer(stream);
    });
    if (entry.path.startsWith('/v1/events')) streamEvents(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    protocol: 'http2',
    seen: (path) => seen.filter((each) => each.path === path),
    close: async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-length': '2' });
  stream.end('ok');
}

function streamEvents(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
  const timer = setInterval(() => {
    if (!stream.destroyed) stream.write('event\n');
  }, EVENT_MS);
  stream.once('close', () => clearInterval(timer));
}
