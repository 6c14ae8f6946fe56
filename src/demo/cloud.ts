import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { authorityOf, listen } from '../net/listen.ts';
import { createPlainServer } from '../net/plain_server.ts';
import { stopServer } from '../net/stop.ts';
import { parseStrictJson } from '../oauth/strict_json.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import { answerCall, type CloudAnswer } from './cloud_api.ts';
import { type CloudItem, CloudStore } from './cloud_store.ts';

/** How the demo cloud is started. */
export interface DemoCloudOptions {
  readonly address?: string;
  /** 0: any free port. */
  readonly port: number;
  /** The value of `Authorization` that every call must carry: the gateway's own credential. Absent: none is asked for. */
  readonly credential?: string;
}

/** A demo cloud that answers. */
export interface RunningDemoCloud {
  readonly origin: string;
  close(): Promise<void>;
}

const MAXIMUM_BODY = 16_384;
const MAXIMUM_TEXT = 1024;
/**
 * Starts the cloud API of the demo: an ordinary HTTP service with a small JSON API, which knows nothing of tokens, proofs or policies. It
 * takes calls from whoever has its credential, as a cloud does from the gateway.
 */
export async function startDemoCloud(options: DemoCloudOptions): Promise<RunningDemoCloud> {
  const store = new CloudStore();
  const { address = '127.0.0.1', credential } = options;
  const server = createPlainServer((request, response) => {
    serve(store, credential, request).then(
      (answer) => send(response, answer),
      () => response.destroy(),
    );
  });
  const port = await listen(server, address, options.port);
  return {
    origin: `http://${authorityOf(address, port)}`,
    close: async () => void (await stopServer(server, { graceMs: 1000 })),
  };
}

async function serve(
  store: CloudStore,
  credential: string | undefined,
  request: IncomingMessage,
): Promise<CloudAnswer> {
  if (credential !== undefined && !isSame(request.headers.authorization ?? '', credential)) {
    request.resume();
    return { status: 401, body: { error: 'unauthorized', message: 'this cloud takes calls from its gateway only' } };
  }
  const body = await readBody(request);
  if (body === null)
    return { status: 400, body: { error: 'invalid', message: 'expected a small JSON object of short texts' } };
  const segments = segmentsOf(request.url ?? '');
  if (segments === null) return { status: 404, body: { error: 'not_found' } };
  const caller = String(request.headers['sallyport-client'] ?? 'unknown');
  const method = request.method === 'HEAD' ? 'GET' : String(request.method);
  return answerCall(store, { method, segments, body, caller });
}

/** Compared by digest, in constant time. */
function isSame(left: string, right: string): boolean {
  return timingSafeEqual(Buffer.from(sha256Base64url(left)), Buffer.from(sha256Base64url(right)));
}

/** Segments after `/v1`; null for any other path. */
function segmentsOf(target: string): string[] | null {
  const [path = ''] = target.split('?', 1);
  const [empty, version, ...segments] = path.split('/');
  if (empty !== '' || version !== 'v1') return null;
  try {
    return segments.map(decodeURIComponent);
  } catch {
    return null;
  }
}

/** An empty body counts as an empty object; null when it is anything but a small JSON object whose members are short texts. */
async function readBody(request: IncomingMessage): Promise<CloudItem | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAXIMUM_BODY) chunks.push(chunk);
  }
  if (size === 0) return {};
  if (size > MAXIMUM_BODY) return null;
  const json = parseStrictJson(Buffer.concat(chunks), { maxBytes: MAXIMUM_BODY, maxDepth: 1 });
  if (!json.ok || typeof json.value !== 'object' || json.value === null || Array.isArray(json.value)) return null;
  const areTexts = Object.values(json.value).every(
    (value) => typeof value === 'string' && value.length <= MAXIMUM_TEXT,
  );
  return areTexts ? (json.value as CloudItem) : null;
}

function send(response: ServerResponse, answer: CloudAnswer): void {
  if (answer.body === null) {
    response.writeHead(answer.status).end();
    return;
  }
  const text = `${JSON.stringify(answer.body)}\n`;
  response.writeHead(answer.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
