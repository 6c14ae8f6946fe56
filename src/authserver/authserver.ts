import type { AuthServerConfig } from '../config/authserver_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { authorityOf, listen } from '../net/listen.ts';
import { type Answer, createPlainServer } from '../net/plain_server.ts';
import { stopServer } from '../net/stop.ts';
import { readServerTls } from '../net/tls.ts';
import type { Log } from '../telemetry/log.ts';
import { makeClients } from './clients.ts';
import { makeEndpoints, sendError } from './endpoints.ts';
import { quietly } from './quiet_start.ts';
import { loadSigningKeys } from './signing_keys.ts';
import { UsedIds } from './used_ids.ts';

/** What an authorization server is started with. */
export interface AuthServerOptions {
  readonly config: AuthServerConfig;
  readonly log: Log;
  /** For lifetimes that this project checks; oidc-provider itself reads the system's clock. */
  readonly clock?: Clock;
}

/** An authorization server that answers. */
export interface RunningAuthServer {
  /** Issuer identifier; the metadata is at its well-known path (RFC 8414 §3). */
  readonly issuer: string;
  /** Where it listens: scheme, address and port. */
  readonly address: string;
  /** Finishes requests under way, for five seconds at most, and frees the port. */
  close(): Promise<void>;
}

const STOP_GRACE_MS = 5000;

/**
 * Starts the authorization server: machine clients that authenticate with a key, tokens that are bound to a key, and nothing else.
 * @throws ConfigError or Error that says what to do, before anything listens
 */
export async function startAuthServer(options: AuthServerOptions): Promise<RunningAuthServer> {
  const { config, log, clock = Date.now } = options;
  const clients = makeClients(config);
  const keys = await loadSigningKeys(config.signing_keys_file, log);
  // Loaded here and not before: who starts a gateway does not carry it.
  const [{ makeProvider }, { Issuance }] = await quietly(log, () =>
    Promise.all([import('./provider.ts'), import('./issuance.ts')]),
  );
  let answer: Answer = (_request, response) => sendError(response, 503, 'temporarily_unavailable');
  const { address, tls } = config.listen;
  const tlsOptions = tls === undefined ? null : readServerTls({ ...tls, client_certificates: 'none' });
  const server = createPlainServer((request, response) => answer(request, response), tlsOptions);
  const port = await listen(server, address, config.listen.port);
  const origin = `${tls === undefined ? 'http' : 'https'}://${authorityOf(address, port)}`;
  const issuer = config.issuer ?? origin;
  const issuance = new Issuance({ issuer, clients, used: new UsedIds(clock), clock });
  try {
    answer = makeEndpoints(makeProvider({ issuer, clients, keys, issuance, log }), issuer);
  } catch (error) {
    await stopServer(server, { graceMs: 0 });
    throw error;
  }
  return { issuer, address: origin, close: async () => void (await stopServer(server, { graceMs: STOP_GRACE_MS })) };
}
