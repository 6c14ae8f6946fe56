/** A reverse proxy without any check, on node:http and undici's dispatch. Arguments: port, port of the upstream. */
import http, { type ServerResponse } from 'node:http';
import { type Dispatcher, Pool } from 'undici';

const [port, upstream] = process.argv.slice(2);
const pool = new Pool(`http://127.0.0.1:${upstream}`, { connections: 64, pipelining: 1 });

class Relay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  onRequestStart(): void {}

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    this.#response.writeHead(
      status,
      (controller.rawHeaders as Buffer[]).map((part) => part.toString('latin1')),
    );
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#response.write(chunk);
  }

  onResponseEnd(): void {
    this.#response.end();
  }

  onResponseError(): void {
    this.#response.destroy();
  }
}

http
  .createServer({ noDelay: true }, (request, response) => {
    const headers = request.rawHeaders;
    const body = request.method === 'GET' ? null : request;
    const options = { method: request.method as Dispatcher.HttpMethod, path: request.url as string, headers, body };
    pool.dispatch(options, new Relay(response));
  })
  .listen(Number(port), '127.0.0.1');
