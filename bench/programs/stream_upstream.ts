/** An upstream that answers GET with as many bytes as it is told, and takes what it is sent. Arguments: port, bytes. */
import http from 'node:http';

const CHUNK = Buffer.alloc(65_536, 'x');
const [port, bytes] = process.argv.slice(2).map(Number) as [number, number];
http
  .createServer((request, response) => {
    if (request.method !== 'GET') {
      request.resume().once('end', () => response.writeHead(200, { 'content-length': 2 }).end('ok'));
      return;
    }
    response.writeHead(200, { 'content-length': bytes });
    let left = bytes;
    const more = () => {
      while (left > 0) {
        const chunk = left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left);
        left -= chunk.length;
        if (!response.write(chunk)) return;
      }
      response.end();
    };
    response.on('drain', more);
    more();
  })
  .listen(port, '127.0.0.1');
