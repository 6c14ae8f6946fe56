import { isIPv4, isIPv6 } from 'node:net';

/** Whether an address can only be reached from this machine. */
export function isLoopbackAddress(address: string): boolean {
  if (isIPv4(address)) return address.startsWith('127.');
  return address === 'localhost' || (isIPv6(address) && (address === '::1' || /^(?:0{1,4}:){7}0{0,3}1$/.test(address)));
}

/**
 * Whether a Host header names this machine by an address or name that no DNS server of someone else's can give out: an IP address, or
 * `localhost`, which resolves to loopback only (RFC 6761 §6.3). Any port.
 */
export function isTrustedHost(host: string | undefined): boolean {
  const name = /^(\[[\da-f:.]+\]|[^:[\]]+)(?::\d{1,5})?$/i.exec(host ?? '')?.[1];
  if (name === undefined) return false;
  if (name.startsWith('[')) return isIPv6(name.slice(1, -1));
  return isIPv4(name) || name.toLowerCase() === 'localhost';
}
