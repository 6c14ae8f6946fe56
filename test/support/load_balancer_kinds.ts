import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Balancer, NO_ENVOY } from './load_balancer.ts';

/** The files of docs/guides/load_balancer.md that are run, with what stands in them for ports, addresses and paths. */

/** Where the programs of a test are. */
export interface Places {
  readonly front: number;
  readonly gateways: number;
  /** Of the second gateway, where both have one address. */
  readonly second: number;
  readonly admin: number;
  readonly folder: string;
}

/** A load balancer of the guide, and the gateway behind it. */
export interface Kind {
  readonly program: Balancer;
  readonly file: string;
  readonly gateway: string;
  /** Whether each request is balanced, and not the connection of its caller. */
  readonly endsTls: boolean;
  /** Of the file of the load balancer. */
  places(places: Places): Record<string, string | number>;
  /** Of the configuration of one of the gateways. */
  gatewayPlaces(places: Places, one: 0 | 1): Record<string, string | number>;
}

const NODES = ['127.0.0.11', '127.0.0.12'] as const;
const nodes = ({ gateways }: Places) => ({
  '10.0.0.11:8443': `${NODES[0]}:${gateways}`,
  '10.0.0.12:8443': `${NODES[1]}:${gateways}`,
});
const node = ({ gateways, admin, front }: Places, one: 0 | 1) => ({
  'https://cloud.example.com': `https://127.0.0.1:${front}`,
  '10.0.0.11': NODES[one],
  '8443': gateways,
  '9901': admin,
});

function envoyPlaces({ front, gateways, admin }: Places) {
  return {
    '0.0.0.0, port_value: 443 ': `127.0.0.1, port_value: ${front} `,
    '10.0.0.11, port_value: 8443': `${NODES[0]}, port_value: ${gateways}`,
    '10.0.0.12, port_value: 8443': `${NODES[1]}, port_value: ${gateways}`,
    '9901': admin,
  };
}

/** By their headings. */
export const KINDS: Readonly<Record<string, Kind>> = {
  'HAProxy, TLS passes through': {
    program: 'haproxy',
    file: '/etc/haproxy/haproxy.cfg: TLS passes through',
    gateway: 'gateway.yaml: TLS passes through',
    endsTls: false,
    places: (here) => ({ 'bind :443': `bind 127.0.0.1:${here.front}`, ...nodes(here), '9901': here.admin }),
    gatewayPlaces: node,
  },
  'nginx, TLS passes through': {
    program: 'nginx',
    file: '/etc/nginx/nginx.conf: TLS passes through',
    gateway: 'gateway.yaml: TLS passes through',
    endsTls: false,
    places: (here) => ({ 'listen 443': `listen 127.0.0.1:${here.front}`, ...nodes(here) }),
    gatewayPlaces: node,
  },
  'nginx, TLS ends in front': {
    program: 'nginx',
    file: '/etc/nginx/nginx.conf: TLS ends in nginx',
    gateway: 'gateway.yaml: TLS ends in nginx',
    endsTls: true,
    places: ({ front, gateways, second, folder }) => ({
      'listen 443': `listen 127.0.0.1:${front}`,
      '127.0.0.1:8080': `127.0.0.1:${gateways}`,
      '127.0.0.1:8081': `127.0.0.1:${second}`,
      '/etc/nginx': folder,
    }),
    gatewayPlaces: ({ front, gateways, second }, one) => ({
      'https://cloud.example.com': `https://127.0.0.1:${front}`,
      '8080': one === 0 ? gateways : second,
    }),
  },
  'HAProxy, TLS ends in front': {
    program: 'haproxy',
    file: '/etc/haproxy/haproxy.cfg: TLS ends in HAProxy',
    gateway: 'gateway.yaml: TLS ends in HAProxy',
    endsTls: true,
    places: (here) => ({
      'bind :443': `bind 127.0.0.1:${here.front}`,
      ...nodes(here),
      '9901': here.admin,
      '/etc/haproxy': here.folder,
    }),
    gatewayPlaces: node,
  },
  'Envoy, TLS passes through': {
    program: 'envoy',
    file: '/etc/envoy/envoy.yaml: TLS passes through',
    gateway: 'gateway.yaml: TLS passes through',
    endsTls: false,
    places: envoyPlaces,
    gatewayPlaces: node,
  },
  'Envoy, TLS ends in front': {
    program: 'envoy',
    file: '/etc/envoy/envoy.yaml: TLS ends in Envoy',
    gateway: 'gateway.yaml: TLS ends in Envoy',
    endsTls: true,
    places: (here) => ({ ...envoyPlaces(here), '/etc/envoy': here.folder }),
    gatewayPlaces: node,
  },
};

/** nginx with the module for TLS that passes through, where the guide's file looks for it, is not in every distribution's package. */
const hasStream = ['/usr/share/nginx/modules', '/etc/nginx/modules'].some((folder) =>
  existsSync(join(folder, 'ngx_stream_module.so')),
);

/** Whether a kind can be had on this machine. */
export const isHere = (name: string) =>
  name === 'nginx, TLS passes through' ? hasStream : !(NO_ENVOY && name.startsWith('Envoy'));
