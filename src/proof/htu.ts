const DEFAULT_PORT: Readonly<Record<string, string>> = { http: '80', https: '443' };
const UNRESERVED = /[A-Za-z0-9\-._~]/;

/**
 * Whether a proof's `htu` names the URI of the request (RFC 9449 §4.3 check 9). Both are normalised by syntax and by scheme; the path keeps
 * its case, query and fragment do not count. `expected` is the gateway's own URI: public origin and path, without query.
 */
export function namesTarget(htu: string, expected: string): boolean {
  // What nearly every client sends: the same text. It needs no reading.
  if (htu === expected) return true;
  const named = normalizeHtu(htu);
  return named !== null && named === normalizeHtu(expected);
}

/**
 * Brings an absolute http or https URI without user information into its normal form (RFC 3986 §6.2.2, §6.2.3): scheme and host in lower
 * case, default or empty port dropped, an empty path as `/`, percent-encoded unreserved characters decoded, other escapes in upper case.
 * Query and fragment are cut off. Null for anything else.
 *
 * Dot segments stay (against RFC 3986 §6.2.2.3): a target with dot segments is refused or, on routes that allow them as names, means just
 * those segments; removing them here would let a proof for one resource pass for another.
 */
export function normalizeHtu(text: string): string | null {
  if (/[^!-~]/.test(text)) return null; // RFC 3986 §2: ASCII only, so that lower case folds nothing else onto a letter.
  const colon = text.indexOf('://');
  if (colon < 1) return null;
  const scheme = text.slice(0, colon).toLowerCase();
  const defaultPort = scheme === 'http' || scheme === 'https' ? DEFAULT_PORT[scheme] : undefined;
  if (defaultPort === undefined) return null;
  const start = colon + 3;
  const rest = /[?#]/.exec(text);
  const end = rest === null ? text.length : rest.index;
  const slash = text.indexOf('/', start);
  const pathStart = slash === -1 || slash > end ? end : slash;
  const authority = normalizeAuthority(text.slice(start, pathStart), defaultPort);
  const path = decodeUnreserved(text.slice(pathStart, end));
  if (authority === null || path === null) return null;
  return `${scheme}://${authority}${path === '' ? '/' : path}`;
}

function normalizeAuthority(authority: string, defaultPort: string): string | null {
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^:@[\]]+)(?::([0-9]*))?$/.exec(authority); // No `@`: user information is refused.
  if (parts === null) return null;
  const host = decodeUnreserved(parts[1] ?? '')?.toLowerCase(); // RFC 3986 §6.2.2.1
  if (host === undefined) return null;
  const port = parts[2] ?? '';
  return port === '' || port === defaultPort ? host : `${host}:${port}`; // RFC 3986 §6.2.3
}

/** RFC 3986 §6.2.2.1 and §6.2.2.2. Null when a `%` starts no escape. */
function decodeUnreserved(text: string): string | null {
  if (!text.includes('%')) return text;
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return null;
  return text.replace(/%[0-9A-Fa-f]{2}/g, (triplet) => {
    const character = String.fromCharCode(Number.parseInt(triplet.slice(1), 16));
    return UNRESERVED.test(character) ? character : triplet.toUpperCase();
  });
}
