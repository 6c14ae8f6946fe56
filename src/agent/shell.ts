import type { Exported } from './environment.ts';

/** How variables are printed: for `eval` in a POSIX shell, for the file that GITHUB_ENV names, or as JSON. */
export type ShellFormat = 'sh' | 'github' | 'json';

/** Variables as text that a shell, or a CI system, takes in. */
export function printVariables(exported: Exported, format: ShellFormat): string {
  if (format === 'json') return `${JSON.stringify(exported, null, 2)}\n`;
  const lines = Object.entries(exported).map(([name, value]) =>
    format === 'sh' ? shellLine(name, value) : githubLine(name, value),
  );
  return `${lines.join('\n')}\n`;
}

/** Inside single quotes nothing means anything but the quote itself (POSIX.1-2017, Shell Command Language §2.2.2). */
function shellLine(name: string, value: string | null): string {
  return value === null ? `unset ${name}` : `export ${name}='${value.replaceAll("'", "'\\''")}'`;
}

/** One line each: nothing here has a line end. What is not to be exported is made empty, since GITHUB_ENV cannot unset. */
function githubLine(name: string, value: string | null): string {
  return `${name}=${value ?? ''}`;
}
