import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RegoEngine } from '../rego/engine_host.ts';
import { formatModules } from '../rego/format.ts';
import type { Finding } from './check.ts';
import { withHint } from './check.ts';
import type { PolicyProject } from './project.ts';

/** What laying out a folder gave. */
export interface FormatReport {
  /** Files that are not laid out as `opa fmt` does; written when that was asked for. */
  readonly changed: readonly { readonly path: string; readonly text: string }[];
  /** Why a file could not be read; it stays as it is. */
  readonly diagnostics: readonly Finding[];
}

/** Lays out all modules and tests of a folder as `opa fmt` does; with `write`, in their files. */
export async function formatProject(project: PolicyProject, write: boolean, engine: RegoEngine): Promise<FormatReport> {
  const formatted = await formatModules([...project.modules, ...project.tests], engine);
  const changed = formatted.filter(({ changed: differs, diagnostics }) => differs && diagnostics === undefined);
  if (write) for (const { path, text } of changed) await writeFile(join(project.folder, path), text);
  return {
    changed: changed.map(({ path, text }) => ({ path, text })),
    diagnostics: formatted.flatMap(({ diagnostics = [] }) => diagnostics.map(withHint)),
  };
}
