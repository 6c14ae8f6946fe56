import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Program, runSallyport } from '../support/program.ts';
import type { TestBroker } from './fixture.ts';

const READY = /ready: (\S+) \(listens on (\S+), admin ([^\s)]+)\)/;

const living = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** Starts `sallyport broker --config broker.yaml` in the folder of a test, without waiting. */
export function launchBroker(test: TestBroker, changes: Record<string, unknown> = {}): Program {
  writeFileSync(join(test.folder, 'broker.yaml'), stringify(test.config(changes)));
  const program = runSallyport(test.folder, 'broker', '--config', 'broker.yaml');
  living.add(program.child);
  void program.ended.then(() => living.delete(program.child));
  return program;
}

/** The same, ready: from now on the jobs of the test ask this process. Closing the test ends it. */
export async function runBroker(test: TestBroker, changes: Record<string, unknown> = {}): Promise<Program> {
  const program = launchBroker(test, changes);
  await program.says('ready: ');
  const [, origin = '', listening = '', adminOrigin = ''] = READY.exec(program.errors()) ?? [];
  test.broker = {
    origin,
    listening,
    adminOrigin,
    reload: async () => void program.child.kill('SIGHUP'),
    close: async () => {
      program.child.kill('SIGTERM');
      return (await program.ended) === 0;
    },
  };
  await test.describe();
  return program;
}

/** The lines of its log so far. */
export function logOf(program: Program): Record<string, unknown>[] {
  return program
    .errors()
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
