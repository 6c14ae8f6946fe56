import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import { parseNetwork } from '../config/network.ts';
import type { Clock } from '../kernel/clock.ts';
import { addressList, type FrontProxy, findFrontProxy } from '../net/front_proxies.ts';
import { CERTIFICATE_FORMS, isByteSequenceList } from '../oauth/certificate_forms.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';

/** The certificate of a client, as the TLS handshake of its own connection established it, here or at a proxy in front. */
export interface PresentedCertificate {
  readonly certificate: X509Certificate;
  /** Whether it chains to a CA that is trusted for clients. */
  readonly trusted: boolean;
}

/** Reads the certificate of a request: null where there is none that is valid now; a problem where a proxy says what it must not. */
export type CertificateReader = (request: IncomingMessage) => Parsed<PresentedCertificate | null>;

/** RFC 9440 §2.2. */
const FIELD = 'client-cert';
/** RFC 9440 §2.3. */
const CHAIN = 'client-cert-chain';
const NONE = parsed<PresentedCertificate | null>(null);

interface Proxy extends FrontProxy {
  readonly verifiesChains: boolean;
}

/** Makes the reader of certificates. Only proxies that the configuration names are believed; whatever others send in header fields is not read. */
export function createCertificateReader(
  { tls, front_proxies }: AuthServerConfig['listen'],
  clock: Clock,
): CertificateReader {
  const asked = tls?.client_certificates === 'optional';
  const hasAuthority = tls?.client_ca_file !== undefined;
  const proxies = front_proxies.map(
    ({ addresses, certificate_names: names, verifies_chains: verifiesChains }): Proxy => ({
      addresses: addresses === undefined ? null : addressList(addresses.flatMap((text) => parseNetwork(text) ?? [])),
      names: names?.map((name) => (name.includes(':') ? name : name.toLowerCase())) ?? null,
      certificateField: { form: 'client_cert', name: FIELD },
      verifiesChains,
    }),
  );
  const current = (presented: PresentedCertificate): Parsed<PresentedCertificate | null> => {
    const { validFromDate, validToDate } = presented.certificate;
    const now = clock();
    return validFromDate.getTime() > now || validToDate.getTime() < now ? NONE : parsed(presented);
  };
  return ({ socket, rawHeaders }) => {
    const connection = socket as TLSSocket;
    const proxy = findFrontProxy(proxies, connection) as Proxy | null;
    if (proxy !== null) {
      // The certificate of the proxy itself is never the client's.
      const read = readForwarded(rawHeaders);
      if (!read.ok) return read;
      return read.value === null ? NONE : current({ certificate: read.value, trusted: proxy.verifiesChains });
    }
    const certificate = asked ? connection.getPeerX509Certificate?.() : undefined;
    if (certificate === undefined) return NONE;
    return current({ certificate, trusted: hasAuthority && connection.authorized });
  };
}

/** RFC 9440 §2.2: exactly one value; two mean that the proxy adds where it should replace. */
function readForwarded(rawHeaders: readonly string[]): Parsed<X509Certificate | null> {
  const [value, ...more] = valuesOf(rawHeaders, FIELD);
  const chain = valuesOf(rawHeaders, CHAIN).join(', ');
  if (more.length > 0) return unparsed('Client-Cert is repeated');
  if (chain !== '' && (value === undefined || !isByteSequenceList(chain)))
    return unparsed('Client-Cert-Chain is malformed');
  if (value === undefined) return parsed(null);
  const read = CERTIFICATE_FORMS.client_cert(value);
  const certificate = read.ok && read.value.der !== null ? certificateIn(read.value.der) : null;
  return certificate === null ? unparsed('Client-Cert is malformed') : parsed(certificate);
}

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.flatMap((text, at) =>
    at % 2 === 0 && text.toLowerCase() === name ? [rawHeaders[at + 1] as string] : [],
  );
}

/** DER and nothing else: OpenSSL would take PEM, and bytes that follow, as well. */
function certificateIn(der: Buffer): X509Certificate | null {
  try {
    const certificate = new X509Certificate(der);
    return certificate.raw.equals(der) ? certificate : null;
  } catch {
    return null;
  }
}
