import type { Operation, Route } from '../kernel/context.ts';

/** What the table needs of an operation index. */
export interface FindsOperations {
  find(method: string, segments: readonly string[]): Operation | null;
}

/** A route and what its requests mean; null where it has no operation catalogue, so that every operation is unknown. */
export interface RouteEntry {
  readonly route: Route;
  readonly operations: FindsOperations | null;
}

/** The routes that one authority serves. */
export interface HostRoutes {
  /** Lower case, without port. */
  readonly host: string;
  /** Scheme of the origin that callers use, in lower case, without the colon. */
  readonly scheme: string;
  /** The entry with the longest prefix, by whole segments, of the decoded segments; null when none matches. */
  match(segments: readonly string[]): RouteEntry | null;
}

/** The routes by authority: host, and port where one is named. */
export interface RouteTable {
  /** The routes of an authority in lower case; undefined when it is not ours. */
  find(authority: string): HostRoutes | undefined;
}

interface Node {
  readonly children: Map<string, Node>;
  entry: RouteEntry | null;
}

interface Tree {
  readonly host: string;
  readonly scheme: string;
  readonly root: Node;
}

/** RFC 3986 §3.2.2 without what no host of ours has: percent-encoding, sub-delims and IPvFuture. */
const AUTHORITY = /^([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;
/** Prefixes are compared with decoded segments, so an encoded one would match nothing; a dot segment neither. */
const PREFIX_SEGMENT = /^(?!\.\.?$)[^%?#\\]+$/;
/** After a host of a route: whatever port the caller names. */
const ANY_PORT = ':*';
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };

/**
 * Builds the table; its cost does not depend on the number of routes.
 * @throws Error that names the route, when a host cannot be read or two routes have the same host and prefix
 */
export function createRouteTable(entries: readonly RouteEntry[]): RouteTable {
  const trees = new Map<string, Tree>();
  for (const entry of entries) {
    const { route } = entry;
    const scheme = route.origin.slice(0, route.origin.indexOf(':'));
    for (const { host, authority } of authoritiesOf(route, scheme)) {
      const tree = trees.get(authority) ?? { host, scheme, root: createNode() };
      trees.set(authority, tree);
      insert(tree.root, entry, authority);
    }
  }
  const hosts = new Map([...trees].map(([authority, tree]) => [authority, createHostRoutes(tree)]));
  return {
    find: (authority) => {
      const host = AUTHORITY.exec(authority)?.[1];
      return host === undefined ? undefined : (hosts.get(authority) ?? hosts.get(host + ANY_PORT));
    },
  };
}

/** Whether a text in lower case is a host, with or without a port, as it may stand in a Host header (RFC 9110 §7.2). */
export function isAuthority(text: string): boolean {
  return AUTHORITY.test(text);
}

/**
 * How a caller may name each host of a route. Without a port, a host has that of the origin; a caller that leaves the port out is
 * understood (RFC 9110 §4.2), one that names another port asks for somebody else. With `:*` the port does not matter.
 */
function authoritiesOf(route: Route, scheme: string): { host: string; authority: string }[] {
  const standard = DEFAULT_PORTS[scheme] ?? '';
  const ours = AUTHORITY.exec(route.origin.slice(scheme.length + 3))?.[2] ?? standard;
  const found = route.hosts.flatMap((text) => {
    const anyPort = text.endsWith(ANY_PORT);
    const [, host, port] = AUTHORITY.exec(text.toLowerCase().slice(0, anyPort ? -ANY_PORT.length : undefined)) ?? [];
    if (host === undefined) throw new Error(`route ${route.name}: ${JSON.stringify(text)} is not a host name`);
    if (anyPort) return [{ host, authority: host + ANY_PORT }];
    const withPort = { host, authority: `${host}:${port ?? ours}` };
    return port === undefined || port === standard ? [withPort, { host, authority: host }] : [withPort];
  });
  return [...new Map(found.map((item) => [item.authority, item])).values()];
}

function createNode(): Node {
  return { children: new Map(), entry: null };
}

function insert(root: Node, entry: RouteEntry, authority: string): void {
  let node = root;
  for (const segment of entry.route.pathPrefix.split('/')) {
    if (segment === '') continue; // The first, before the leading slash; the last, after a trailing one.
    if (!PREFIX_SEGMENT.test(segment)) {
      throw new Error(
        `route ${entry.route.name}: path_prefix ${entry.route.pathPrefix} must be written as it reads once decoded`,
      );
    }
    const next = node.children.get(segment) ?? createNode();
    node.children.set(segment, next);
    node = next;
  }
  if (node.entry !== null) {
    const names = `${node.entry.route.name} and ${entry.route.name}`;
    throw new Error(`routes ${names} have the same path_prefix ${entry.route.pathPrefix} on ${authority}`);
  }
  node.entry = entry;
}

function createHostRoutes({ host, scheme, root }: Tree): HostRoutes {
  return {
    host,
    scheme,
    match(segments) {
      let best = root.entry;
      let node: Node | undefined = root;
      for (const segment of segments) {
        node = node.children.get(segment);
        if (node === undefined) break;
        best = node.entry ?? best;
      }
      return best;
    },
  };
}
