import { cp, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Both `src/insight/` and `dist/insight/` lie two folders below the package. */
const PACKAGE = new URL('../../', import.meta.url);
/** What a policy of one's own begins with; the worked examples stay where they are. */
const PARTS = ['lib', 'schema', 'starter', 'explained_flips.yaml'] as const;

/** Names of the shapes of clouds that there are operation catalogues for. */
export async function cloudShapes(): Promise<readonly string[]> {
  const names = await readdir(new URL('catalogs/', PACKAGE));
  return names
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.replace(/\.yaml$/, ''))
    .sort();
}

/**
 * Copies the starter policy to a new folder, with the operation catalogue of a shape of cloud as `catalog.yaml`.
 * @throws Error where the folder is there already, or the shape is not known
 */
export async function copyStarter(folder: string, shape: string): Promise<void> {
  const shapes = await cloudShapes();
  if (!shapes.includes(shape)) throw new Error(`no catalogue for ${shape}; there are: ${shapes.join(', ')}`);
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    throw new Error(
      error.code === 'EEXIST' ? `${folder} is there already` : `${folder} cannot be made: ${error.message}`,
    );
  });
  const source = (path: string) => fileURLToPath(new URL(path, PACKAGE));
  for (const part of PARTS) await cp(source(`policies/${part}`), join(folder, part), { recursive: true });
  await cp(source(`catalogs/${shape}.yaml`), join(folder, 'catalog.yaml'));
}
