import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What stands where a broker would, for what a broker seldom does: it gives tokens of the test's choice, and keeps what it was asked. */
export class ScriptedBroker {
  /** Paths that were asked for, without the metadata. */
  readonly asked: string[] = [];
  /** Seconds that a token lives. */
  lifetime = 300;
  /** Answers the end of a job. */
  answerEnd: (response: ServerResponse) => void = (response) => void response.writeHead(204).end();
  /** What is waited for before a token is given. */
  beforeToken: () => Promise<unknown> = () => Promise.resolve();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async start(): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker();
    await new Promise<void>((done) => broker.#server.listen(0, '127.0.0.1', done));
    return broker;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many tokens were asked for. */
  get tokens(): number {
    return this.asked.filter((path) => path === '/token').length;
  }

  /** Nothing answers here any more. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = String(request.url);
    const json = (body: unknown) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    request.resume();
    if (path === '/.well-known/sallyport-broker') {
      json({
        issuer: 'https://as.example.com',
        token_endpoint: 'https://as.example.com/token',
        broker_token_endpoint: `${this.origin}/token`,
        job_end_endpoint: `${this.origin}/jobs/{id}/end`,
      });
      return;
    }
    this.asked.push(path);
    if (path !== '/token') {
      this.answerEnd(response);
      return;
    }
    const token = { access_token: `token-${this.tokens}`, token_type: 'DPoP', scope: 'projects:read', job_id: 'job-1' };
    void this.beforeToken().then(() => json({ ...token, expires_in: this.lifetime }));
  }
}
