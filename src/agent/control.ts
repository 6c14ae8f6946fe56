import { type Server, request as sendRequest } from 'node:http';
import { createPlainServer } from '../net/plain_server.ts';
import { isJsonObject, parseStrictJson } from '../oauth/strict_json.ts';
import type { Notices } from './notices.ts';

/** What an agent tells when it is asked to end. */
export type EndSummary = Notices['summary'];

/** How long ending may take: telling the broker, and a little. */
const TIMEOUT_MS = 15_000;
const MAXIMUM_BYTES = 1_048_576;

/** Makes the server by which an agent in the background is told to end. It listens on a socket in the job's folder, which only its user can reach. */
export function createControlServer(notices: Notices, end: () => Promise<void>): Server {
  const server = createPlainServer((request, response) => {
    request.resume();
    if (request.method !== 'POST' || request.url !== '/end') return void response.writeHead(404).end();
    void end().then(() => {
      const text = JSON.stringify(notices.summary);
      response.writeHead(200, { 'content-type': 'application/json', connection: 'close' }).end(text);
    });
  });
  return server as Server;
}

/** Tells an agent to end its job. @throws Error that says what to do when none is there */
export function endAgent(socketPath: string): Promise<EndSummary> {
  return new Promise((resolve, reject) => {
    const gone = (why: string) =>
      reject(new Error(`no agent answers at ${socketPath} (${why}): it has ended already, or never ran here`));
    const asked = sendRequest({ socketPath, path: '/end', method: 'POST', timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => gone(error.message));
      response.on('end', () => {
        const json = parseStrictJson(Buffer.concat(chunks), { maxBytes: MAXIMUM_BYTES });
        if (response.statusCode === 200 && json.ok && isJsonObject(json.value))
          resolve(json.value as unknown as EndSummary);
        else gone(`status ${response.statusCode}`);
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')));
    asked.on('error', (error: NodeJS.ErrnoException) => gone(error.code ?? error.message));
    asked.end();
  });
}
