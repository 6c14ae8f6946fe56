import { createHash } from 'node:crypto';
import type { RegoModule } from '../rego/policy_source.ts';
import { type Bundle, type BundleData, BundleRefused, type PatchOperation } from './bundle.ts';
import { applyDelta } from './patch.ts';

/** A bundle of what was pushed: Rego by id, and data. */
export function pushedBundle(modules: readonly RegoModule[], data: BundleData): Bundle {
  const sorted = [...modules].sort((one, other) => (one.path < other.path ? -1 : 1));
  const digest = createHash('sha256')
    .update(JSON.stringify([sorted, data]))
    .digest('hex');
  return { type: 'snapshot', revision: '', roots: [''], modules: sorted, regoVersion: 1, data, compiled: [], digest };
}

/** The bundle with one module put in, in place of the one of that id. */
export function withModule({ modules, data }: Bundle, module: RegoModule): Bundle {
  return pushedBundle([...modules.filter(({ path }) => path !== module.path), module], data);
}

/** The bundle without one module; null where there is none of that id. */
export function withoutModule({ modules, data }: Bundle, id: string): Bundle | null {
  const rest = modules.filter(({ path }) => path !== id);
  return rest.length === modules.length ? null : pushedBundle(rest, data);
}

/** The bundle with changes to its data. @throws BundleRefused when a change does not fit what is there */
export function withChanges(before: Bundle, patch: readonly PatchOperation[]): Bundle {
  const delta = { type: 'delta', revision: '', roots: [''], patch, digest: '' } as const;
  return pushedBundle(before.modules, applyDelta(before, delta).data);
}

/** Operations of a JSON patch (RFC 6902) below a path, as OPA's data API takes them. @throws BundleRefused */
export function readJsonPatch(value: unknown, below: string): readonly PatchOperation[] {
  if (!Array.isArray(value)) throw new BundleRefused('content', 'a JSON patch is a list');
  return value.map((item: unknown) => {
    const { op, path, value: put } = (item ?? {}) as { op?: unknown; path?: unknown; value?: unknown };
    const known = op === 'add' || op === 'replace' || op === 'remove';
    if (!known || typeof path !== 'string' || (op !== 'remove' && put === undefined)) {
      throw new BundleRefused(
        'content',
        'a change has op (add, replace or remove), path and, unless it removes, value',
      );
    }
    return { op: op === 'add' ? 'upsert' : op, path: `${below}/${path.replace(/^\//, '')}`, value: put };
  });
}
