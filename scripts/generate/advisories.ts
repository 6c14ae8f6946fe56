import { fileURLToPath } from 'node:url';
import { readAdvisories, testsOfDefect } from '../../test/conformance/advisories.ts';
import { collectTitles } from '../../test/conformance/titles.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * docs/reference/advisories.md: defects that other systems had, each with the tests that would have caught it here.
 * @throws Error that names the defects whose tests are not there
 */
export function advisoriesPage(): string {
  const titles = collectTitles(ROOT);
  const rows = readAdvisories().map((advisory) => {
    const tests = advisory.tests.map((wanted) => {
      const found = testsOfDefect(wanted, titles);
      if (found.length === 0)
        throw new Error(`${advisory.defect}: no test in ${wanted.file} is titled “${wanted.title}”`);
      return `[${wanted.file.replace(/^test\//, '')}](../../${wanted.file}): ${wanted.title}`;
    });
    return `| ${advisory.defect} | ${advisory.seen.join(', ')} | ${tests.join('<br>')} |`;
  });
  return `<!-- Generated from test/conformance/advisories.yaml and the titles of the tests by npm run generate. -->
# Defects of other systems, and the tests that would have caught them

Public advisories and reports, by what went wrong. Each row names tests of this repository that fail when the gateway has the same defect; \`npm run check\` fails when
one of them is gone. A row is no word about the present state of the system it names.

| what went wrong | where it was seen | tests |
|---|---|---|
${rows.join('\n')}
`;
}
