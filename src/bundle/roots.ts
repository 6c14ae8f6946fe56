/** Whether a path below data lies within a root, whole segment by whole segment; an empty root is all of data. */
export function isWithin(path: string, root: string): boolean {
  return root === '' || path === root || path.startsWith(`${root}/`);
}

/** Bundles and what belongs to each. */
export type RootsByBundle = ReadonlyMap<string, { readonly roots: readonly string[] }>;

/** Where two bundles say that something is theirs; null where none do. */
export function overlapOf(bundles: RootsByBundle): string | null {
  const all = [...bundles].flatMap(([name, { roots }]) => roots.map((root) => ({ name, root })));
  for (const [index, one] of all.entries()) {
    const other = all.slice(index + 1).find(({ name, root }) => name !== one.name && overlap(root, one.root));
    if (other !== undefined) {
      return `the bundles ${one.name} and ${other.name} both own ${show(one.root)} and ${show(other.root)}`;
    }
  }
  return null;
}

function overlap(one: string, other: string): boolean {
  return isWithin(one, other) || isWithin(other, one);
}

function show(root: string): string {
  return root === '' ? 'all of data (the manifest names no roots)' : `data.${root.replaceAll('/', '.')}`;
}
