import { BlockList, isIP } from 'node:net';
import type { Variables } from './identity.ts';

const PROXIES = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy'] as const;
const LOCAL = ['127.0.0.1', 'localhost'] as const;

/** What the command may be told about proxies. */
export interface ProxySituation {
  /** The environment that the agent was started in. */
  readonly variables: Variables;
  /** Variables that name the agent as proxy. */
  readonly exported: Readonly<Record<string, string | null>>;
  /** Hosts that are reached through the agent; empty without forward mode. */
  readonly hosts: readonly string[];
}

/**
 * NO_PROXY as the command needs it. Local ports are reached without a proxy: most tools would hand the local URL, secret included, to whatever
 * proxy the machine has. Entries that would lead a tool around the agent's own proxy are left out. Null: there is nothing to change.
 */
export function noProxyFor({ variables, exported, hosts }: ProxySituation): Record<string, string> | null {
  const given = [variables['NO_PROXY'], variables['no_proxy']];
  const proxied = PROXIES.some((name) => exported[name] || variables[name]);
  if (!proxied && given.every((value) => value === undefined)) return null;
  const kept = (list: string) => entriesIn(list).filter((entry) => !hosts.some((host) => covers(entry, host)));
  const local = proxied ? LOCAL.filter((entry) => !hosts.some((host) => covers(entry, host))) : [];
  const [upper, lower] = given;
  const joined = (list: string | undefined) => [...new Set([...kept(list ?? ''), ...local])].join(',');
  return { NO_PROXY: joined(upper ?? lower), no_proxy: joined(lower ?? upper) };
}

function entriesIn(list: string): string[] {
  return list.split(/[\s,]+/).filter((entry) => entry !== '');
}

/** Whether a tool may take an entry to name a host; how each of them reads it differs, so the widest reading counts. */
export function covers(entry: string, host: string): boolean {
  if (entry === '*') return true;
  const [, address = '', prefix] = /^\[?([^\]/]*)\]?(?:\/(\d+))?/.exec(entry) ?? [];
  if (isIP(address) !== 0) return isIP(host) !== 0 && coversAddress(address, prefix, host);
  const name = entry
    .replace(/:\d+$/, '')
    .replace(/^\*?\./, '')
    .replace(/\.$/, '')
    .toLowerCase();
  // An address with a port.
  if (isIP(name) !== 0) return name === host;
  return name !== '' && (host === name || host.endsWith(`.${name}`));
}

function coversAddress(address: string, prefix: string | undefined, host: string): boolean {
  const family = (text: string) => (isIP(text) === 6 ? 'ipv6' : 'ipv4');
  const list = new BlockList();
  const most = isIP(address) === 6 ? 128 : 32;
  list.addSubnet(address, Math.min(most, Number(prefix ?? most)), family(address));
  return list.check(host, family(host));
}
