import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { runSallyport } from './program.ts';

/** What a run of the command came to. */
export interface Checked {
  readonly code: number | null;
  readonly text: string;
  readonly errors: string;
}

/** A folder with configuration files, and `sallyport config …` as a user runs it there. */
export class CheckFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'sallyport-check-'));

  /** Writes a file; what is no text as JSON. @returns its path */
  write(name: string, content: unknown, mode = 0o600): string {
    const path = join(this.path, name);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode });
    return path;
  }

  /** Writes `config.yaml` and lets it be checked. */
  async check(config: unknown, ...flags: string[]): Promise<Checked> {
    this.write('config.yaml', typeof config === 'string' ? config : stringify(config));
    return this.run('check', 'config.yaml', ...flags);
  }

  /** `sallyport config …` */
  async run(...argv: string[]): Promise<Checked> {
    const program = runSallyport(this.path, 'config', ...argv);
    return { code: await program.ended, text: program.text(), errors: program.errors() };
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
