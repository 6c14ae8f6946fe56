import { isJsonObject, parseJsonObject } from '../oauth/strict_json.ts';
import { type Called, type CallTls, call } from './call.ts';

/** Where the gateway's part of a diagnosis is. */
const PATH = '/.well-known/sallyport/doctor';

/** A gateway behind whatever stands in front of it. */
export interface Patient {
  /** What callers use, a path included where a load balancer is said to serve the gateway below one. */
  readonly url: URL;
  /** Of `doctor.token_file` of the gateway. */
  readonly token: string;
  readonly tls?: CallTls | undefined;
}

/** How a request arrived at the gateway, as `describeArrival` tells it. */
export interface Arrival {
  readonly origin: string;
  readonly server_time_ms: number;
  readonly received: {
    readonly target: string;
    readonly http_version: string;
    readonly fields: readonly (readonly [string, string])[];
    readonly credentials: Readonly<Record<'authorization' | 'dpop', readonly { length: number; sha256: string }[]>>;
  };
  readonly connection: {
    readonly tls: boolean;
    readonly front_proxy: boolean;
    readonly certificate: string | null;
  };
  readonly expects: {
    readonly header_bytes: number;
    readonly leeway_seconds: number;
    readonly client_certificates: string;
    readonly routes: readonly {
      readonly name: string;
      readonly hosts: readonly string[];
      readonly bindings: readonly string[];
      readonly websocket: boolean;
    }[];
  };
}

/** The URL that the gateway's part has for callers. */
export function doctorUrl({ url }: Patient, question = ''): URL {
  return new URL(url.pathname.replace(/\/$/, '') + PATH + question, url);
}

/** The field that shows who asks. */
export function askerField({ token }: Patient): string[] {
  return ['Sallyport-Doctor', token];
}

/** Asks how a request with these header fields, and this spelling of the path, arrives. @throws Error when nothing comes back */
export async function ask(
  patient: Patient,
  headers: readonly string[] = [],
  path?: string,
): Promise<Called & { arrival: Arrival | null }> {
  const called = await call({
    url: doctorUrl(patient),
    path,
    headers: [...askerField(patient), ...headers],
    tls: patient.tls,
  });
  return { ...called, arrival: called.status === 200 ? arrivalOf(called.body) : null };
}

function arrivalOf(body: string): Arrival | null {
  const json = parseJsonObject(body, { maxBytes: 1_048_576 });
  if (!json.ok || !isJsonObject(json.value['received']) || typeof json.value['origin'] !== 'string') return null;
  return json.value as unknown as Arrival;
}

/** Who an answer comes from: the gateway names itself in Proxy-Status (RFC 9209). */
export function isOfGateway({ headers }: Pick<Called, 'headers'>): boolean {
  return /^sallyport\b/.test(String(headers['proxy-status'] ?? ''));
}
