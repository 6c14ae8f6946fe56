import { fileURLToPath } from 'node:url';
import { type Clause, readSpecifications, type Specification, testsOf } from '../../test/conformance/clauses.ts';
import { collectTitles, type Title } from '../../test/conformance/titles.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * docs/reference/conformance.md: each obligation of each specification with the tests that hold it, found by their titles.
 * @throws Error that names the clauses that no test starts with
 */
export function conformancePage(): string {
  const titles = collectTitles(ROOT);
  const specifications = readSpecifications();
  const untested = specifications.flatMap((specification) =>
    specification.clauses
      .filter((clause) => testsOf(specification, clause, titles).length === 0)
      .map(({ clause, about }) => `${specification.specification} ${clause}${about === null ? '' : ` (“${about}”)`}`),
  );
  if (untested.length > 0) {
    throw new Error(`no test has a title that starts with: ${untested.join('; ')} (test/conformance/clauses)`);
  }
  const count = specifications.reduce((sum, { clauses }) => sum + clauses.length, 0);
  return `<!-- Generated from test/conformance/clauses and the titles of the tests by npm run generate. -->
# Conformance

${count} obligations of ${specifications.length} specifications, in our own words, each with the tests whose titles start with it. \`npm run check\` fails when one has no test;
\`npm run conformance\` says what became of each in the last run of the tests.

${specifications.map((specification) => section(specification, titles)).join('\n')}`;
}

function section(specification: Specification, titles: readonly Title[]): string {
  const rows = specification.clauses.map((clause) => row(specification, clause, titles));
  return `## ${specification.specification}: ${specification.title}

| clause | who | what must hold | tests |
|---|---|---|---|
${rows.join('\n')}
`;
}

function row(specification: Specification, clause: Clause, titles: readonly Title[]): string {
  const files = [...new Set(testsOf(specification, clause, titles).map(({ file }) => file))];
  const tests = files.map((file) => `[${file.replace(/^test\//, '')}](../../${file})`);
  return `| ${clause.clause} | ${clause.party} | ${clause.must} | ${tests.join(', ')} |`;
}
