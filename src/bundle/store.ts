import { createHash, randomUUID } from 'node:crypto';
import { promises as fs } from 'node:fs';
import { join } from 'node:path';
import { isDocument } from '../policy/exact_json.ts';

/** A bundle on disk with what is known of it. */
export interface StoredBundle {
  /** The `bundle.tar.gz`. */
  readonly bytes: Uint8Array;
  /** Of the answer that it came in; empty where there was none. */
  readonly etag: string;
  /** Revisions that were in use before it (age.ts). */
  readonly superseded: readonly string[];
}

/** The bundles that were in use, so that a restart works without the service that they come from. */
export interface BundleStore {
  /** The bundle of one source as it was kept; null where none was. @throws Error when there is one that cannot be used */
  load(name: string, origin: string): Promise<StoredBundle | null>;
  /** Keeps a bundle in place of the one before, whole or not at all. */
  save(name: string, origin: string, stored: StoredBundle): Promise<void>;
}

const FORMAT = 1;
/** Bytes of the line before the bundle. */
const HEAD_LIMIT_BYTES = 1_048_576;

/**
 * Keeps bundles in a folder, one file for each: a line of JSON, then the bundle. Readable by the owner alone. A file from another address
 * than the configured one does not count.
 */
export function createBundleStore(folder: string): BundleStore {
  const pathOf = (name: string) => join(folder, `${name}.bundle`);
  return {
    load: (name, origin) => loadFile(pathOf(name), origin),
    save: async (name, origin, stored) => {
      await fs.mkdir(folder, { recursive: true, mode: 0o700 });
      await replaceFile(pathOf(name), encode(origin, stored));
    },
  };
}

/** What was kept in a folder, for a look at it: nothing is kept there. */
export function openBundleStore(folder: string): BundleStore {
  return { ...createBundleStore(folder), save: () => Promise.resolve() };
}

function encode(origin: string, { bytes, etag, superseded }: StoredBundle): Buffer {
  const head = { format: FORMAT, origin, sha256: sha256(bytes), etag, superseded };
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), bytes]);
}

async function loadFile(path: string, origin: string): Promise<StoredBundle | null> {
  let content: Buffer;
  try {
    content = await fs.readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Error(`${path} cannot be read: ${(error as Error).message}`);
  }
  const end = content.indexOf(0x0a);
  if (end < 0 || end > HEAD_LIMIT_BYTES) throw new Error(`${path} is not a bundle that was kept here`);
  const head = parseHead(content.subarray(0, end).toString('utf8'));
  const bytes = content.subarray(end + 1);
  if (head === null || head.sha256 !== sha256(bytes)) throw new Error(`${path} is damaged`);
  return head.origin === origin ? { bytes, etag: head.etag, superseded: head.superseded } : null;
}

interface Head {
  readonly origin: string;
  readonly sha256: string;
  readonly etag: string;
  readonly superseded: readonly string[];
}

function parseHead(text: string): Head | null {
  try {
    const head: unknown = JSON.parse(text);
    if (!isDocument(head) || head['format'] !== FORMAT) return null;
    const { origin, sha256: digest, etag, superseded } = head;
    const texts = [origin, digest, etag].every((value) => typeof value === 'string');
    const list = Array.isArray(superseded) && superseded.every((value) => typeof value === 'string');
    return texts && list ? (head as unknown as Head) : null;
  } catch {
    return null;
  }
}

/** A crash at any moment leaves the old file or the new one. */
async function replaceFile(path: string, content: Buffer): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    const file = await fs.open(draft, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(draft, path);
  } catch (error) {
    await fs.rm(draft, { force: true });
    throw error;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
