import { join } from 'node:path';
import type { Finding } from '../insight/check.ts';
import type { PolicyProject } from '../insight/project.ts';
import { visible } from '../telemetry/single_line.ts';

/** UTF-16 units of a source line that are shown. */
const LINE_LENGTH = 400;

/** Where a finding is, in the form that editors and terminals make clickable. */
export function placeText(folder: string, place: { file: string; row: number; column?: number }): string {
  if (place.file === '') return folder;
  const file = visible(join(folder, place.file));
  if (place.row === 0) return file;
  return `${file}:${place.row}${place.column === undefined ? '' : `:${place.column}`}`;
}

/** A finding for people: place and message, the line with a caret under what is meant, details, and what to do. */
export function findingLines(project: PolicyProject, finding: Finding): string[] {
  const { message, code, details = [], hint } = finding;
  const lines = [`${placeText(project.folder, finding)}: ${visible(message)} (${code})`];
  const source = finding.text ?? lineOf(project, finding);
  if (source !== undefined && finding.row > 0) lines.push(...sourceLines(source, finding));
  if (hint === undefined) for (const detail of details) lines.push(`      ${visible(detail)}`);
  else lines.push(`      hint: ${visible(hint)}`);
  return lines;
}

/** A line of source, its number before it, and a caret under the columns that are meant. */
export function sourceLines(
  source: string,
  { row, column, length = 1 }: { row: number; column: number; length?: number },
): string[] {
  const number = String(row).padStart(4);
  const text = visible(source.replaceAll('\t', ' '), LINE_LENGTH);
  const lines = [`${number} | ${text}`];
  const width = Math.max(1, Math.min(length, source.length - column + 1));
  if (column > 0 && column <= source.length + 1) lines.push(`     | ${' '.repeat(column - 1)}${'^'.repeat(width)}`);
  return lines;
}

/** The line of a module; undefined where there is none. */
export function lineOf(
  { modules, tests }: PolicyProject,
  { file, row }: { file: string; row: number },
): string | undefined {
  const module = [...modules, ...tests].find(({ path }) => path === file);
  return row === 0 ? undefined : module?.text.split('\n')[row - 1];
}

/** `1 file`, `2 files`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
