import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

/** A real redis-server of the test's own, on loopback. */
export interface RedisServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** Sends one command as an operator would, over a connection of its own. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** Ends the process at once, without saving: a crash. */
  kill(): Promise<void>;
  /** Ends the process and removes its folder. Harmless when it has ended already. */
  stop(): Promise<void>;
}

/** What differs from an empty server without persistence that never evicts. */
export interface RedisServerOptions {
  /** Absent: any free port. Given: to start again where another ended. */
  readonly port?: number;
  /** Further command-line options, such as `--maxmemory`, `3mb`. */
  readonly args?: readonly string[];
  /** Absent: a new empty folder, which `stop` removes. */
  readonly directory?: string;
  /** A configuration file: runs as a sentinel instead. */
  readonly sentinelConfig?: string;
}

const HOST = '127.0.0.1';
const READY_TIMEOUT_MS = 10_000;
const running = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a redis-server and waits until it answers PING. Fails with what to install when there is none. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'sallyport-redis-'));
  const child = spawn('redis-server', argumentsOf(options, port, directory), { stdio: 'ignore' });
  running.add(child);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  ended.then(() => running.delete(child));
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error: NodeJS.ErrnoException) => {
      running.delete(child);
      const advice =
        'redis-server was not found on PATH; these tests need one: on Debian, apt-get install redis-server';
      reject(error.code === 'ENOENT' ? new Error(advice) : error);
    });
  });
  await answers(port, child);

  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  return {
    host: HOST,
    port,
    url: `redis://${HOST}:${port}`,
    pid: child.pid as number,
    call: (command, ...rest) => callRedis(port, command, ...rest),
    kill: () => end('SIGKILL'),
    stop: async () => {
      await end('SIGKILL'); // It holds nothing worth saving.
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

function argumentsOf(options: RedisServerOptions, port: number, directory: string): string[] {
  const common = ['--port', String(port), '--bind', HOST, '--dir', directory];
  if (options.sentinelConfig !== undefined) return [options.sentinelConfig, '--sentinel', ...common];
  const empty = [
    '--save',
    '',
    '--appendonly',
    'no',
    '--maxmemory-policy',
    'noeviction',
    '--enable-debug-command',
    'yes',
  ];
  return [...common, ...empty, ...(options.args ?? [])];
}

/** A port that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function callRedis(port: number, command: string, ...args: (string | number)[]): Promise<unknown> {
  const client = new Redis({ host: HOST, port, retryStrategy: () => null, commandTimeout: 5000 });
  client.on('error', () => {}); // The call itself rejects.
  try {
    return await client.call(command, ...args);
  } finally {
    client.disconnect();
  }
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`redis-server ended with exit code ${child.exitCode}`);
    if (await pings(port)) return;
    await sleep(20);
  }
  child.kill('SIGKILL');
  throw new Error(`redis-server did not answer PING on port ${port} within ${READY_TIMEOUT_MS} ms`);
}

/** Any reply counts: with a password set, PING is answered with an error. */
function pings(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST, () => socket.write('PING\r\n'));
    const finish = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('data', () => finish(true));
    socket.once('error', () => finish(false));
    socket.setTimeout(500, () => finish(false));
  });
}
