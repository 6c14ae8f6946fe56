import type { Catalogue, CatalogueCondition, CatalogueOperation, TemplateSegment } from '../config/catalogue.ts';
import type { Operation } from '../kernel/context.ts';
import { type CallParts, holds } from './operation_condition.ts';

/** Finds what a request means; flat in the number of operations. */
export interface OperationIndex {
  /**
   * The one operation that describes the request, or null when none or more than one does. A literal does not win over a param: which
   * of two descriptions the cloud API follows is not ours to guess, so both matching is ambiguous and the operation unknown.
   */
  find(method: string, segments: readonly string[], call?: CallParts): Operation | null;
}

/** A place in the templates of one method: literals and a param may both go on from here. */
interface Node {
  readonly literals: Map<string, Node>;
  param: Node | null;
  readonly entries: Entry[];
}

interface Entry {
  readonly condition: CatalogueCondition | null;
  /** Complete when the template has no params; else without resource and params. */
  readonly operation: Operation;
  readonly params: readonly { readonly name: string; readonly index: number }[];
  readonly resource: readonly TemplateSegment[];
}

/**
 * Objects without a prototype's members, so that a template may name a parameter as it likes. Object.create(null) would make hash tables,
 * which cost several microseconds more to fill, each time.
 */
const Params = function Params() {} as unknown as new () => Record<string, string>;
Params.prototype = Object.freeze(Object.create(null));

const NOTHING_MORE: CallParts = { queryParameters: {}, rawHeaders: [] };
const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze(new Params());

/** Builds the index of a catalogue. */
export function createOperationIndex(catalogue: Catalogue): OperationIndex {
  const methods = new Map<string, Node>();
  for (const operation of catalogue.operations) {
    const root = methods.get(operation.method) ?? createNode();
    methods.set(operation.method, root);
    insert(root, operation);
  }
  return {
    find(method, segments, call = NOTHING_MORE) {
      const found = findIn(methods.get(method), segments, call);
      // RFC 9110 §9.3.2: HEAD is GET without the content, so it means the same unless the catalogue lists it by name.
      const matches = found.length === 0 && method === 'HEAD' ? findIn(methods.get('GET'), segments, call) : found;
      const [entry] = matches;
      return entry === undefined || matches.length > 1 ? null : fill(entry, segments);
    },
  };
}

function createNode(): Node {
  return { literals: new Map(), param: null, entries: [] };
}

function insert(root: Node, operation: CatalogueOperation): void {
  let node = root;
  for (const segment of operation.path) {
    if ('param' in segment) {
      node.param ??= createNode();
      node = node.param;
    } else {
      const next = node.literals.get(segment.literal) ?? createNode();
      node.literals.set(segment.literal, next);
      node = next;
    }
  }
  node.entries.push(compile(operation));
}

function compile(source: CatalogueOperation): Entry {
  const { service, name, access, scopes, authorizationDetailsType } = source;
  const params = source.path.flatMap((segment, index) => ('param' in segment ? [{ name: segment.param, index }] : []));
  const resource = source.resource.map((segment) => ('literal' in segment ? segment.literal : '')).join('/');
  const operation = { service, name, resource, params: NO_PARAMS, access, scopes, authorizationDetailsType };
  return { operation: Object.freeze(operation), params, resource: source.resource, condition: source.condition };
}

function findIn(root: Node | undefined, segments: readonly string[], call: CallParts): readonly Entry[] {
  const found: Entry[] = [];
  if (root !== undefined) collect(root, { segments, call, found }, 0);
  return found;
}

interface Search {
  readonly segments: readonly string[];
  readonly call: CallParts;
  readonly found: Entry[];
}

/** Every entry that matches from this node on, at most two: more do not change the answer. The depth is that of the templates. */
function collect(node: Node, search: Search, depth: number): void {
  const { segments, call, found } = search;
  const segment = segments[depth];
  if (segment === undefined) {
    for (const entry of node.entries) if (entry.condition === null || holds(entry.condition, call)) found.push(entry);
    return;
  }
  const literal = node.literals.get(segment);
  if (literal !== undefined) collect(literal, search, depth + 1);
  if (node.param !== null && segment !== '' && found.length < 2) collect(node.param, search, depth + 1);
}

function fill(entry: Entry, segments: readonly string[]): Operation {
  const { operation } = entry;
  if (entry.params.length === 0) return operation;
  const params: Record<string, string> = new Params();
  for (const { name, index } of entry.params) params[name] = segments[index] ?? '';
  let resource = '';
  for (const segment of entry.resource) {
    const text = 'literal' in segment ? segment.literal : escapeSegment(params[segment.param] ?? '');
    resource = resource === '' ? text : `${resource}/${text}`;
  }
  return {
    service: operation.service,
    name: operation.name,
    resource,
    params,
    access: operation.access,
    scopes: operation.scopes,
    authorizationDetailsType: operation.authorizationDetailsType,
  };
}

/**
 * A value stays one segment of the resource: `/`, which can be in it only where the route allows encoded_slash, is written `%2F`, and `%`
 * is written `%25` so that no other value reads the same.
 */
function escapeSegment(value: string): string {
  if (!value.includes('/') && !value.includes('%')) return value;
  return value.replaceAll('%', '%25').replaceAll('/', '%2F');
}
