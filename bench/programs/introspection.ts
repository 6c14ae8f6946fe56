/** An introspection endpoint (RFC 7662) that knows one token and gives one answer. Arguments: port, file with the answer. */
import { readFileSync } from 'node:fs';
import http from 'node:http';

const [port, file] = process.argv.slice(2) as [string, string];
const answer = readFileSync(file);
http
  .createServer((request, response) => {
    request.resume().once('end', () => {
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(answer);
    });
  })
  .listen(Number(port), '127.0.0.1');
