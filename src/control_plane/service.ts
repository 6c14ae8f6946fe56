import type { ServiceConfig } from '../config/service_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { ServiceAgent } from './agent.ts';
import { type Credentials, createCredentials } from './credentials.ts';
import { type ExchangeAnswer, type ExchangeRequest, exchange } from './exchange.ts';

/** One request to a service, relative to its URL. */
export interface ServiceRequest extends Partial<Pick<ExchangeRequest, 'body' | 'signal' | 'headers'>> {
  readonly method: 'GET' | 'POST';
  /** Below the URL of the service, without a slash at its beginning. */
  readonly path: string;
  readonly maxBytes: number;
  /** Milliseconds that the answer may take beyond the timeout of the service, since it was asked to wait. */
  readonly waitMs?: number;
}

/** A control plane: its address, its TLS and the gateway's credentials there. */
export interface Service {
  readonly name: string;
  /** Where a path leads, for messages and to tell sources apart. */
  urlOf(path: string): string;
  /** Sends one request. Never rejects: what stands in the way of it is a problem in words. */
  send(request: ServiceRequest): Promise<ExchangeAnswer>;
  close(): void;
}

/** Prepares a service. @throws Error that names the file that cannot be used */
export function createService(config: ServiceConfig, clock: Clock): Service {
  const agent = new ServiceAgent(config);
  const credentials = createCredentials(config, { agent, clock });
  const base = config.url.replace(/\/+$/, '');
  const urlOf = (path: string) => `${base}/${path}`;
  const attempt = async (request: ServiceRequest): Promise<ExchangeAnswer> => {
    const { method, path, maxBytes, waitMs = 0, headers = {}, body, signal } = request;
    const authorization = await credentials.authorization();
    const sent = { 'accept-encoding': 'identity', 'user-agent': 'sallyport', ...headers };
    const all = authorization === undefined ? sent : { ...sent, authorization };
    const timeoutMs = config.timeout_ms + waitMs;
    return exchange({ url: urlOf(path), method, headers: all, body, timeoutMs, maxBytes, signal }, agent.current());
  };
  return {
    name: config.name,
    urlOf,
    send: (request) => sendWith(attempt, request, credentials),
    close: () => agent.close(),
  };
}

type Attempt = (request: ServiceRequest) => Promise<ExchangeAnswer>;

/** A token that was revoked, or that the service has forgotten, is replaced once. */
async function sendWith(attempt: Attempt, request: ServiceRequest, credentials: Credentials): Promise<ExchangeAnswer> {
  try {
    const answer = await attempt(request);
    if (!answer.ok || answer.status !== 401) return answer;
    credentials.refused();
    return await attempt(request);
  } catch (error) {
    return { ok: false, problem: `cannot be asked: ${(error as Error).message}` };
  }
}
