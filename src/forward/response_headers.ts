import { isHopByHop } from '../kernel/fields.ts';

/** Answer fields that end here although they are end-to-end, lower case. */
const ENDS_HERE: ReadonlySet<string> = new Set([
  // RFC 9449 §8.2: a nonce is for the server that gave it; the caller would sign the upstream's into its next proof for us.
  'dpop-nonce',
  // The upstream challenges the gateway's credential; the caller can do nothing about it and would take its own token for refused.
  'www-authenticate',
  'authentication-info',
  // RFC 7838 §2: would send the caller around the gateway.
  'alt-svc',
]);

/** What the caller's header list depends on besides the answer. */
export interface ResponseHeaderOptions {
  /** The gateway's name in Via and Proxy-Status. */
  readonly pseudonym: string;
  readonly decisionId: string;
  /** Obligation: fields to remove, lower case. */
  readonly remove: readonly string[];
  readonly status: number;
}

/**
 * The header fields that the caller gets, names and values in turn, repetitions, order and spelling kept. Null when the answer is framed in
 * a way that cannot be passed on (RFC 9112 §6.1: a transfer coding other than chunked, which nobody asked for).
 */
export function responseHeaders(raw: readonly (Buffer | string)[], options: ResponseHeaderOptions): string[] | null {
  const { remove, pseudonym, decisionId, status } = options;
  const named = connectionNamedBy(raw);
  const headers: string[] = [];
  let chunked = false;
  let proxied = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i] as Buffer | string);
    const lower = name.toLowerCase();
    if (isHopByHop(lower)) {
      if (lower !== 'transfer-encoding') continue;
      if (
        chunked ||
        latin1(raw[i + 1] as Buffer | string)
          .trim()
          .toLowerCase() !== 'chunked'
      )
        return null;
      chunked = true;
      continue;
    }
    if (ENDS_HERE.has(lower) || lower.startsWith('sallyport-') || named?.includes(lower)) continue;
    // RFC 9110 §8.6: 204 carries no Content-Length.
    if (status === 204 && lower === 'content-length') continue;
    if (remove.length > 0 && remove.includes(lower)) continue;
    proxied ||= lower === 'proxy-status';
    headers.push(name, latin1(raw[i + 1] as Buffer | string));
  }
  // RFC 9209 §2: what stands before the gateway's own member came from behind it.
  if (proxied) headers.push('Proxy-Status', pseudonym);
  headers.push('Via', `1.1 ${pseudonym}`, 'Sallyport-Decision-Id', decisionId);
  return headers;
}

/** RFC 9110 §7.6.1: the fields that the upstream's Connection names; null when it names none but `close` and `keep-alive`. */
function connectionNamedBy(raw: readonly (Buffer | string)[]): string[] | null {
  let named: string[] | null = null;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const field = raw[i] as Buffer | string;
    if (field.length !== 10 || latin1(field).toLowerCase() !== 'connection') continue;
    for (const option of latin1(raw[i + 1] as Buffer | string).split(',')) {
      const lower = option.trim().toLowerCase();
      if (lower === '' || lower === 'close' || lower === 'keep-alive') continue;
      named ??= [];
      // Framing is not the upstream's to name away.
      if (lower !== 'content-length') named.push(lower);
    }
  }
  return named;
}

function latin1(text: Buffer | string): string {
  return typeof text === 'string' ? text : text.toString('latin1');
}
