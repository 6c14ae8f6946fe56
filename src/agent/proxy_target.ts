/** Where a CONNECT leads. */
export interface Authority {
  readonly host: string;
  readonly port: number;
  /** The origins that it may stand for, https first; none where the host is no host of a URL. */
  readonly origins: readonly string[];
}

const AUTHORITY = /^([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})$/;
const ABSOLUTE = /^(http:\/\/[^/?#@\s\\]+)([/?][^#\s]*)?$/i;

/** Reads the target of a CONNECT: host and port, nothing else (RFC 9110 §9.3.6). Null: it is none. */
export function authorityIn(text: string): Authority | null {
  const [, host, port] = AUTHORITY.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535 || Number(port) === 0) return null;
  const origins = ['https', 'http'].flatMap((scheme) => URL.parse(`${scheme}://${host}:${port}`)?.origin ?? []);
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port), origins };
}

/** Reads a target in absolute form (RFC 9112 §3.2.2): plain http, without user and fragment. What Host says does not count. Null: it is none. */
export function absoluteIn(text: string): { readonly origin: string; readonly target: string } | null {
  const [, base = '', rest = '/'] = ABSOLUTE.exec(text) ?? [];
  const origin = URL.parse(base)?.origin;
  if (origin === undefined) return null;
  return { origin, target: rest.startsWith('/') ? rest : `/${rest}` };
}
