import { REASONS, type Reason, type ReasonRow } from '../../src/kernel/reasons.ts';

const STAGES: Readonly<Record<string, string>> = {
  request: 'Stage 1: the request',
  token: 'Stage 2: the access token',
  proof: 'Stage 3: the proof',
  policy: 'Stage 4: the policy',
  rate: 'Stage 4: the rate classes that the policy demands',
  forward: 'Stage 5: forwarding',
  gateway: 'The gateway itself',
};

/** docs/reference/reasons.md: every way to refuse, from the table in src/kernel/reasons.ts. */
export function reasonsPage(): string {
  const rows = Object.entries(REASONS) as [Reason, ReasonRow][];
  const sections = Object.entries(STAGES).map(([stage, heading]) => {
    const table = rows
      .filter(([reason]) => reason.startsWith(`${stage}.`))
      .map(([reason, row]) => tableRow(reason, row));
    return [
      `## ${heading}`,
      '',
      '| reason | status | error | what the caller reads | specification | what to do |',
      '|---|---|---|---|---|---|',
      ...table,
      '',
    ].join('\n');
  });
  return `<!-- Generated from src/kernel/reasons.ts by npm run generate. -->
# Reasons

Every refusal has one reason from this list. It stands in the answer (member \`reason\` of the problem document, RFC 9457), in the
record of the request and in the metric \`sallyport_requests_total\`. The error is the code in the \`WWW-Authenticate\` challenge;
"none" is a challenge without a code, "–" no challenge.

${sections.join('\n')}`;
}

function tableRow(reason: Reason, row: ReasonRow): string {
  const error = row.error === null ? (row.challenge === true ? 'none' : '–') : `\`${row.error}\``;
  return `| \`${reason}\` | ${row.status} | ${error} | ${row.title} | ${row.specification} | ${row.advice} |`;
}
