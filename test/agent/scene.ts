import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningAgent, startAgent } from '../../src/agent/agent.ts';
import { Notices } from '../../src/agent/notices.ts';
import { parseAgentConfig } from '../../src/config/load_agent.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { startTestServer, type TestServer } from '../authserver/fixture.ts';

/** What a job of the tests asks for, and what its client may have at most. */
export const SCOPES = ['projects:read', 'builds:read', 'builds:write'];
export const DETAILS = [
  {
    type: 'cloud_api',
    actions: ['projects.get', 'builds.list', 'builds.get', 'builds.create'],
    identifier: 'projects/p1',
  },
];
const RESOURCE = 'https://cloud.example.com/v1';

/** A real authorization server, and agents that get their tokens from it. */
export interface AgentScene {
  readonly authserver: TestServer;
  readonly folder: string;
  /** Starts an agent for one API at this origin, below `/v1`. */
  start(origin: string, changes?: AgentChanges): Promise<TestAgent>;
  close(): Promise<void>;
}

/** What differs from the usual agent. */
export interface AgentChanges {
  /** Merged into the configuration, top-level key by top-level key. */
  readonly config?: Record<string, unknown>;
  /** Merged into the one API. */
  readonly api?: Record<string, unknown>;
  readonly variables?: Record<string, string>;
  readonly clock?: Clock;
  readonly user?: { readonly uid: number; readonly gid: number };
}

/** An agent in this process, and what it said. */
export interface TestAgent extends RunningAgent {
  /** Local base URL of the API; empty where there is none. */
  readonly url: string;
  readonly said: readonly string[];
  readonly notices: Notices;
}

/** Starts the authorization server; the agents are ended with the scene. */
export async function setAgentScene(
  server: Record<string, unknown> = {},
  client: Record<string, unknown> = {},
): Promise<AgentScene> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-agent-test-'));
  const clientJwk = await generatePrivateJwk();
  const { publicJwk } = await importSigningKey(clientJwk);
  writeFileSync(join(folder, 'client.jwk.json'), JSON.stringify(clientJwk), { mode: 0o600 });
  const authserver = await startTestServer(
    {
      jwks: { keys: [publicJwk] },
      scopes: SCOPES,
      authorization_details: DETAILS,
      resources: [RESOURCE, 'https://other.example.com/'],
      ...client,
    },
    { server },
  );
  const agents: RunningAgent[] = [];
  return {
    authserver,
    folder,
    start: async (origin, { config = {}, api = {}, variables = {}, clock = Date.now, user } = {}) => {
      const said: string[] = [];
      const notices = new Notices((line) => void said.push(line));
      const parsed = parseAgentConfig(
        {
          version: 1,
          authorization_server: {
            issuer: authserver.issuer,
            client_id: 'ci',
            private_key_file: join(folder, 'client.jwk.json'),
          },
          apis: [
            {
              name: 'cloud',
              url: `${origin}/v1`,
              resource: RESOURCE,
              scopes: SCOPES,
              authorization_details: DETAILS,
              ...api,
            },
          ],
          ...config,
        },
        'test',
      );
      const agent = await startAgent({
        config: parsed,
        variables: { RUNNER_TEMP: folder, ...variables },
        notices,
        clock,
        user: user ?? null,
      });
      agents.push(agent);
      return { ...agent, url: agent.exported['SALLYPORT_CLOUD_URL'] ?? '', said, notices };
    },
    close: async () => {
      for (const agent of agents) await agent.end();
      await authserver.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What stands where a gateway would, for what a gateway seldom does: it answers as the test says and keeps what it got. */
export class ScriptedGateway {
  readonly received: {
    readonly method: string;
    readonly url: string;
    readonly headers: IncomingMessage['headers'];
    readonly rawHeaders: string[];
    body: string;
  }[] = [];
  readonly server: Server;
  answer: (response: ServerResponse, count: number, request: IncomingMessage) => void = (response) =>
    void response.end('ok');

  private constructor() {
    this.server = createServer((request, response) => void this.#serve(request, response));
    this.server.on('checkContinue', (request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<ScriptedGateway> {
    const gateway = new ScriptedGateway();
    await new Promise<void>((resolve) => gateway.server.listen(0, '127.0.0.1', resolve));
    return gateway;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url, headers, rawHeaders } = request;
    if (url?.startsWith('/.well-known/')) return void response.writeHead(404).end();
    const seen = { method: String(method), url: String(url), headers, rawHeaders, body: '' };
    this.received.push(seen);
    const count = this.received.length;
    if (headers.expect !== undefined) {
      // Answered before the body is taken, or after.
      this.answer(response, count, request);
      if (response.writableEnded) return;
      response.writeContinue();
    }
    request.on('error', () => undefined);
    for await (const chunk of request.setEncoding('latin1')) seen.body += String(chunk);
    if (headers.expect === undefined || !response.writableEnded) this.answer(response, count, request);
  }
}
