import { hash, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ClientCertificate, Peer } from '../kernel/context.ts';
import { type FrontProxy, findFrontProxy } from './front_proxies.ts';

/** Where it is kept: on the connection itself, which requests of HTTP/2 share. */
const PEER = Symbol('peer');

interface Known {
  [PEER]?: Peer;
}

/** How peers are judged. */
export interface PeerOptions {
  /** Whether client certificates must chain to a configured CA. */
  readonly mustChain: boolean;
  /** In this order; the first that a connection comes from counts. */
  readonly frontProxies: readonly FrontProxy[];
}

const NOBODY: Peer = Object.freeze({ serverName: null, certificate: null, certificateField: null });

/**
 * Makes the function that says who is at the other end of a connection, from its address and its TLS handshake, also where the session was
 * resumed. Read once for each connection: it cannot change, since renegotiation is refused and node:http never asks for a certificate later.
 */
export function createPeerReader(options: PeerOptions): (socket: Socket) => Peer {
  return (socket) => {
    const known = (socket as Known)[PEER];
    if (known !== undefined) return known;
    const peer = readPeer(socket as TLSSocket, options);
    (socket as Known)[PEER] = peer;
    return peer;
  };
}

function readPeer(socket: TLSSocket, { mustChain, frontProxies }: PeerOptions): Peer {
  const proxy = findFrontProxy(frontProxies, socket);
  // Its own name and certificate are not the caller's, whatever it passes on.
  if (proxy !== null) return { ...NOBODY, certificateField: proxy.certificateField };
  // Without TLS, a socket has neither.
  const certificate = socket.getPeerX509Certificate?.();
  const serverName = typeof socket.servername === 'string' ? socket.servername.toLowerCase() : '';
  if (certificate === undefined && serverName === '') return NOBODY;
  return {
    serverName: serverName === '' ? null : serverName,
    certificate: certificate === undefined ? null : describe(certificate, untrustedness(socket, mustChain)),
    certificateField: null,
  };
}

function describe(certificate: X509Certificate, untrusted: string | null): ClientCertificate {
  return {
    x5tS256: hash('sha256', certificate.raw, 'base64url'), // RFC 8705 §3.1
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    untrusted,
  };
}

function untrustedness(socket: TLSSocket, mustChain: boolean): string | null {
  if (!mustChain || socket.authorized) return null;
  return String(socket.authorizationError ?? 'not verified');
}
