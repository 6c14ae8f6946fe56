import { fileURLToPath } from 'node:url';
import { testsOfDefect } from '../../test/conformance/advisories.ts';
import { readFaults } from '../../test/conformance/faults.ts';
import { collectTitles } from '../../test/conformance/titles.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * docs/reference/faults.md: what goes wrong around a gateway, what happens then, and the tests that make it happen.
 * @throws Error that names the faults whose tests are not there
 */
export function faultsPage(): string {
  const titles = collectTitles(ROOT);
  const rows = readFaults().map(({ fault, must, tests }) => {
    const named = tests.map((wanted) => {
      if (testsOfDefect(wanted, titles).length === 0)
        throw new Error(`${fault}: no test in ${wanted.file} is titled “${wanted.title}”`);
      return `[${wanted.file.replace(/^test\//, '')}](../../${wanted.file}): ${wanted.title}`;
    });
    return `| ${fault} | ${must} | ${named.join('<br>')} |`;
  });
  return `<!-- Generated from test/conformance/faults.yaml and the titles of the tests by npm run generate. -->
# What happens when something fails

Each row is tried on real servers: a Redis that is killed, paused, filled, replaced; an issuer, an upstream, a disk that fails; processes that are killed. \`npm run check\` fails when a test of a row is gone.

| what fails | what happens | tests |
|---|---|---|
${rows.join('\n')}
`;
}
