import { cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Both `src/insight/` and `dist/insight/` lie two folders below the package. */
const PACKAGE = new URL('../../', import.meta.url);
/** What a policy of one's own begins with; the worked examples stay where they are. */
const PARTS = ['lib', 'schema', 'starter'] as const;

/** What a policy for one shape of cloud API begins with. */
interface CloudShape {
  /** For people. */
  readonly title: string;
  /** Files of `catalogs/`, by their names in the new folder. */
  readonly catalogues: Readonly<Record<string, string>>;
  /** Folders of `starters/` that are laid over the starter, in this order. */
  readonly overlays: readonly string[];
}

/** The shapes of cloud APIs that there is a starter for, by name. */
export const CLOUD_SHAPES: Readonly<Record<string, CloudShape>> = {
  rest: {
    title: 'a REST API: projects, and what is in them',
    catalogues: { 'catalog.yaml': 'demo_cloud.yaml' },
    overlays: ['rest'],
  },
  kubernetes: {
    title: 'a Kubernetes API: rules open namespaces',
    catalogues: { 'catalog.yaml': 'kubernetes.yaml' },
    overlays: ['resources', 'kubernetes'],
  },
  aws: {
    title: 'APIs as those of Amazon S3 and DynamoDB: rules open buckets, prefixes and tables',
    catalogues: { 'catalog_s3.yaml': 'aws_s3.yaml', 'catalog_dynamodb.yaml': 'aws_dynamodb.yaml' },
    overlays: ['resources', 'aws'],
  },
};

/**
 * Copies the starter policy for a shape of cloud API to a new folder, with its operation catalogues.
 * @returns the names of the catalogues in it
 * @throws Error where the folder is there already, or the shape is not known
 */
export async function copyStarter(folder: string, name: string): Promise<readonly string[]> {
  const shape = Object.hasOwn(CLOUD_SHAPES, name) ? CLOUD_SHAPES[name] : undefined;
  if (shape === undefined)
    throw new Error(`no starter for ${name}; there are: ${Object.keys(CLOUD_SHAPES).join(', ')}`);
  await mkdir(dirname(folder), { recursive: true });
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    throw new Error(
      error.code === 'EEXIST' ? `${folder} is there already` : `${folder} cannot be made: ${error.message}`,
    );
  });
  const source = (path: string) => fileURLToPath(new URL(path, PACKAGE));
  for (const part of PARTS) await cp(source(`policies/${part}`), join(folder, part), { recursive: true });
  for (const overlay of shape.overlays) await cp(source(`starters/${overlay}`), folder, { recursive: true });
  for (const [file, catalogue] of Object.entries(shape.catalogues)) {
    await cp(source(`catalogs/${catalogue}`), join(folder, file));
  }
  return Object.keys(shape.catalogues);
}
