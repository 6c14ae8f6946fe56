import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { discard } from '../../src/gateway/refuse.ts';
import { connectRaw } from '../support/raw_connection.ts';

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));
afterEach(() => server.close());

it('what comes on a socket that waits to be refused is thrown away, its end is noticed, and past a bound it is cut', async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = async (): Promise<[Awaited<ReturnType<typeof connectRaw>>, Socket]> => {
    const taken = once(server, 'connection');
    const caller = await connectRaw((server.address() as AddressInfo).port);
    const [socket] = (await taken) as [Socket];
    socket.on('error', () => undefined);
    discard(socket);
    return [caller, socket];
  };
  const [quiet, within] = await accepted();
  quiet.send(Buffer.alloc(200_000));
  quiet.end();
  await once(within, 'end');
  expect([within.destroyed, within.writable, within.readableLength]).toEqual([false, true, 0]);
  within.destroy();

  const [loud, beyond] = await accepted();
  loud.send(Buffer.alloc(8_000_000));
  await closed(beyond);
  expect(beyond.bytesRead).toBeLessThan(1_000_000);
  await loud.closed();

  const [gone, broken] = await accepted();
  gone.reset();
  await closed(broken);
});
