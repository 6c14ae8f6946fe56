import type { Operation, Route } from '../kernel/context.ts';
import type { FieldRules } from './field_rules.ts';
import type { CallParts } from './operation_condition.ts';

/** What the table needs of an operation index. */
export interface FindsOperations {
  find(method: string, segments: readonly string[], call: CallParts): Operation | null;
}

/** A route and what its requests mean; null where it has no operation catalogue, so that every operation is unknown. */
export interface RouteEntry {
  readonly route: Route;
  readonly operations: FindsOperations | null;
  /** What becomes of fields that are not for the upstream. Absent, null: there are none. */
  readonly fields?: FieldRules | null;
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

/** A way to name a host of a route; `port` null: none named, `*`: any or none. */
interface Name {
  readonly host: string;
  readonly port: string | null;
}

/** RFC 3986 §3.2.2 without what no host of ours has: percent-encoding, sub-delims and IPvFuture. */
const AUTHORITY = /^([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;
/** Prefixes are compared with decoded segments, so an encoded one would match nothing; a dot segment neither. */
const PREFIX_SEGMENT = /^(?!\.\.?$)[^%?#\\]+$/;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };

/**
 * Builds the table; its cost does not depend on the number of routes.
 * @throws Error that names the route, when a host cannot be read or two routes have the same host and prefix
 */
export function createRouteTable(entries: readonly RouteEntry[]): RouteTable {
  const named = entries.flatMap((entry) => namesOf(entry.route).map((name) => ({ ...name, entry })));
  const exact = new Map<string, Tree>();
  const anyPort = new Map<string, Tree>();
  for (const { host, port, entry } of named) {
    const [trees, key] = port === '*' ? [anyPort, host] : [exact, port === null ? host : `${host}:${port}`];
    const tree = trees.get(key) ?? { host, scheme: schemeOf(entry.route), root: createNode() };
    trees.set(key, tree);
    insert(tree, entry);
  }
  // Only one tree is searched, so a host that some routes name with a port has the routes of any port there too.
  for (const { host, entry } of named.filter(({ port }) => port === '*')) {
    for (const tree of exact.values()) if (tree.host === host) insert(tree, entry);
  }
  const byAuthority = new Map([...exact].map(([authority, tree]) => [authority, createHostRoutes(tree)]));
  const byHost = new Map([...anyPort].map(([host, tree]) => [host, createHostRoutes(tree)]));
  return {
    find(authority) {
      const found = byAuthority.get(authority);
      if (found !== undefined || byHost.size === 0) return found;
      const host = AUTHORITY.exec(authority)?.[1];
      return host === undefined ? undefined : byHost.get(host);
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
function namesOf(route: Route): Name[] {
  const standard = DEFAULT_PORTS[schemeOf(route)] ?? null;
  const ours = AUTHORITY.exec(route.origin.slice(schemeOf(route).length + 3))?.[2] ?? standard;
  const names = new Map<string, Name>();
  for (const text of route.hosts) {
    const anyPort = text.endsWith(':*');
    const [, host, port] = AUTHORITY.exec(text.toLowerCase().slice(0, anyPort ? -2 : undefined)) ?? [];
    if (host === undefined || (anyPort && port !== undefined)) {
      throw new Error(`route ${route.name}: ${JSON.stringify(text)} is not a host name`);
    }
    const bare = port === undefined || port === standard;
    for (const accepted of anyPort ? ['*'] : bare ? [port ?? ours, null] : [port]) {
      names.set(`${host}:${accepted}`, { host, port: accepted });
    }
  }
  return [...names.values()];
}

function schemeOf(route: Route): string {
  return route.origin.slice(0, route.origin.indexOf(':'));
}

function createNode(): Node {
  return { children: new Map(), entry: null };
}

function insert(tree: Tree, entry: RouteEntry): void {
  let node = tree.root;
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
  if (node.entry !== null && node.entry !== entry) {
    const names = `${node.entry.route.name} and ${entry.route.name}`;
    throw new Error(`routes ${names} have the same path_prefix ${entry.route.pathPrefix} on ${tree.host}`);
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
