import type { RegoCoverage, RegoRange } from '../rego/test.ts';

/** Coverage of the policy itself; its tests do not count. */
export interface PolicyCoverage {
  /** Percent of lines, 0 to 100. */
  readonly percent: number;
  readonly coveredLines: number;
  readonly lines: number;
  /** What no test evaluates, in the order of files and lines. */
  readonly notCovered: readonly { readonly file: string; readonly from: number; readonly to: number }[];
}

/** Sums up OPA's report over the modules that are no tests. */
export function summarizeCoverage(report: RegoCoverage): PolicyCoverage {
  let coveredLines = 0;
  let missedLines = 0;
  const notCovered: { file: string; from: number; to: number }[] = [];
  for (const [file, { covered = [], not_covered = [] }] of Object.entries(report.files).sort()) {
    if (file.endsWith('_test.rego')) continue;
    coveredLines += linesOf(covered);
    missedLines += linesOf(not_covered);
    for (const { start, end } of not_covered) notCovered.push({ file, from: start.row, to: end.row });
  }
  const lines = coveredLines + missedLines;
  const percent = lines === 0 ? 100 : (coveredLines / lines) * 100;
  return { percent, coveredLines, lines, notCovered };
}

/** Several ranges may lie on one line. */
function linesOf(ranges: readonly RegoRange[]): number {
  const rows = new Set<number>();
  for (const { start, end } of ranges) for (let row = start.row; row <= end.row; row++) rows.add(row);
  return rows.size;
}
