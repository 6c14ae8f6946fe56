import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** The certificate of a client, as the TLS handshake of its own connection established it. */
export interface PresentedCertificate {
  readonly certificate: X509Certificate;
  /** Whether it chains to `listen.tls.client_ca_file`. */
  readonly trusted: boolean;
}

/** Whether certificates are looked at, and when. */
export interface CertificateRules {
  /** Whether a CA is configured: without one, none is trusted. */
  readonly hasAuthority: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
}

/** The certificate of a connection, or null where it has none that is valid now. A certificate in a header is never looked at. */
export function certificateOf(socket: Socket, { hasAuthority, now }: CertificateRules): PresentedCertificate | null {
  const tls = socket as TLSSocket;
  const certificate = tls.getPeerX509Certificate?.();
  if (certificate === undefined) return null;
  if (certificate.validFromDate.getTime() > now || certificate.validToDate.getTime() < now) return null;
  return { certificate, trusted: hasAuthority && tls.authorized };
}
