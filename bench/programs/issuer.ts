/**
 * An issuer's endpoints: introspection (RFC 7662), a JWK Set, and how often each was asked (`/counts`). Arguments: port, file with what it
 * knows (`IssuerKnowledge`).
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';

/** What the issuer answers. */
export interface IssuerKnowledge {
  /** Answers by token; of all others it says that they are not active. */
  readonly tokens: Readonly<Record<string, object>>;
  /** Milliseconds that an answer about a token takes. */
  readonly delayMs: number;
  readonly keys: readonly object[];
}

const [port, file] = process.argv.slice(2) as [string, string];
const { tokens, delayMs, keys } = JSON.parse(readFileSync(file, 'utf8')) as IssuerKnowledge;
const counts = { introspections: 0, key_sets: 0 };

function send(response: http.ServerResponse, value: object): void {
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(value));
}

http
  .createServer(async (request, response) => {
    if (request.url === '/counts') return send(response, counts);
    if (request.url === '/jwks') {
      counts.key_sets++;
      return send(response, { keys });
    }
    counts.introspections++;
    let form = '';
    for await (const chunk of request) form += String(chunk);
    const answer = tokens[new URLSearchParams(form).get('token') ?? ''] ?? { active: false };
    if (delayMs === 0) send(response, answer);
    else setTimeout(send, delayMs, response, answer);
  })
  .listen(Number(port), '127.0.0.1');
