/**
 * What is not Sallyport, for docs/guides/first_job.md: a CI system, and three APIs that are to be protected. `npm run first-job:surroundings`;
 * it runs until Ctrl-C.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startApis } from './apis.ts';
import { CiSystem } from './ci_system.ts';

const folder = join(import.meta.dirname, 'state');

try {
  await serve();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}

async function serve(): Promise<void> {
  const ci = await CiSystem.start(9300);
  const apis = await startApis(folder, { cloud: 9000, dynamodb: 9001, kubernetes: 9002 });
  const runner = Object.entries(ci.variables).map(([name, value]) => `export ${name}='${value}'\n`);
  await writeFile(join(folder, 'runner.env'), runner.join(''), { mode: 0o600 });
  for (const [name, origin] of Object.entries({ ...apis.origins, 'CI system': ci.origin }))
    console.log(`${name.padEnd(10)} ${origin}`);
  console.log('ready; what a runner gives a job is in examples/first_job/state/runner.env. Stop with Ctrl-C.');
  await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
  await ci.close();
  await apis.close();
}
