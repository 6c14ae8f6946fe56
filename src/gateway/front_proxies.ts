import { parseNetwork } from '../config/network.ts';
import type { FrontProxyConfig } from '../config/schema.ts';
import type { CertificateField, CertificateForm } from '../kernel/context.ts';
import { addressList, type FrontProxy } from '../net/front_proxies.ts';

/** The header field of each form, where the configuration names none. */
const HEADERS: Readonly<Record<CertificateForm, string>> = {
  client_cert: 'client-cert', // RFC 9440 §2.2
  envoy: 'x-forwarded-client-cert',
  nginx: 'x-ssl-client-cert',
  haproxy: 'x-ssl-client-cert',
  traefik: 'x-forwarded-tls-client-cert',
};

/** Makes the front proxies from the configuration, in its order. */
export function buildFrontProxies(configured: readonly FrontProxyConfig[]): FrontProxy[] {
  return configured.map(({ addresses, certificate_names: names, client_certificate: form, header }) => ({
    addresses: addresses === undefined ? null : addressList(addresses.flatMap((text) => parseNetwork(text) ?? [])),
    // DNS names are compared without case; URIs as they stand.
    names: names?.map((name) => (name.includes(':') ? name : name.toLowerCase())) ?? null,
    certificateField: form === 'none' ? null : fieldOf(form, header),
  }));
}

function fieldOf(form: CertificateForm, header: string | undefined): CertificateField {
  return { form, name: (header ?? HEADERS[form]).toLowerCase() };
}
