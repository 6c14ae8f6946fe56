/** A reverse proxy without any check, on http-proxy. Arguments: port, port of the upstream. */
import http from 'node:http';
import httpProxy from 'http-proxy';

const [port, upstream] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const proxy = httpProxy.createProxyServer({ target: `http://127.0.0.1:${upstream}`, agent });
proxy.on('error', (_error, _request, response) => response.destroy());
http
  .createServer({ noDelay: true }, (request, response) => proxy.web(request, response))
  .listen(Number(port), '127.0.0.1');
