/** An upstream that answers GET with as many counted bytes as it is told, and says how many it was sent, or that they are others. Arguments: port, bytes. */
import http from 'node:http';
import { CountedCheck, countedBlocks } from '../counted_stream.ts';

const [port, bytes] = process.argv.slice(2).map(Number) as [number, number];
http
  .createServer((request, response) => {
    if (request.method === 'GET') give(response);
    else take(request, response);
  })
  .listen(port, '127.0.0.1');

function give(response: http.ServerResponse): void {
  const blocks = countedBlocks(bytes);
  const more = () => {
    for (let block = blocks.next(); ; block = blocks.next()) {
      if (block.done) return void response.end();
      if (!response.write(block.value)) return;
    }
  };
  response.writeHead(200, { 'content-length': bytes }).on('drain', more);
  more();
}

function take(request: http.IncomingMessage, response: http.ServerResponse): void {
  const check = new CountedCheck();
  request.on('data', (chunk: Buffer) => {
    try {
      check.take(chunk);
    } catch (error) {
      response.writeHead(422, { connection: 'close' }).end((error as Error).message);
      request.destroy();
    }
  });
  request.on('end', () => response.end(String(check.bytes)));
}
