import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { MaybePromise } from '../kernel/result.ts';
import { authorityOf, listen } from '../net/listen.ts';
import { hasBody } from '../net/read_body.ts';
import { stopServer } from '../net/stop.ts';
import { readServerTls } from '../net/tls.ts';
import { watchTls } from '../net/tls_watch.ts';
import type { Log } from '../telemetry/log.ts';
import { type AdminAnswer, type AdminApi, type AnswerApi, createAdminApi } from './api.ts';
import { isLoopbackAddress, isTrustedHost } from './host.ts';

/** What the admin port shows of the program; the admin port knows nothing else of it. */
export interface AdminView {
  /** Whether the process works at all; false makes an orchestrator restart it. */
  live(): boolean;
  /** Whether requests can be served. */
  ready(): MaybePromise<AdminReadiness>;
  metrics(): MaybePromise<AdminMetrics>;
  /** What the holder of the API token can do beside. Absent: nothing. */
  readonly api?: AdminApi;
}

/** Where the admin port is, and who may do more there than look; as in the configuration's `admin`. */
export interface AdminPlace {
  readonly address: string;
  readonly port: number;
  /** Absent: the view's API is off. */
  readonly api_token_file?: string | undefined;
  /** Absent: plain HTTP. */
  readonly tls?: { readonly certificate_file: string; readonly key_file: string } | undefined;
}

/** The answer of /readyz. */
export interface AdminReadiness {
  readonly ready: boolean;
  /** What callers use. */
  readonly origin?: string;
  /** Where requests are taken, which is of use when the port was chosen by the system. */
  readonly listening?: string;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail?: string }[];
}

/** The answer of /metrics. */
export interface AdminMetrics {
  readonly contentType: string;
  readonly body: string;
}

/** An admin port that is open. */
export interface RunningAdmin {
  readonly origin: string;
  close(): Promise<void>;
}

/** Milliseconds that a view may take to answer. */
const ANSWER_MS = 2000;
/** Milliseconds that answers under way may take when the port is closed. */
const GRACE_MS = 1000;

/** Few requests, small and quick: whoever can reach the port must not be able to keep it, or the gateway, busy. */
const LIMITS = {
  maxHeaderSize: 8192,
  headersTimeout: 5000,
  requestTimeout: 5000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 1000,
} as const;
const CONNECTIONS = 64;

/** Nothing here is meant for a browser to show, keep, frame or load from elsewhere. */
const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const;

/** What the answers are made from. */
interface Answering {
  readonly address: string;
  readonly view: AdminView;
  readonly api: AnswerApi;
}

/**
 * Opens the admin port: /livez, /readyz and /metrics, and behind the API token what the view offers. A view that fails or takes too long is
 * answered with 503.
 * @throws Error that says which address cannot be listened on, or which file cannot be used, and what to do
 */
export async function startAdmin(at: AdminPlace, view: AdminView, log?: Log): Promise<RunningAdmin> {
  const answering = { address: at.address, view, api: createAdminApi(view.api ?? {}, at.api_token_file, log) };
  const tls = at.tls === undefined ? undefined : ({ ...at.tls, client_certificates: 'none' } as const);
  const read = tls === undefined ? null : readServerTls(tls);
  const server = read === null ? http.createServer(LIMITS) : https.createServer({ ...LIMITS, ...read });
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void answer(request, answering)
      .catch((error: unknown) => {
        log?.error({ err: error, url: request.url }, 'the admin port could not answer');
        return words(503, 'no answer');
      })
      .then((page) => {
        // A body that was not read is in the way of the next request.
        if (hasBody(request) && !request.readableEnded) response.setHeader('Connection', 'close');
        send(request, response, page);
      });
  });
  server.maxConnections = CONNECTIONS;
  const port = await listen(server, at.address, at.port);
  const watch =
    tls === undefined || read === null || log === undefined
      ? null
      : watchTls({ server, files: tls, version: read.version }, log);
  return {
    origin: `${tls === undefined ? 'http' : 'https'}://${authorityOf(at.address, port)}`,
    close: async () => {
      watch?.close();
      await close(server);
    },
  };
}

interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function answer(request: IncomingMessage, { address, view, api }: Answering): Promise<Page> {
  const [path = ''] = (request.url ?? '').split('?', 1);
  // A page of another site must not read this port by giving its own name our address (DNS rebinding).
  const trusted = isTrustedHost(request.headers.host) || isHealthCheck(request, path);
  if (isLoopbackAddress(address) && !trusted) return words(421, 'unknown host');
  const show = PAGES[path];
  const answered = show === undefined ? api(request, path) : null;
  if (answered !== null) return pageOf(await answered);
  if (show === undefined) return words(404, 'not found; there are /livez, /readyz and /metrics');
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return words(405, 'only GET and HEAD', { Allow: 'GET, HEAD' });
  return inTime(show(view));
}

/** HTTP/1.0 without Host, as load balancers send it on the same machine, and no browser ever. */
function isHealthCheck({ headers: { host } }: IncomingMessage, path: string): boolean {
  return host === undefined && (path === '/readyz' || path === '/livez');
}

const PAGES: Readonly<Record<string, (view: AdminView) => MaybePromise<Page>>> = Object.assign(Object.create(null), {
  '/livez': (view: AdminView) => (view.live() ? words(200, 'live') : words(503, 'not live')),
  '/readyz': async (view: AdminView) => {
    const state = await view.ready();
    return { status: state.ready ? 200 : 503, contentType: 'application/json', body: `${JSON.stringify(state)}\n` };
  },
  '/metrics': async (view: AdminView) => ({ status: 200, ...(await view.metrics()) }),
});

function send(request: IncomingMessage, response: ServerResponse, page: Page): void {
  response.writeHead(page.status, {
    ...HEADERS,
    ...page.headers,
    ...(page.status !== 204 && {
      'Content-Type': page.contentType,
      'Content-Length': Buffer.byteLength(page.body),
    }),
  });
  response.end(request.method === 'HEAD' ? undefined : page.body);
}

function words(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Page {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${text}\n`, headers };
}

function pageOf({ status, value, headers = {} }: AdminAnswer): Page {
  const body = value === undefined ? '' : `${JSON.stringify(value)}\n`;
  return { status, contentType: 'application/json', body, headers };
}

async function inTime(page: MaybePromise<Page>): Promise<Page> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Page>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
  });
  try {
    return await Promise.race([page, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function close(server: Server): Promise<void> {
  await stopServer(server, { graceMs: GRACE_MS });
}
