import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';
import { BearerTokenFile } from '../net/bearer_token_file.ts';
import type { CallerRequest, CallerResponse } from '../net/http_server.ts';
import { OWN_PATH, type RequestReader } from '../request/read_request.ts';
import { describeArrival, type EchoParts } from './echo.ts';

/** Where `sallyport doctor` asks. */
export const DOCTOR_PATH = `${OWN_PATH}/doctor`;
/** Carries the operator's token: no proxy knows the field, so none takes it away, as some do with Authorization. Lower case. */
const TOKEN_FIELD = 'sallyport-doctor';
/** Milliseconds between the first part of a streamed answer and the last. */
export const STREAM_MS = 1500;
/** Milliseconds that the body of a question may take, and the bytes it may have. */
const UPLOAD = { ms: 6000, bytes: 65_536 } as const;

/** What the gateway does for `sallyport doctor`. */
export interface Doctor {
  /** Answers a question; false: it is none, or not the operator's. */
  serve(request: CallerRequest, response: CallerResponse): MaybePromise<Checked<boolean>>;
  /** Switches to WebSocket, says one word and closes; false: it was not the operator who asked. */
  serveUpgrade(request: IncomingMessage, socket: Duplex): boolean;
}

const NOT_OURS = pass(false);
const ANSWERED = pass(true);
const OFF: Doctor = { serve: () => NOT_OURS, serveUpgrade: () => false };

/**
 * The gateway's part of `sallyport doctor`: it tells its operator how a request arrived. Off unless `doctor.token_file` is set; to others
 * there is nothing at this path.
 * @throws Error that names the token file and says what to do
 */
export function createDoctor(parts: EchoParts & { readonly reader: RequestReader }): Doctor {
  const file = parts.config.doctor.token_file;
  if (file === undefined) return OFF;
  const token = new BearerTokenFile(file);
  const isOperator = ({ headers }: CallerRequest | IncomingMessage) => {
    const presented = headers[TOKEN_FIELD];
    return typeof presented === 'string' && token.judge(`Bearer ${presented}`) === 'good';
  };
  return {
    serve(request, response) {
      const [path, question = ''] = (request.url ?? '').split('?', 2);
      if (path !== DOCTOR_PATH || !isOperator(request)) return NOT_OURS;
      const framing = parts.reader.judgeHead(request);
      if (!framing.ok) return framing;
      if (request.method === 'POST') return answerUpload(request, response);
      if (request.method !== 'GET') return NOT_OURS;
      if (question === 'stream') return answerStream(response);
      sendJson(response, describeArrival(request, parts));
      return ANSWERED;
    },
    serveUpgrade(request, socket) {
      if (request.url !== DOCTOR_PATH || !isOperator(request)) return false;
      switchProtocols(request, socket);
      return true;
    },
  };
}

function sendJson(response: CallerResponse, value: unknown): void {
  const body = `${JSON.stringify(value)}\n`;
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}

/** An answer in two parts with a pause between them: whoever gets both at once is behind a buffer. */
async function answerStream(response: CallerResponse): Promise<Checked<boolean>> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write('data: first\n\n');
  await sleep(STREAM_MS);
  response.end('data: last\n\n');
  return ANSWERED;
}

/** When the parts of a body arrived: milliseconds between the first and the last. */
async function answerUpload(request: CallerRequest, response: CallerResponse): Promise<Checked<boolean>> {
  let first = 0;
  let last = 0;
  let bytes = 0;
  const cut = setTimeout(() => request.destroy(), UPLOAD.ms);
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      last = performance.now();
      if (bytes === 0) first = last;
      bytes += part.length;
      if (bytes > UPLOAD.bytes) break;
    }
  } catch {
    // It was cut, by the caller or by the clock: there is nobody to answer.
    return ANSWERED;
  } finally {
    clearTimeout(cut);
  }
  sendJson(response, { bytes, spread_ms: Math.round(last - first) });
  return ANSWERED;
}

/** RFC 6455 §1.3: a fixed text that the accepted key is made with. */
const WEBSOCKET_TEXT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** RFC 6455 §5.2: a final text frame of two letters, and a close frame with 1000. */
const FRAMES = Buffer.from([0x81, 2, 0x6f, 0x6b, 0x88, 2, 0x03, 0xe8]);

function switchProtocols(request: IncomingMessage, socket: Duplex): void {
  const key = request.headers['sec-websocket-key'] ?? '';
  const accept = createHash('sha1')
    .update(key + WEBSOCKET_TEXT)
    .digest('base64'); // RFC 6455 §4.2.2
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.end(FRAMES);
  socket.resume();
  const cut = setTimeout(() => socket.destroy(), STREAM_MS);
  socket.once('close', () => clearTimeout(cut));
}
