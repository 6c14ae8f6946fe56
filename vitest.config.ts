import { defineConfig } from 'vitest/config';

const shared = { environment: 'node', pool: 'forks', testTimeout: 20_000, hookTimeout: 60_000 } as const;
const special = ['rfc', 'flow', 'security', 'faults'];

/** On a busy machine a fault of a real server may be over before it is looked at: such a test may be played again. What is broken fails each time. */
function again(name: string): { retry: number } {
  return { retry: name === 'faults' || name === 'flow' ? 2 : 1 };
}

/** One project for each kind of trust: units mirror src/, the others have a folder of their own. */
export default defineConfig({
  test: {
    // Most of the time is waiting for real processes and timers, not for a core.
    maxWorkers: 4,
    projects: [
      {
        test: {
          ...shared,
          ...again('unit'),
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: special.map((folder) => `test/${folder}/**`),
        },
      },
      ...special.map((name) => ({ test: { ...shared, ...again(name), name, include: [`test/${name}/**/*.test.ts`] } })),
    ],
  },
});
