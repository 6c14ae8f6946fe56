import type { ChildProcess } from 'node:child_process';

/** A connection as node:cluster hands it on. */
interface ConnectionHandle {
  close(): void;
}

/** The messages by which node:cluster hands a connection on, and by which the worker says that it has it. */
interface ClusterMessage {
  readonly cmd?: string;
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
}

/**
 * Closes the connections that a worker was given and did not live to take. node:cluster keeps the connection open until the worker answers;
 * when it dies before that, nobody closes it, and its caller would wait for ever. The messages are those of node:cluster itself: the one
 * place where they can be seen.
 */
export function closeLostConnections(worker: ChildProcess): void {
  const given = new Map<number, ConnectionHandle>();
  const send = worker.send.bind(worker) as (...args: unknown[]) => boolean;
  worker.send = (...args: unknown[]): boolean => {
    const [message, handle] = args as [ClusterMessage, ConnectionHandle | undefined];
    if (handle && message.cmd === 'NODE_CLUSTER' && message.act === 'newconn' && message.seq !== undefined) {
      given.set(message.seq, handle);
    }
    return send(...args);
  };
  worker.on('internalMessage', ({ ack }: ClusterMessage) => {
    if (ack !== undefined) given.delete(ack);
  });
  worker.once('exit', () => {
    for (const handle of given.values()) handle.close();
  });
}
