import { hash, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ClientCertificate, Peer } from '../kernel/context.ts';

/** Where it is kept: on the connection itself, which `request.socket` leads to in HTTP/1.1 and, through its proxies, in HTTP/2. */
const PEER = Symbol('peer');

interface Known {
  [PEER]?: Peer;
}

/** How peers are judged. */
export interface PeerOptions {
  /** Whether client certificates must chain to a configured CA. */
  readonly mustChain: boolean;
}

const NOBODY: Peer = Object.freeze({ serverName: null, certificate: null });

/**
 * Makes the function that says what the TLS handshake established of the other end of a connection, also where the session was resumed. Read
 * once for each connection: it cannot change, since renegotiation is refused and node:http never asks for a certificate later.
 */
export function createPeerReader({ mustChain }: PeerOptions): (socket: Socket) => Peer {
  return (socket) => {
    const known = (socket as Known)[PEER];
    if (known !== undefined) return known;
    const peer = readPeer(socket as TLSSocket, mustChain);
    (socket as Known)[PEER] = peer;
    return peer;
  };
}

function readPeer(socket: TLSSocket, mustChain: boolean): Peer {
  // Without TLS, a socket has neither.
  const certificate = socket.getPeerX509Certificate?.();
  const serverName = typeof socket.servername === 'string' ? socket.servername.toLowerCase() : '';
  if (certificate === undefined && serverName === '') return NOBODY;
  return {
    serverName: serverName === '' ? null : serverName,
    certificate: certificate === undefined ? null : describeCertificate(certificate, untrustedness(socket, mustChain)),
  };
}

/** What is kept of a certificate. `untrusted`: why it is not trusted, or null. */
export function describeCertificate(certificate: X509Certificate, untrusted: string | null): ClientCertificate {
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
