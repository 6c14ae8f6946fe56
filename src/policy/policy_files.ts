import { type Dirent, promises as fs } from 'node:fs';
import { join, sep } from 'node:path';

/** What is in a folder of policies. Paths are relative to it, with `/`, in the order of their UTF-16 units. */
export interface PolicyFiles {
  /** Rego modules, tests excepted. */
  readonly modules: readonly string[];
  /** Tests: modules whose names end in `_test.rego`. */
  readonly tests: readonly string[];
  /** `data.json`, `data.yaml` and `data.yml`. */
  readonly data: readonly string[];
}

/** Files of all kinds together. */
const FILE_LIMIT = 2000;
/** Entries that are looked at, whatever they are. */
const ENTRY_LIMIT = 20_000;
const DEPTH_LIMIT = 16;
const DATA_NAMES: ReadonlySet<string> = new Set(['data.json', 'data.yaml', 'data.yml']);

interface Walk {
  readonly root: string;
  readonly realRoot: string;
  readonly modules: string[];
  readonly tests: string[];
  readonly data: string[];
  entries: number;
}

/**
 * Finds the files of a policy below a folder. Names that begin with a dot are passed over; links are followed to files inside the
 * folder only.
 * @throws Error that names the path and says what to do
 */
export async function listPolicyFiles(folder: string): Promise<PolicyFiles> {
  const realRoot = await realFolder(folder);
  const walk: Walk = { root: folder, realRoot, modules: [], tests: [], data: [], entries: 0 };
  await visit(walk, '', 0);
  return { modules: walk.modules.sort(), tests: walk.tests.sort(), data: walk.data.sort() };
}

async function realFolder(folder: string): Promise<string> {
  const real = await fs.realpath(folder).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${folder} cannot be read: ${error.code === 'ENOENT' ? 'there is no such folder' : error.message}`);
  });
  if (!(await fs.stat(real)).isDirectory()) throw new Error(`${folder} is not a folder: give a folder of Rego files`);
  return real;
}

async function visit(walk: Walk, folder: string, depth: number): Promise<void> {
  if (depth > DEPTH_LIMIT) throw new Error(`${join(walk.root, folder)} lies more than ${DEPTH_LIMIT} folders deep`);
  for (const entry of await fs.readdir(join(walk.root, folder), { withFileTypes: true })) {
    walk.entries++;
    if (walk.entries > ENTRY_LIMIT) throw new Error(`${walk.root} has more than ${ENTRY_LIMIT} entries`);
    if (entry.name.startsWith('.')) continue;
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) await visit(walk, path, depth + 1);
    else if (await isOwnFile(walk, path, entry)) collect(walk, path, entry.name);
  }
}

/** Mounted configuration consists of links to files beside them, so links inside the folder count as what they lead to. */
async function isOwnFile(walk: Walk, path: string, entry: Dirent): Promise<boolean> {
  if (!isPolicyName(entry.name)) {
    if (entry.isSymbolicLink()) await refuseLinkedFolder(walk, path);
    return false;
  }
  if (entry.isFile()) return true;
  const place = join(walk.root, path);
  if (!entry.isSymbolicLink()) throw new Error(`${place} is not a file`);
  const target = await fs.realpath(place).catch(() => {
    throw new Error(`${place} is a link that leads nowhere`);
  });
  if (!target.startsWith(walk.realRoot + sep))
    throw new Error(`${place} is a link out of ${walk.root}: put the file itself there`);
  if ((await fs.stat(target)).isFile()) return true;
  throw new Error(`${place} is not a file`);
}

/** Rules behind it would be left out without a word, denials among them. */
async function refuseLinkedFolder({ root }: Walk, path: string): Promise<void> {
  const place = join(root, path);
  const target = await fs.stat(place).catch(() => null);
  if (target?.isDirectory() === true)
    throw new Error(`${place} is a link to a folder, and these are not followed: put the folder itself there`);
}

function isPolicyName(name: string): boolean {
  return name.endsWith('.rego') || DATA_NAMES.has(name);
}

function listFor(walk: Walk, name: string): string[] {
  if (name.endsWith('_test.rego')) return walk.tests;
  return DATA_NAMES.has(name) ? walk.data : walk.modules;
}

function collect(walk: Walk, path: string, name: string): void {
  listFor(walk, name).push(path);
  if (walk.modules.length + walk.tests.length + walk.data.length > FILE_LIMIT)
    throw new Error(`${walk.root} has more than ${FILE_LIMIT} policy files`);
}
