/**
 * Header fields that end at the gateway. What the policy judges must be what the upstream gets, so the stage that shows header fields
 * to the policy and the stage that sends them on share this one list.
 */

/** Fields that concern one connection only (RFC 9110 §7.6.1, RFC 9112 appendix C.2.2), lower case. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Request fields that end here, folded. */
const ENDS_HERE: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  // Credentials: the upstream gets the gateway's own. No check saw a cookie, so it cannot speak for the caller either.
  'authorization',
  'dpop',
  'cookie',
  // Client certificates as other proxies write them (RFC 9440, Envoy, Azure); only a handshake of ours counts.
  'client-cert',
  'client-cert-chain',
  'x-client-cert',
  'x-arr-clientcert',
  // Where the caller says it comes from, or what it says it asked for: statements that only a proxy in front could make (RFC 7239).
  'forwarded',
  'x-forwarded',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-originating-ip',
  'client-ip',
  'true-client-ip',
  'fastly-client-ip',
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'x-host',
  'x-http-host-override',
  'x-rewrite-url',
  'remote-user',
  // CGI makes HTTP_PROXY of it, and programs behind send what they fetch through there (CVE-2016-5385).
  'proxy',
  // Another method than the one that was judged.
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  '-method',
]);

/** Families of such fields: forwarding proxies, TLS terminators, and our own identity fields. */
const ENDS_HERE_FAMILY =
  /^(?:x-(?:forwarded-|original-|envoy-|remote-|ssl-|client-verify|amzn-mtls-)|ssl-client-|sallyport-)/;

/** Field names as many upstreams read them: lower case, and `_` taken for `-` (CGI, WSGI, Rack). */
export function foldFieldName(name: string): string {
  const lower = name.toLowerCase();
  return lower.includes('_') ? lower.replaceAll('_', '-') : lower;
}

/** Whether a request field, by its folded name, ends at the gateway: it is neither shown to the policy nor sent to the upstream. */
export function endsAtGateway(foldedName: string): boolean {
  return ENDS_HERE.has(foldedName) || ENDS_HERE_FAMILY.test(foldedName);
}

/**
 * Whether a front proxy may write a client certificate into a field of this name: only where what callers write there never gets past the
 * gateway, and into no field that means something else here.
 */
export function mayCarryCertificate(name: string): boolean {
  const folded = foldFieldName(name);
  return (
    folded === name.toLowerCase() && endsAtGateway(folded) && /cert|ssl|tls/.test(folded) && !folded.endsWith('-chain')
  );
}

/** The fields that `Connection` names, folded; they end here too (RFC 9110 §7.6.1). Null when it names none but `close` and `keep-alive`. */
export function connectionNamed(rawHeaders: readonly string[]): ReadonlySet<string> | null {
  let named: Set<string> | null = null;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue;
    for (const option of (rawHeaders[i + 1] as string).split(',')) {
      const folded = foldFieldName(option.trim());
      if (folded === '' || folded === 'close' || folded === 'keep-alive') continue;
      named ??= new Set();
      named.add(folded);
    }
  }
  return named;
}
