import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';

/** One request of a diagnosis. */
export interface Call {
  readonly url: URL;
  /** In place of the URL’s own, byte for byte. */
  readonly path?: string | undefined;
  readonly method?: string;
  /** Names and values in turn: repeated names are sent as often as they stand here. */
  readonly headers?: readonly string[];
  readonly body?: string;
  readonly tls?: CallTls | undefined;
}

/** What TLS is spoken with. The other side's certificate is always verified. */
export interface CallTls {
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

/** What came back. */
export interface Called {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Milliseconds that an answer may take. */
export const ANSWER_MS = 10_000;
const MAXIMUM_BYTES = 1_048_576;

/** Sends one request on a connection of its own. @throws Error that says what went wrong on the way */
export function call({ url, path, method = 'GET', headers = [], body, tls }: Call): Promise<Called> {
  return new Promise((resolve, reject) => {
    const late = AbortSignal.timeout(ANSWER_MS);
    const length = body === undefined ? [] : ['Content-Length', String(Buffer.byteLength(body))];
    const request = clientOf(url).request(url, {
      method,
      ...(path !== undefined && { path }),
      headers: ['Host', url.host, 'Connection', 'close', ...length, ...headers] as unknown as http.OutgoingHttpHeaders,
      signal: late,
      agent: false,
      ...tlsOptions(tls),
    });
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
        if (text.length > MAXIMUM_BYTES) request.destroy(new Error(`more than ${MAXIMUM_BYTES} bytes came back`));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
      response.on('error', reject);
    });
    request.on('error', (error) =>
      reject(late.aborted ? new Error(`no answer within ${ANSWER_MS / 1000} seconds`) : error),
    );
    request.end(body);
  });
}

/** The client of node for a URL. */
export function clientOf({ protocol }: URL): typeof http | typeof https {
  return protocol === 'https:' ? https : http;
}

/** The options of node's client. */
export function tlsOptions(tls: CallTls | undefined): https.RequestOptions {
  return {
    ...(tls?.ca !== undefined && { ca: tls.ca }),
    ...(tls?.certificate !== undefined && { cert: tls.certificate }),
    ...(tls?.key !== undefined && { key: tls.key }),
  };
}
