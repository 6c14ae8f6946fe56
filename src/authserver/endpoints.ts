import type { ServerResponse } from 'node:http';
import type { Provider } from 'oidc-provider';
import type { Answer } from '../net/plain_server.ts';
import { describeServer, ENDPOINTS } from './metadata.ts';

const READ = ['GET', 'HEAD'];

/**
 * The endpoints that exist: token, keys and metadata, each under its exact path. oidc-provider has more routes than this server has uses; it
 * sees only requests for the first two, and only with the issuer's own scheme and host.
 */
export function makeEndpoints(provider: Provider, issuer: string): Answer {
  const metadata = JSON.stringify(describeServer(issuer));
  const passOn = provider.callback();
  const { protocol, host } = new URL(issuer);
  const ask: Answer = (request, response) => {
    // Origins come from configuration: htu (RFC 9449 §4.3 check 9) is compared with the URL that these headers make.
    request.headers['x-forwarded-proto'] = protocol.slice(0, -1);
    request.headers['x-forwarded-host'] = host;
    passOn(request, response);
  };
  const endpoints = new Map<string, { methods: readonly string[]; answer: Answer }>([
    [ENDPOINTS.token, { methods: ['POST'], answer: ask }],
    [ENDPOINTS.jwks, { methods: READ, answer: ask }],
    [
      ENDPOINTS.metadata,
      { methods: READ, answer: (_request, response) => sendJson(response, 200, metadata, 'max-age=300') },
    ],
  ]);
  return (request, response) => {
    // Exact: RFC 3986 §6.2.1 comparison, so that no second spelling of a path exists; a full URL as target matches nothing.
    const endpoint = endpoints.get((request.url ?? '').split('?', 1)[0] ?? '');
    if (endpoint === undefined) return sendError(response, 404, 'not_found');
    if (endpoint.methods.includes(request.method ?? '')) return endpoint.answer(request, response);
    response.setHeader('allow', endpoint.methods.join(', '));
    sendError(response, 405, 'method_not_allowed');
  };
}

/** Answers with an error in the form of RFC 6749 §5.2. */
export function sendError(response: ServerResponse, status: number, error: string): void {
  sendJson(response, status, JSON.stringify({ error }), 'no-store');
}

function sendJson(response: ServerResponse, status: number, body: string, caching: string): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': caching,
    'x-content-type-options': 'nosniff',
  });
  // For HEAD, Node.js sends the headers and leaves the body out.
  response.end(body);
}
