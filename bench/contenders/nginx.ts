import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, type Place, type Program } from '../place.ts';
import type { Contender, Setting } from './contender.ts';

const NOTHING = { token: false, proof: false, replay: false };

/** The upstream of every contender: nginx that answers 1 KB to everything. */
export async function startUpstream(place: Place, cpus: string | undefined): Promise<Program> {
  const port = await freePort();
  const server = `location / { default_type application/json; return 200 '${JSON.stringify({ data: 'x'.repeat(1013) })}'; }`;
  return startNginx(place, { name: 'upstream', port, http: '', server, cpus });
}

/** nginx as a bare reverse proxy: what forwarding costs in C. */
export async function startNginxProxy({ place, upstreamPort, cpus }: Setting): Promise<Contender> {
  const port = await freePort();
  const http = `upstream up { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 100000000; }`;
  const server = 'location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }';
  const program = await startNginx(place, { name: 'nginx', port, http, server, cpus });
  return { name: 'nginx, bare proxy', program, redis: null, checks: NOTHING };
}

interface NginxParts {
  readonly name: string;
  readonly port: number;
  readonly http: string;
  readonly server: string;
  readonly cpus: string | undefined;
}

function startNginx(place: Place, { name, port, http, server, cpus }: NginxParts): Promise<Program> {
  const file = join(place.folder, `${name}.conf`);
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(place.folder, `${name}_${kind}`)};`,
  );
  writeFileSync(
    file,
    `daemon off; worker_processes 1; pid ${join(place.folder, `${name}.pid`)}; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; ${paths.join(' ')} ${http}
  server { listen 127.0.0.1:${port}; ${server} } }
`,
  );
  return place.start({ name, command: 'nginx', args: ['-e', 'stderr', '-c', file], port, cpus });
}
