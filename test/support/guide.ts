import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const GUIDES = resolve(import.meta.dirname, '../../docs/guides');

/** The block of code in a guide whose first line is `# ` and this title. Fails when there is not exactly one. */
export function blockOf(guide: string, title: string): string {
  const text = readFileSync(join(GUIDES, guide), 'utf8');
  const blocks = [...text.matchAll(/^```[a-z]+\n([\s\S]*?)^```$/gm)].map(([, body = '']) => body);
  const found = blocks.filter((body) => body.startsWith(`# ${title}\n`));
  if (found.length !== 1) throw new Error(`${guide}: ${found.length} blocks begin with "# ${title}", expected one`);
  return found[0] as string;
}

/** The text with ports and paths replaced by others, everywhere. Fails when one of them is not in it. */
export function placed(text: string, places: Readonly<Record<string, string | number>>): string {
  return Object.entries(places).reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(`"${from}" is not in:\n${changed}`);
    return changed.replaceAll(from, String(to));
  }, text);
}
