import type { IncomingMessage, Server } from 'node:http';
import type { Access } from './access.ts';
import { type Api, localUrl } from './api.ts';
import { type CallContext, passOn } from './exchange.ts';
import { type Admission, createLocalServer } from './local_server.ts';
import { type AgentRefusal, refuse, refuseOnSocket } from './refusal.ts';
import { passUpgrade } from './upgrade.ts';

/** What one local door to an API is made of. */
export interface ReverseOptions {
  readonly api: Api;
  readonly context: CallContext;
  /** Null for a Unix socket, which nobody else can reach. */
  readonly access: Access | null;
  readonly admission: Admission;
}

/** A target that the gateway gets, or why there is none. */
type Placed = { readonly target: string } | AgentRefusal;

/**
 * Makes the server that stands for one API: whatever is asked of it is asked of the API, below its base path. It serves its own name only,
 * so that a name that was made to point to loopback (DNS rebinding) leads nowhere.
 */
export function createReverseServer({ api, context, access, admission }: ReverseOptions): Server {
  let base: string | null = null;
  const baseOf = () => {
    const bound = server.address();
    base ??= typeof bound === 'object' && bound !== null && access !== null ? localBase(bound.port, access) : null;
    return base;
  };
  const server = createLocalServer(
    {
      request: (request, response, awaitsContinue) => {
        context.notices.countRequest();
        const placed = place(request, api, access, server);
        if (typeof placed === 'string') return refuse(request, response, placed);
        const local = baseOf();
        const rewrite = local === null ? null : localUrl(api, local);
        void passOn({ api, request, response, awaitsContinue, rewrite, ...placed }, context);
      },
      upgrade: (request, socket, head) => {
        if (request.method === 'CONNECT') return refuseOnSocket(socket, 'request_malformed');
        context.notices.countRequest();
        const placed = place(request, api, access, server);
        if (typeof placed === 'string') return refuseOnSocket(socket, placed);
        void passUpgrade({ api, request, socket, head, ...placed }, context);
      },
    },
    admission,
  );
  return server;
}

/** The base URL of an API at its local port. */
export function localBase(port: number, access: Access): string {
  return `http://127.0.0.1:${port}/${access.secret}`;
}

function place(request: IncomingMessage, api: Api, access: Access | null, server: Server): Placed {
  const hosts = hostsOf(request);
  if (hosts.length > 1) return 'request_malformed';
  const raw = request.url ?? '';
  if (!raw.startsWith('/')) return 'request_malformed';
  if (access === null) return { target: below(api, raw) };
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const [host] = hosts;
  if (host !== `127.0.0.1:${port}` && host?.toLowerCase() !== `localhost:${port}`) return 'host_unknown';
  const { granted, target } = access.present(request);
  return granted ? { target: below(api, target) } : 'secret_missing';
}

function below({ basePath }: Api, rest: string): string {
  const target = basePath + rest;
  return target.startsWith('/') ? target : `/${target}`;
}

/** Node.js keeps the first of several. */
export function hostsOf({ rawHeaders }: IncomingMessage): string[] {
  const hosts: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === 'host') hosts.push(rawHeaders[i + 1] as string);
  }
  return hosts;
}
