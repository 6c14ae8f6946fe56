import { BlockList, isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { CertificateField } from '../kernel/context.ts';

/** Proxies in front of the gateway that are trusted to say what certificates their callers showed. */
export interface FrontProxy {
  /** Where they connect from; null: from anywhere. */
  readonly addresses: BlockList | null;
  /** The names of their own certificates (DNS names and URIs of subjectAltName), one of which must be there; null: none is asked for. */
  readonly names: readonly string[] | null;
  /** Null: they pass on no certificates. */
  readonly certificateField: CertificateField | null;
}

/** Addresses and networks, as connections are compared with them. */
export function addressList(
  networks: readonly { readonly address: string; readonly prefix: number; readonly family: 'ipv4' | 'ipv6' }[],
): BlockList {
  const list = new BlockList();
  for (const { address, prefix, family } of networks) list.addSubnet(address, prefix, family);
  return list;
}

/** The front proxy that a connection comes from: by its address, and by its verified certificate where names are asked for. */
export function findFrontProxy(proxies: readonly FrontProxy[], socket: TLSSocket): FrontProxy | null {
  if (proxies.length === 0) return null;
  return proxies.find((proxy) => comesFrom(proxy, socket) && isNamed(proxy, socket)) ?? null;
}

function comesFrom({ addresses }: FrontProxy, { remoteAddress = '' }: TLSSocket): boolean {
  if (addresses === null) return true;
  // A listener on :: sees IPv4 in IPv6 (RFC 4291 §2.5.5.2).
  const address = remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress;
  const version = isIP(address);
  return version !== 0 && addresses.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

function isNamed({ names }: FrontProxy, socket: TLSSocket): boolean {
  if (names === null) return true;
  if (socket.authorized !== true) return false;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return false; // A resumed TLS 1.3 session without one is `authorized` too.
  const own = namesIn(certificate.subjectAltName ?? '');
  return names.some((name) => own.includes(name));
}

/** DNS names and URIs of a certificate, as Node.js writes them. Whatever could be read in two ways it puts in quotes: then there are none. */
function namesIn(subjectAltName: string): string[] {
  if (subjectAltName.includes('"')) return [];
  return subjectAltName.split(', ').flatMap((entry) => {
    if (entry.startsWith('DNS:')) return [entry.slice(4).toLowerCase()];
    return entry.startsWith('URI:') ? [entry.slice(4)] : [];
  });
}
