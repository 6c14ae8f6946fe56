import { isDocument } from '../policy/exact_json.ts';
import { isNestedDeeper } from '../policy/nesting.ts';
import { type Bundle, type BundleData, type BundleDelta, BundleRefused, type PatchOperation } from './bundle.ts';

/**
 * The bundle that a delta bundle makes of the one before; that one is not changed. Operations are OPA's: `upsert` makes the folders that
 * are missing, `replace` and `remove` need something there.
 * @throws BundleRefused when a change does not fit what is there, or would leave the roots of the bundle
 */
export function applyDelta(before: Bundle, delta: BundleDelta): Bundle {
  let data = before.data;
  for (const operation of delta.patch) data = applyOperation(data, operation, before.roots);
  if (isNestedDeeper(data)) throw new BundleRefused('content', 'its data would be nested too deeply');
  return { ...before, data, revision: delta.revision, digest: delta.digest };
}

function applyOperation(data: BundleData, operation: PatchOperation, roots: readonly string[]): BundleData {
  const path = segmentsOf(operation.path);
  if (!roots.some((root) => beginsWith(path, root))) {
    throw unfit(operation, `is not below the roots of the bundle (${roots.join(', ')})`);
  }
  switch (operation.op) {
    case 'upsert':
      return asObject(put(data, path, { operation, value: operation.value, create: true }), operation);
    case 'replace':
      return asObject(put(data, path, { operation, value: operation.value, create: false }), operation);
    case 'remove':
      return asObject(put(data, path, { operation, value: undefined, create: false }), operation);
    default:
      throw unfit(operation, `has the operation ${JSON.stringify(operation.op)}; there are upsert, replace and remove`);
  }
}

/** Whether a path lies within a root, which has no escapes: `a~1b` is one segment, and not within `a/b`. */
function beginsWith(path: readonly string[], root: string): boolean {
  return root === '' || root.split('/').every((name, index) => path[index] === name);
}

/** Segments of a path: `/a/b~1c` is `a` and `b/c`. */
export function segmentsOf(path: string): string[] {
  const trimmed = path.replace(/^\/+|\/+$/g, '');
  if (trimmed === '') return [];
  return trimmed.split('/').map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

interface Change {
  readonly operation: PatchOperation;
  /** What is to be there; undefined: nothing. */
  readonly value: unknown;
  /** Whether what is missing is made. */
  readonly create: boolean;
}

/** A copy of `node` with the change at a path below it. */
function put(node: unknown, path: readonly string[], change: Change): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return change.value;
  if (Array.isArray(node)) return putInList(node, path, change);
  if (!isDocument(node)) throw unfit(change.operation, 'leads through something that is neither an object nor a list');
  const members = new Map(Object.entries(node));
  if (!members.has(name) && !change.create) throw unfit(change.operation, 'names something that is not there');
  const inner = members.get(name) ?? (rest.length > 0 ? {} : undefined);
  const value = put(inner, rest, change);
  if (value === undefined) members.delete(name);
  else members.set(name, value);
  return Object.fromEntries(members);
}

/** Lists: an index of something that is there, or `-` for one more at the end (RFC 6902 §4.1), which only `upsert` may name. */
function putInList(list: readonly unknown[], [name = '', ...rest]: readonly string[], change: Change): unknown {
  const copy = [...list];
  const last = rest.length === 0;
  if (name === '-' && last && change.create) return [...copy, change.value];
  const index = /^(0|[1-9]\d{0,8})$/.test(name) ? Number(name) : Number.NaN;
  if (!(index < list.length)) throw unfit(change.operation, 'names an item of a list that is not there');
  // OPA's upsert is an insertion in lists, as is the `add` of RFC 6902.
  if (last && change.create) copy.splice(index, 0, change.value);
  else if (last && change.value === undefined) copy.splice(index, 1);
  else copy[index] = put(copy[index], rest, change);
  return copy;
}

function asObject(value: unknown, operation: PatchOperation): BundleData {
  // Without a path it is the whole document: nothing is left of it, or what takes its place must be an object.
  if (value === undefined) return {};
  if (!isDocument(value)) throw unfit(operation, 'would make data something else than an object');
  return value;
}

function unfit({ path }: PatchOperation, why: string): BundleRefused {
  return new BundleRefused('content', `the change of ${JSON.stringify(path)} ${why}`);
}
