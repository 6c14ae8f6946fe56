import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { eventually } from './eventually.ts';

/** A running nginx. */
export interface Nginx {
  /** Ends it; it can be started again on its port. */
  stop(): Promise<void>;
}

/**
 * Starts nginx on a port of loopback.
 * @param folder where its own files go
 * @param server directives inside of the one `server`, beside `listen`
 */
export async function startNginx(port: number, folder: string, server: string): Promise<Nginx> {
  const prefix = mkdtempSync(join(folder, 'nginx-'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${prefix}/${name};`,
  );
  const settings = `daemon off; master_process off; worker_processes 1; pid ${prefix}/pid; error_log ${prefix}/error.log;
events {}
http { access_log off; ${temporary.join(' ')} server { listen 127.0.0.1:${port}; ${server} } }
`;
  writeFileSync(join(prefix, 'nginx.conf'), settings);
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`;
  const child = spawn('nginx', ['-p', prefix, '-c', join(prefix, 'nginx.conf')], {
    stdio: 'ignore',
    env: { PATH: path },
  });
  child.on('error', () => undefined);
  await eventually('nginx listens', () => canConnect(port));
  return { stop: () => stop(child) };
}

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = child.exitCode === null ? once(child, 'exit') : Promise.resolve();
  child.kill('SIGTERM');
  await ended;
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}
