import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { eventually } from './eventually.ts';
import { type Program, runSallyport } from './program.ts';

/** One line of a program's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** One thing that /readyz tells. */
export interface ReadyCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail?: string;
}

/** The answer of /readyz. */
export interface Readiness {
  readonly status: number;
  readonly checks: readonly ReadyCheck[];
}

const READY = /^ready: (\S+) \(listens on (\S+), admin (\S+)\)$/;
const living = new Set<Program>();

process.on('exit', () => {
  for (const { child } of living) child.kill('SIGKILL');
});

/** A gateway as its operator runs it: a process of its own with a configuration file, that may have worker processes. */
export class GatewayProcess {
  readonly program: Program;
  origin = '';
  port = 0;
  admin = '';

  private constructor(program: Program) {
    this.program = program;
    living.add(program);
    void program.ended.then(() => living.delete(program));
  }

  /** Starts it; the configuration is written to a file in the folder. */
  static launch(folder: string, config: Record<string, unknown>, file = 'gateway.yaml'): GatewayProcess {
    writeFileSync(join(folder, file), stringify(config));
    return new GatewayProcess(runSallyport(folder, 'gateway', '--config', file));
  }

  /** Starts it and waits until it is ready; fails with what it said when it ends before. */
  static async start(folder: string, config: Record<string, unknown>, file?: string): Promise<GatewayProcess> {
    const gateway = GatewayProcess.launch(folder, config, file);
    await gateway.says('ready: ');
    return gateway;
  }

  get pid(): number {
    return this.program.child.pid as number;
  }

  /** The log so far; what is not a line of it (an error for people) is left out. */
  get log(): LogLine[] {
    return this.program
      .errors()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** The worker processes that are ready, by process id. */
  get workers(): number[] {
    const pidsOf = (msg: RegExp) =>
      this.log.filter((line) => msg.test(String(line['msg']))).map(({ worker }) => worker as number);
    const ended = pidsOf(/^a worker ended/);
    return pidsOf(/^a worker is ready$/).filter((pid) => !ended.includes(pid));
  }

  /** Waits for words on standard error, and learns from the ready line where the gateway is. */
  async says(words: string): Promise<void> {
    await this.program.says(words);
    const ready = this.log.map(({ msg }) => READY.exec(String(msg))).find((match) => match !== null);
    if (ready == null) return;
    [, this.origin = '', , this.admin = ''] = ready;
    this.port = Number(new URL(`http://${ready[2]}`).port);
  }

  /** Waits for a line of the log. */
  async logs(matches: (line: LogLine) => boolean): Promise<LogLine> {
    await eventually('a line of the log', () => this.log.some(matches));
    return this.log.find(matches) as LogLine;
  }

  async readiness(): Promise<Readiness> {
    const response = await fetch(`${this.admin}/readyz`);
    const { checks } = (await response.json()) as { checks: ReadyCheck[] };
    return { status: response.status, checks };
  }

  /** Waits until /readyz answers with this status; for a check by name, until it is as well as that says. */
  async becomes(status: 200 | 503, name?: string): Promise<Readiness> {
    let readiness: Readiness | undefined;
    await eventually(`/readyz is ${status}`, async () => {
      readiness = await this.readiness();
      const checks = readiness.checks.filter((check) => check.name === name);
      return readiness.status === status && (status === 200 || name === undefined || checks.some(({ ok }) => !ok));
    });
    return readiness as Readiness;
  }

  /** The sum of a metric over the series whose text holds all of these. */
  async metric(name: string, ...labels: string[]): Promise<number> {
    const text = await (await fetch(`${this.admin}/metrics`)).text();
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) => labels.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  signal(signal: NodeJS.Signals): void {
    this.program.child.kill(signal);
  }

  /** Tells it to stop. @returns its exit code; null when a signal ended it */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.signal(signal);
    return this.program.ended;
  }
}
