import { parseNetwork } from './network.ts';
import type { SettingProblem } from './problems.ts';

/** What these rules look at; the whole configuration fits. */
interface CertificateRulesInput {
  readonly listen: {
    readonly tls?: { readonly client_certificates: string; readonly client_ca_file?: string | undefined } | undefined;
    readonly front_proxies: readonly FrontProxyInput[];
  };
  readonly routes: readonly { readonly bindings: readonly string[] }[];
}

interface FrontProxyInput {
  readonly addresses?: readonly string[] | undefined;
  readonly certificate_names?: readonly string[] | undefined;
  readonly client_certificate: string;
  readonly header?: string | undefined;
}

/** What of client certificates and those who pass them on does not fit together. */
export function findCertificateProblems(config: CertificateRulesInput): SettingProblem[] {
  const problems: SettingProblem[] = [];
  for (const [index, proxy] of config.listen.front_proxies.entries()) {
    for (const { path, message } of problemsOf(proxy, config)) {
      problems.push({ path: ['listen', 'front_proxies', index, ...path], message });
    }
  }
  for (const [index, { bindings }] of config.routes.entries()) {
    if (bindings.some((binding) => binding !== 'mtls') || getsCertificates(config)) continue;
    const message =
      'no client certificate can ever reach the gateway: set listen.tls.client_certificates, or client_certificate of listen.front_proxies, or take another binding';
    problems.push({ path: ['routes', index, 'bindings'], message });
  }
  return problems;
}

/** Whether the gateway can get to see a client certificate at all. */
export function getsCertificates({ listen: { tls, front_proxies: proxies } }: CertificateRulesInput): boolean {
  const asks = tls !== undefined && tls.client_certificates !== 'none';
  return asks || proxies.some(({ client_certificate: form }) => form !== 'none');
}

function problemsOf(proxy: FrontProxyInput, { listen: { tls } }: CertificateRulesInput): SettingProblem[] {
  const { addresses, certificate_names: names, client_certificate: form, header } = proxy;
  const problems: SettingProblem[] = [];
  if (addresses === undefined && names === undefined) {
    problems.push({
      path: [],
      message: 'say how the proxies are known: by addresses, by certificate_names, or by both',
    });
  }
  const open = addresses?.findIndex((text) => parseNetwork(text)?.prefix === 0) ?? -1;
  if (open >= 0 && names === undefined) {
    const message =
      'that is every address: anybody could pass on any certificate; name the networks of the proxies, or certificate_names';
    problems.push({ path: ['addresses', open], message });
  }
  if (names !== undefined && (tls?.client_ca_file === undefined || tls.client_certificates === 'none')) {
    const message =
      'needs listen.tls with client_certificates: optional and the client_ca_file that issued the certificates of the proxies';
    problems.push({ path: ['certificate_names'], message });
  }
  if (header !== undefined && form === 'none') {
    problems.push({ path: ['header'], message: 'has no meaning without client_certificate' });
  }
  return problems;
}
