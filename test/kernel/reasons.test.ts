import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { REASONS, type Reason, type ReasonRow } from '../../src/kernel/reasons.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const rows = Object.entries(REASONS) as [Reason, ReasonRow][];

function textOf(folder: string, except: readonly string[]): string {
  return readdirSync(folder)
    .map((name) => {
      const path = join(folder, name);
      if (except.some((file) => path.endsWith(file))) return '';
      if (statSync(path).isDirectory()) return textOf(path, except);
      return path.endsWith('.ts') ? readFileSync(path, 'utf8') : '';
    })
    .join('\n');
}

describe('the table of reasons', () => {
  const sources = textOf(join(ROOT, 'src'), ['kernel/reasons.ts']);
  const tests = textOf(join(ROOT, 'test'), ['kernel/reasons.test.ts']);

  it.each(rows)('%s is produced by the sources and by some test', (reason) => {
    expect(sources.includes(`'${reason}'`), `no source produces ${reason}`).toBe(true);
    expect(new RegExp(`['"\`]${reason.replace('.', '\\.')}['"\`]`).test(tests), `no test expects ${reason}`).toBe(true);
  });

  it.each(rows)('%s stays within the words a challenge may carry (RFC 6750 §3)', (_, row) => {
    expect(row.title).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/);
  });

  it.each(rows)('%s has a status that fits its error', (_, row) => {
    const statuses: Record<string, number[]> = {
      invalid_request: [400],
      invalid_token: [401],
      invalid_dpop_proof: [401],
      use_dpop_nonce: [401],
      insufficient_scope: [403],
      insufficient_user_authentication: [401],
      insufficient_authorization_details: [403],
    };
    if (row.error !== null) expect(statuses[row.error]).toContain(row.status);
    else expect(row.status === 401).toBe(row.challenge === true);
  });

  it('no source spells a reason that the table does not have', () => {
    const known = new Set(rows.map(([reason]) => reason as string));
    const used = [...sources.matchAll(/deny\(\s*'([a-z]+\.[a-z_]+)'/g)].map((match) => match[1] ?? '');
    expect(used.filter((reason) => !known.has(reason))).toEqual([]);
  });
});
