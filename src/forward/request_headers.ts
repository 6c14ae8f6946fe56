import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { AuthorizedRequest, RequestContext } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import { connectionNamed, endsAtGateway, foldFieldName } from '../kernel/fields.ts';
import { addIdentity } from './identity.ts';

/** Fields that the forwarder writes itself from what was judged, so the caller's are left out. */
const WRITTEN_HERE: ReadonlySet<string> = new Set(['host', 'content-length', 'expect']);

/**
 * The header fields that are sent to the upstream, names and values in turn, order and spelling kept: what the caller sent, less what ends
 * at the gateway, and then, so that `Connection` cannot name them, the fields that the gateway states itself. Host, framing and the
 * credential are not in it. `pseudonym` is the gateway's name in Via; `credentialNames` are the fields that the credential sets, folded.
 */
export function requestHeaders(
  authorized: AuthorizedRequest,
  pseudonym: string,
  credentialNames: readonly string[],
): string[] {
  const { context, decision } = authorized;
  const raw = context.rawHeaders;
  const named = connectionNamed(raw);
  const set = decision.obligations.setHeaders;
  const replaced = set.length === 0 && credentialNames.length === 0 ? null : replacedNames(set, credentialNames);
  const headers: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    const folded = foldFieldName(name);
    if (endsAtGateway(folded) || WRITTEN_HERE.has(folded) || named?.has(folded) || replaced?.has(folded)) continue;
    headers.push(name, raw[i + 1] as string);
  }
  addIdentity(headers, authorized);
  for (const [name, value] of set) headers.push(name, value);
  // RFC 9110 §7.6.3: Via is appended to.
  headers.push('Forwarded', forwarded(context), 'Via', `${context.httpVersion} ${pseudonym}`);
  return headers;
}

/**
 * Refuses obligations that would write what the gateway itself vouches for: framing, Host, identity, credentials, hop-by-hop fields; and
 * those that cannot be sent. Reasons: `policy.unknown_obligation`, `policy.malformed`.
 */
export function checkSetHeaders(authorized: AuthorizedRequest, credentialNames: readonly string[]): Denial | null {
  for (const [name, value] of authorized.decision.obligations.setHeaders) {
    const folded = foldFieldName(name);
    if (endsAtGateway(folded) || WRITTEN_HERE.has(folded) || credentialNames.includes(folded)) {
      return { reason: 'policy.unknown_obligation', note: 'set_header names a field that only the gateway writes' };
    }
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      return { reason: 'policy.malformed', note: 'set_header cannot be sent' };
    }
  }
  return null;
}

/** Bytes of body that the caller announced; null when it did not. Stage 1 has judged the framing: at most one Content-Length, digits only. */
export function announcedLength(context: RequestContext): number | null {
  const raw = context.rawHeaders;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    if (name.length === 14 && name.toLowerCase() === 'content-length') return Number(raw[i + 1]);
  }
  return null;
}

/** An obligation replaces the caller's field, also under its underscore alias. */
function replacedNames(set: readonly (readonly [string, string])[], credentialNames: readonly string[]): Set<string> {
  const names = new Set(credentialNames);
  for (const [name] of set) names.add(foldFieldName(name));
  return names;
}

/** RFC 7239 §4; an IPv6 address and a host with a port must be quoted (§6). */
function forwarded({ peerAddress, route, host }: RequestContext): string {
  const from = peerAddress.startsWith('::ffff:') ? peerAddress.slice(7) : peerAddress;
  const address = from.includes(':') ? `"[${from}]"` : from === '' ? 'unknown' : from;
  const proto = route.origin.startsWith('https:') ? 'https' : 'http';
  return `for=${address};proto=${proto};host=${host.includes(':') ? `"${host}"` : host}`;
}
