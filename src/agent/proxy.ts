import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Access } from './access.ts';
import { type Api, apiFor } from './api.ts';
import type { EphemeralCa } from './ephemeral_ca.ts';
import { type CallContext, passOn } from './exchange.ts';
import { type Admission, createLocalServer, EVERYBODY } from './local_server.ts';
import { absoluteIn, authorityIn } from './proxy_target.ts';
import { type AgentRefusal, refuse, refuseOnSocket } from './refusal.ts';
import { relay, tunnel } from './relay.ts';
import { hostsOf } from './reverse.ts';
import { passUpgrade } from './upgrade.ts';

/** What forward mode is made of. */
export interface ProxyOptions {
  readonly apis: readonly Api[];
  readonly context: CallContext;
  readonly access: Access;
  readonly admission: Admission;
  readonly ca: EphemeralCa;
  readonly others: 'refuse' | 'tunnel';
  /** Milliseconds. */
  readonly timeouts: { readonly connect: number; readonly idle: number };
}

const HANDSHAKE_MS = 10_000;
const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';

/**
 * Forward mode: the job's HTTPS_PROXY. For the origins of the job's APIs, and for no other, it ends TLS with a certificate of the job's own
 * CA; each request inside is then passed on as in reverse mode. Other origins are refused, or passed through byte for byte.
 */
export class ForwardProxy {
  readonly server: Server;
  readonly #options: ProxyOptions;
  /** Where connections go once they are open for requests. */
  readonly #inner: Server;
  readonly #origins = new WeakMap<Socket, string>();
  readonly #open = new Set<Duplex>();

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.server = createLocalServer(
      {
        request: (request, response, awaitsContinue) => this.#plain(request, response, awaitsContinue),
        upgrade: (request, socket, head) => this.#connect(request, socket, head),
      },
      options.admission,
    );
    this.#inner = createLocalServer(
      {
        request: (request, response, awaitsContinue) => {
          const placed = this.#place(request);
          if (typeof placed === 'string') return refuse(request, response, placed);
          options.context.notices.countRequest();
          void passOn({ ...placed, request, response, awaitsContinue, rewrite: null }, options.context);
        },
        upgrade: (request, socket, head) => {
          const placed = request.method === 'CONNECT' ? 'request_malformed' : this.#place(request);
          if (typeof placed === 'string') return refuseOnSocket(socket, placed);
          options.context.notices.countRequest();
          void passUpgrade({ ...placed, request, socket, head }, options.context);
        },
      },
      EVERYBODY,
    );
  }

  /** Ends what is open; nothing new is taken. */
  close(): void {
    this.server.close();
    this.#inner.close();
    for (const socket of this.#open) socket.destroy();
  }

  #connect(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { access, others, timeouts, apis } = this.#options;
    const target = request.method === 'CONNECT' ? authorityIn(request.url ?? '') : null;
    if (!access.presentToProxy(request)) refuseOnSocket(socket, 'proxy_secret_missing');
    else if (target === null) refuseOnSocket(socket, 'request_malformed');
    else {
      this.#hold(socket);
      const origin = target.origins.find((one) => apis.some((api) => api.origin === one));
      if (origin !== undefined) this.#receive(socket as Socket, origin, head);
      else if (others === 'tunnel') tunnel({ ...target, socket, head, timeouts });
      else {
        this.#refused(`${target.host}:${target.port}`);
        refuseOnSocket(socket, 'not_an_api');
      }
    }
  }

  /** From here on the connection carries requests for one origin. */
  #receive(socket: Socket, origin: string, head: Buffer): void {
    socket.write(ESTABLISHED);
    if (head.length > 0) socket.unshift(head);
    if (origin.startsWith('http:')) {
      this.#origins.set(socket, origin);
      this.#inner.emit('connection', socket);
      return;
    }
    const name = new URL(origin).hostname.replace(/^\[|\]$/g, '');
    this.#options.ca.contextFor(name).then(
      (secureContext) => {
        const secure = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ['http/1.1'] });
        const late = setTimeout(() => secure.destroy(), HANDSHAKE_MS);
        this.#hold(secure);
        secure.on('error', () => secure.destroy()).once('close', () => clearTimeout(late));
        secure.once('secure', () => {
          clearTimeout(late);
          this.#origins.set(secure, origin);
          this.#inner.emit('connection', secure);
        });
      },
      () => socket.destroy(),
    );
  }

  /** Which API a request inside a connection is for. */
  #place(request: IncomingMessage): { readonly api: Api; readonly target: string } | AgentRefusal {
    const origin = this.#origins.get(request.socket);
    const target = request.url ?? '';
    const hosts = hostsOf(request);
    if (origin === undefined || hosts.length !== 1 || !target.startsWith('/')) return 'request_malformed';
    const [host = ''] = hosts;
    const named = /^[^@/?#\\\s]+$/.test(host) ? URL.parse(`${new URL(origin).protocol}//${host}`)?.origin : null;
    if (named !== origin) return 'host_unknown';
    const api = apiFor(this.#options.apis, origin, target);
    return api === null ? 'not_an_api' : { api, target };
  }

  /** A request in absolute form (RFC 9112 §3.2.2): plain HTTP through the proxy. */
  #plain(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    const { access, apis, context, others, timeouts } = this.#options;
    const absolute = hostsOf(request).length > 1 ? null : absoluteIn(request.url ?? '');
    if (!access.presentToProxy(request)) refuse(request, response, 'proxy_secret_missing');
    else if (absolute === null) refuse(request, response, 'request_malformed');
    else {
      const { origin, target } = absolute;
      const api = apiFor(apis, origin, target);
      if (api !== null) {
        context.notices.countRequest();
        void passOn({ api, target, request, response, awaitsContinue, rewrite: null }, context);
      } else if (others === 'tunnel' && !apis.some((one) => one.origin === origin)) {
        relay({ origin: new URL(origin), target, request, response, timeouts, awaitsContinue });
      } else {
        this.#refused(origin);
        refuse(request, response, 'not_an_api');
      }
    }
  }

  #refused(what: string): void {
    this.#options.context.notices.say(
      `a request to ${what} was refused: it is not among the APIs of this job (proxy.others: refuse)`,
    );
  }

  #hold(socket: Duplex): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
  }
}
