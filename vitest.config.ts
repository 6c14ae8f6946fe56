import { defineConfig } from 'vitest/config';

const shared = { environment: 'node', pool: 'forks', testTimeout: 20_000, hookTimeout: 60_000 } as const;
const special = ['rfc', 'flow', 'security', 'faults'];

/** One project for each kind of trust: units mirror src/, the others have a folder of their own. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: special.map((folder) => `test/${folder}/**`),
        },
      },
      ...special.map((name) => ({ test: { ...shared, name, include: [`test/${name}/**/*.test.ts`] } })),
    ],
  },
});
