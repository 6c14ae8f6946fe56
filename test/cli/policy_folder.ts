import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { runSallyport } from '../support/program.ts';

/** A folder of policies for one test file. */
export interface PolicyFolder {
  readonly path: string;
  /** Writes files, by their paths below the folder. */
  write(files: Readonly<Record<string, string>>): void;
  /** Runs `sallyport policy …` beside the folder, to its end. */
  policy(...argv: string[]): Promise<{ readonly code: number | null; readonly text: string; readonly errors: string }>;
  remove(): void;
}

/** Makes a folder with files in it; `name` is its name below a new directory in which commands run. */
export function makePolicyFolder(files: Readonly<Record<string, string>>, name = 'policies'): PolicyFolder {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-policy-'));
  const path = join(root, name);
  const write = (more: Readonly<Record<string, string>>) => {
    for (const [file, text] of Object.entries(more)) {
      mkdirSync(dirname(join(path, file)), { recursive: true });
      writeFileSync(join(path, file), text);
    }
  };
  write(files);
  return {
    path,
    write,
    async policy(...argv) {
      const program = runSallyport(root, 'policy', ...argv);
      const code = await program.ended;
      return { code, text: program.text(), errors: program.errors() };
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** A sound policy in OPA's layout: the job's environment is listed, and its limit is a number that is small enough. */
export const SOUND = {
  'p/decision.rego': `package sallyport

# METADATA
# entrypoint: true
decision := {"allow": true} if count(denials) == 0

decision := {"allow": false, "reasons": [denial | some denial in denials]} if count(denials) > 0

denials contains {"code": "environment"} if not environment_listed

denials contains {"code": "limit"} if not limit_kept

environment_listed if input.job.environment in data.p.environments

limit_kept if {
	is_number(input.token.claims.limit)
	input.token.claims.limit <= 10
}
`,
  'p/data.json': '{"environments": ["production"]}',
  'p/decision_test.rego': `package sallyport_test

import data.sallyport

call := {"job": {"environment": "production"}, "token": {"claims": {"limit": 5}}}

test_allowed if {
	decision := sallyport.decision with input as call with data.p.environments as ["production"]
	decision.allow
}

test_limit if {
	over := object.union(call, {"token": {"claims": {"limit": 11}}})
	decision := sallyport.decision with input as over with data.p.environments as ["production"]
	decision.reasons == [{"code": "limit"}]
}
`,
} as const;
