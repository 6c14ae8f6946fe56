import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** One way in which the agent itself refuses a request. */
interface AgentReason {
  readonly status: number;
  readonly title: string;
  /** What the person at the keyboard should do. */
  readonly advice: string;
}

/** The closed list of the agent's own refusals; docs/reference/agent.md is generated from it. Those of the gateway pass through unchanged. */
export const AGENT_REASONS = {
  secret_missing: {
    status: 403,
    title: "The request does not show the job's secret",
    advice: 'Use the base URLs and variables that the agent exports; they are for the job that it was started for.',
  },
  proxy_secret_missing: {
    status: 407,
    title: "The request to the proxy does not show the job's secret",
    advice: 'Use HTTPS_PROXY as the agent exports it, user and password included.',
  },
  other_user: {
    status: 403,
    title: 'The connection comes from another user of this machine',
    advice: 'Only the user that the command of the job runs as may use the agent.',
  },
  host_unknown: {
    status: 421,
    title: 'The request is for a host that this port does not serve',
    advice: 'Use the base URL that the agent exports; a name that was made to point here is not served.',
  },
  not_an_api: {
    status: 403,
    title: 'The request is for an origin that is not among the APIs of this job',
    advice: 'Add it to apis, or set proxy.others: tunnel to let other requests pass without a token.',
  },
  request_malformed: {
    status: 400,
    title: 'The request can be read in more than one way',
    advice: 'Send one Host, one way of framing, and a target that starts with /.',
  },
  upgrade_unsupported: {
    status: 501,
    title: 'Only WebSocket can be switched to',
    advice: 'Use WebSocket; kubectl does since 1.31.',
  },
  token_unavailable: {
    status: 502,
    title: 'There is no token for this API',
    advice: 'What the broker or the authorization server said stands on the standard error of the agent.',
  },
  gateway_unreachable: {
    status: 502,
    title: 'The gateway could not be reached, or broke the connection',
    advice: 'Look at the address of the gateway and at what stands on the standard error of the agent.',
  },
  gateway_timeout: {
    status: 504,
    title: 'The gateway did not answer in time',
    advice: 'Try again; connect_timeout_ms and idle_timeout_ms say how long is waited.',
  },
  tunnel_failed: {
    status: 502,
    title: 'The other host could not be reached',
    advice: 'Look at host and port; the agent passes such requests through and knows nothing of them.',
  },
  ended: {
    status: 503,
    title: 'The job has ended',
    advice: 'Start the agent again.',
  },
} as const satisfies Readonly<Record<string, AgentReason>>;

/** Milliseconds that a refused caller has to read why. */
const LAST_WORDS_MS = 2000;

/** Name of one of the agent's own refusals. */
export type AgentRefusal = keyof typeof AGENT_REASONS;

/** Answers with a problem document (RFC 9457) of fixed words, and closes the connection: what is left of the request will not be read. */
export function refuse(request: IncomingMessage, response: ServerResponse, reason: AgentRefusal): void {
  if (response.headersSent || response.destroyed) {
    request.socket.destroy();
    return;
  }
  const body = bodyOf(reason);
  response.writeHead(AGENT_REASONS[reason].status, headersOf(reason, body));
  response.end(request.method === 'HEAD' ? undefined : body);
  // The caller gets a moment to read it, whatever it still sends.
  request.resume();
  const cut = setTimeout(() => request.socket.destroy(), LAST_WORDS_MS);
  request.socket.once('close', () => clearTimeout(cut));
}

/** The same where there is a socket and no response object: CONNECT and upgrades. */
export function refuseOnSocket(socket: Duplex, reason: AgentRefusal): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status } = AGENT_REASONS[reason];
  const body = bodyOf(reason);
  const fields = headersOf(reason, body);
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`];
  for (let i = 0; i + 1 < fields.length; i += 2) lines.push(`${fields[i]}: ${fields[i + 1]}`);
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function bodyOf(reason: AgentRefusal): string {
  const { status, title, advice } = AGENT_REASONS[reason];
  const type = `urn:sallyport:agent:${reason}`;
  return `${JSON.stringify({ type, title, status, detail: advice, reason: `agent.${reason}` })}\n`;
}

function headersOf(reason: AgentRefusal, body: string): string[] {
  const headers = ['Content-Type', 'application/problem+json', 'Content-Length', String(Buffer.byteLength(body))];
  headers.push('Cache-Control', 'no-store', 'Proxy-Status', 'sallyport-agent; error=http_request_denied');
  if (reason === 'proxy_secret_missing') headers.push('Proxy-Authenticate', 'Basic realm="sallyport agent"');
  headers.push('Connection', 'close');
  return headers;
}
