import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A load balancer that stands in front of a gateway, as a process of its own. */
export interface LoadBalancer {
  readonly port: number;
  stop(): Promise<void>;
}

const READY_MS = 10_000;
/** Where distributions put programs that are not for everybody. */
const SYSTEM_PATH = `${process.env['PATH']}:/usr/sbin:/usr/local/sbin`;
/** Where scripts/install_envoy.sh keeps Envoy, or says that there is no wheel of it for this platform. */
const ENVOY = resolve(import.meta.dirname, '../../node_modules/.cache/sallyport-envoy');
const PATH = `${ENVOY}:${SYSTEM_PATH}`;

/** Whether there can be no Envoy on this platform. It is missing elsewhere only until scripts/install_test_needs.sh has run. */
export const NO_ENVOY =
  existsSync(join(ENVOY, 'no_wheel')) &&
  !SYSTEM_PATH.split(delimiter).some((folder) => existsSync(join(folder, 'envoy')));

/** A program that balances load. */
export type Balancer = 'nginx' | 'haproxy' | 'envoy';

/** Starts a load balancer with a whole configuration file, such as one of a guide. */
export function startFromFile(port: number, program: Balancer, text: string): Promise<LoadBalancer> {
  return start(port, program, (folder) => {
    // Envoy reads by the ending.
    const file = join(folder, program === 'envoy' ? 'envoy.yaml' : `${program}.conf`);
    if (program === 'haproxy') {
      writeFileSync(file, text);
      return ['-db', '-q', '-f', file];
    }
    if (program === 'envoy') {
      writeFileSync(file, text);
      return [...ENVOY_OPTIONS, '-c', file];
    }
    // What distributions compile in belongs to root.
    writeFileSync(file, text.replace(/^http \{$/m, `http {\n${temporaryPaths(folder).join('\n')}`));
    return ['-e', 'stderr', '-c', file, '-g', `daemon off; pid ${join(folder, 'nginx.pid')};`];
  });
}

/** One thread, no memory shared with an Envoy that would take over, and only what went wrong on standard error. */
const ENVOY_OPTIONS = ['--concurrency', '1', '--disable-hot-restart', '-l', 'error'];

function temporaryPaths(folder: string): string[] {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${join(folder, kind)};`);
}

/** Starts nginx: `server` is what stands in its server block, `http` what stands beside it. */
export function startNginx(port: number, server: string, http = '', listen = ''): Promise<LoadBalancer> {
  return start(port, 'nginx', (folder) => {
    const paths = temporaryPaths(folder);
    const file = join(folder, 'nginx.conf');
    writeFileSync(
      file,
      `daemon off; worker_processes 1; pid ${join(folder, 'nginx.pid')}; error_log stderr crit;
events { worker_connections 256; }
http { access_log off; ${paths.join(' ')} large_client_header_buffers 4 32k; proxy_http_version 1.1; ${http}
server { listen 127.0.0.1:${port} ${listen}; ${server} } }
`,
    );
    return ['-e', 'stderr', '-c', file];
  });
}

/** Starts HAProxy: `lines` stand in its one proxy, which passes to the gateway. */
export function startHaproxy(
  port: number,
  gatewayPort: number,
  lines: readonly string[],
  global = '',
): Promise<LoadBalancer> {
  return start(port, 'haproxy', (folder) => {
    const file = join(folder, 'haproxy.cfg');
    writeFileSync(
      file,
      `global
  ${global === '' ? 'tune.bufsize 32768' : global}
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
listen gateway
  bind 127.0.0.1:${port}
  ${lines.join('\n  ')}
  server gateway 127.0.0.1:${gatewayPort}
`,
    );
    return ['-db', '-q', '-f', file];
  });
}

async function start(port: number, command: string, prepare: (folder: string) => string[]): Promise<LoadBalancer> {
  const folder = mkdtempSync(join(tmpdir(), `sallyport-${command}-`));
  const child = spawn(command, prepare(folder), { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH } });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    errors += part;
  });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', (error) => {
      errors += `${error.message}; sh scripts/install_test_needs.sh installs what the tests need`;
      resolve();
    });
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  if (await listens(port, child)) return { port, stop };
  await stop();
  throw new Error(`${command} does not listen on port ${port}: ${errors}`);
}

async function listens(port: number, child: ChildProcess): Promise<boolean> {
  const late = performance.now() + READY_MS;
  while (performance.now() < late && child.exitCode === null && child.pid !== undefined) {
    if (await connects(port)) return true;
    await sleep(20);
  }
  return false;
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
