import { z } from 'zod';
import { findCertificateProblems } from './certificate_rules.ts';
import { frontProxyIdentity } from './front_proxy.ts';
import type { SettingProblem } from './problems.ts';

/** Proxies that end the TLS of clients in front of the authorization server. Who they are is written as for the gateway. */
export const frontProxies = z
  .array(
    z.strictObject({
      ...frontProxyIdentity,
      verifies_chains: z
        .boolean()
        .default(false)
        .describe(
          'Whether the proxy passes on only certificates that chain to the CA of the clients: without, certificates from it do for self_signed_tls_client_auth and binding, not for tls_client_auth.',
        ),
    }),
  )
  .max(64)
  .default([])
  .describe(
    'Proxies in front that end the TLS of clients and say in Client-Cert (RFC 9440) which certificate these showed; the first entry that a connection fits counts. From everybody else the field is nothing.',
  );

/** One kind of front proxy. */
export type AuthServerFrontProxyConfig = z.output<typeof frontProxies>[number];

interface Listen {
  readonly tls?: { readonly client_certificates: string; readonly client_ca_file?: string | undefined } | undefined;
  readonly front_proxies: readonly AuthServerFrontProxyConfig[];
}

/** What does not fit together, by the rules of the gateway. */
export function findFrontProxyProblems({ tls, front_proxies: proxies }: Listen): SettingProblem[] {
  const passing = proxies.map((proxy) => ({ ...proxy, client_certificate: 'client_cert' }));
  return findCertificateProblems({ listen: { tls, front_proxies: passing }, routes: [] });
}

/** Whether clients can show certificates, and whether any of them is known to chain to a CA. */
export function certificateAbilities({ tls, front_proxies: proxies }: Listen): { asked: boolean; authority: boolean } {
  const direct = tls?.client_certificates === 'optional';
  return {
    asked: direct || proxies.length > 0,
    authority:
      (direct && tls?.client_ca_file !== undefined) || proxies.some(({ verifies_chains: verifies }) => verifies),
  };
}
