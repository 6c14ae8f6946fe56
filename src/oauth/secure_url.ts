/**
 * Whether keys and metadata may be fetched from a URL (RFC 8414 §3, §6.1): https, or http where nobody stands in between (loopback) or
 * the operator allowed it. No user information, and no fragment.
 */
export function isSecureUrl(text: string, allowInsecure: boolean): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  if (url.username !== '' || url.password !== '' || text.includes('#')) return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && (allowInsecure || isLoopbackHost(url.hostname));
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
