import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { TestCertificate } from './certificate.ts';
import { type LoadBalancer, startFromFile } from './load_balancer.ts';

/** One port of an Envoy, and the gateway behind it. */
export interface EnvoyListener {
  readonly port: number;
  readonly gatewayPort: number;
  /** Of the HTTP connection manager, over what the guide has. */
  readonly manager?: Readonly<Record<string, unknown>>;
  /** Of the route. */
  readonly route?: Readonly<Record<string, unknown>>;
  /** Of the virtual host. */
  readonly host?: Readonly<Record<string, unknown>>;
  /** HTTP filters before the router: name and configuration. */
  readonly filters?: readonly (readonly [name: string, config: Readonly<Record<string, unknown>>])[];
  /** Where TLS ends here: the certificate, in files of `folder`. Certificates of callers are asked for, and taken from any CA. */
  readonly tls?: { readonly certificate: TestCertificate; readonly folder: string };
}

const TYPES = 'type.googleapis.com/envoy.extensions';

/** Starts one Envoy that listens on all of these ports. */
export function startEnvoy(listeners: readonly EnvoyListener[]): Promise<LoadBalancer> {
  const config = {
    static_resources: {
      listeners: listeners.map((one) => ({
        name: nameOf(one),
        address: addressOf(one.port),
        filter_chains: [{ ...transportOf(one), filters: [managerOf(one)] }],
      })),
      clusters: listeners.map((one) => ({
        name: nameOf(one),
        type: 'STATIC',
        load_assignment: {
          cluster_name: nameOf(one),
          endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(one.gatewayPort) } }] }],
        },
      })),
    },
  };
  return startFromFile(
    (listeners[0] as EnvoyListener).port,
    'envoy',
    stringify(config, { aliasDuplicateObjects: false }),
  );
}

const nameOf = ({ port }: EnvoyListener) => `listener-${port}`;
const addressOf = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } });

function managerOf({ manager, route, host, filters = [], ...one }: EnvoyListener) {
  const router = {
    name: 'envoy.filters.http.router',
    typed_config: { '@type': `${TYPES}.filters.http.router.v3.Router` },
  };
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: nameOf(one),
      normalize_path: false,
      merge_slashes: false,
      path_with_escaped_slashes_action: 'KEEP_UNCHANGED',
      // Past the other filters: those that read whole bodies would keep the first bytes back.
      upgrade_configs: [{ upgrade_type: 'websocket', filters: [router] }],
      ...manager,
      http_filters: [...filters.map(([name, typed_config]) => ({ name, typed_config })), router],
      route_config: {
        virtual_hosts: [
          {
            name: nameOf(one),
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster: nameOf(one), timeout: '0s', ...route } }],
            ...host,
          },
        ],
      },
    },
  };
}

function transportOf({ port, tls }: EnvoyListener) {
  if (tls === undefined) return {};
  const files = { certificate_chain: join(tls.folder, `${port}.crt`), private_key: join(tls.folder, `${port}.key`) };
  writeFileSync(files.certificate_chain, tls.certificate.cert);
  writeFileSync(files.private_key, tls.certificate.key, { mode: 0o600 });
  return {
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${TYPES}.transport_sockets.tls.v3.DownstreamTlsContext`,
        common_tls_context: {
          tls_certificates: [
            { certificate_chain: { filename: files.certificate_chain }, private_key: { filename: files.private_key } },
          ],
          validation_context: {
            trusted_ca: { filename: files.certificate_chain },
            trust_chain_verification: 'ACCEPT_UNTRUSTED',
          },
        },
      },
    },
  };
}
