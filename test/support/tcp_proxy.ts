import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy on loopback that can hurt what passes: a network with faults, before a server that has none. */
export interface TcpProxy {
  readonly port: number;
  /** Holds back what the server answers; it still receives everything. */
  stallAnswers(): void;
  /** Hands over what was held back, and everything from now on. */
  resumeAnswers(): void;
  /** Cuts each connection when an answer that is picked arrives: the command was executed, its answer is lost. */
  cutAtAnswer(picks: (answer: Buffer) => boolean): void;
  /** Cuts every connection now. */
  cutAll(): void;
  /** Connections accepted since start. */
  accepted(): number;
  close(): Promise<void>;
}

/** Starts a proxy before a port of this machine. */
export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let stalled = false;
  let cutsAt: (answer: Buffer) => boolean = () => false;
  let accepted = 0;

  const server = createServer((client) => {
    accepted++;
    const upstream = connect(targetPort, '127.0.0.1');
    const pair = [client, upstream] as const;
    pairs.add(pair);
    if (stalled) upstream.pause();
    const cut = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    client.on('data', (data) => upstream.write(data));
    upstream.on('data', (data) => (cutsAt(data) ? cut() : client.write(data)));
    for (const socket of pair) socket.on('close', cut).on('error', cut);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const cutAll = () => {
    for (const [client] of pairs) client.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    stallAnswers() {
      stalled = true;
      for (const [, upstream] of pairs) upstream.pause();
    },
    resumeAnswers() {
      stalled = false;
      cutsAt = () => false;
      for (const [, upstream] of pairs) upstream.resume();
    },
    cutAtAnswer(picks) {
      cutsAt = picks;
    },
    cutAll,
    accepted: () => accepted,
    close: async () => {
      cutAll();
      server.close();
      await once(server, 'close');
    },
  };
}
