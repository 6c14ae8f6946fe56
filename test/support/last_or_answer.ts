import { SWITCHED } from '../faults/scene.ts';
import { valuesOf } from './read_requests.ts';
import { OK, type UpstreamScript } from './recording_upstream.ts';

/** An upstream that answers with events without end where they are asked for, switches and sends everything back, or answers at once. */
export const lastOrAnswer: UpstreamScript = async (connection) => {
  for (let n = 1; ; n++) {
    const request = await connection.request(n);
    if (valuesOf(request, 'upgrade').length > 0) {
      connection.send(SWITCHED);
      connection.socket.on('data', (chunk: Buffer) => connection.send(chunk));
      return;
    }
    if (!valuesOf(request, 'accept').includes('text/event-stream')) {
      connection.send(OK);
      continue;
    }
    connection.send('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    const timer = setInterval(() => connection.send('6\r\nevent\n\r\n'), 20);
    connection.socket.once('close', () => clearInterval(timer));
    return;
  }
};
