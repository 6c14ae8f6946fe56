import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { copied, execForm, readDockerfile } from './dockerfile.ts';
import { closedPort } from './key_server.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const INSTALL_MS = 240_000;
const run = promisify(execFile);

/** Ports that the examples name, and where they are in a test. */
export type Ports = Readonly<Record<string, number>>;

/** One service of docker-compose.yml, as far as it is run here. */
interface Service {
  readonly command: readonly string[];
  readonly volumes?: readonly string[];
}

/** A program of the image that runs. */
export interface ImageProgram {
  readonly child: ChildProcess;
  output(): string;
  errors(): string;
  readonly ended: Promise<number | null>;
}

/**
 * What the image holds, without a container: a folder that stands for its root, filled as the Dockerfile fills the last stage, with packages
 * as npm installs them for production; and its programs, started by the command lines of Dockerfile and docker-compose.yml, on free ports.
 */
export class Image {
  readonly root: string;
  readonly ports: Ports;
  readonly #programs: ImageProgram[] = [];
  readonly #services: Readonly<Record<string, Service>>;
  readonly #entrypoint: readonly string[];
  /** The words of HEALTHCHECK. */
  readonly healthCheck: readonly string[];

  private constructor(root: string, ports: Ports) {
    this.root = root;
    this.ports = ports;
    this.#services = (
      parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
        services: Record<string, Service>;
      }
    ).services;
    const words = (keyword: string) => instructionOf(keyword).replace(/^.* CMD /, '');
    this.#entrypoint = execForm(words('ENTRYPOINT')) ?? [];
    this.healthCheck = (execForm(words('HEALTHCHECK')) ?? []).map((word) => this.here(word));
  }

  static async assemble(): Promise<Image> {
    const root = mkdtempSync(join(tmpdir(), 'sallyport-image-'));
    const ports: Record<string, number> = {};
    for (const port of ['8080', '9100', '9000', '9901', '6379']) ports[port] = await closedPort();
    const image = new Image(root, ports);
    await image.#fill();
    return image;
  }

  /** The folder that stands for /app. */
  get app(): string {
    return join(this.root, 'app');
  }

  /** A text of the examples with the ports and paths that it has here. */
  here(text: string): string {
    return text
      .replace(/\b(8080|9100|9000|9901|6379)\b/g, (port) => String(this.ports[port]))
      .replace(/(?<![\w/.])\/(app|etc\/sallyport|var\/lib\/sallyport)\b/g, (path) => this.root + path);
  }

  /** Puts a file of the examples at its place. */
  place(path: string, text: string): void {
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, this.here(text));
  }

  /** The words that docker-compose.yml runs a service with. */
  commandOf(service: string): string[] {
    return (this.#services[service]?.command ?? []).map((word) => this.here(word));
  }

  /** Mounts of a service: files of the repository and where they are put. */
  mountsOf(service: string): { readonly source: string; readonly target: string }[] {
    return (this.#services[service]?.volumes ?? [])
      .map((mount) => mount.split(':'))
      .filter(([source = '']) => source.startsWith('./'))
      .map(([source = '', target = '']) => ({ source: join(ROOT, source), target }));
  }

  /** Starts the image's program, as the entry point with these words. */
  start(...words: string[]): ImageProgram {
    const [, ...entry] = this.#entrypoint;
    // The image has node on its PATH; a test has the one that it runs on.
    const child = spawn(process.execPath, [...entry, ...words], {
      cwd: this.app,
      env: { PATH: process.env['PATH'], NODE_ENV: 'production' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [output, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const ended = new Promise<number | null>((done) => child.once('close', done));
    const program = { child, output: () => output, errors: () => errors, ended };
    this.#programs.push(program);
    return program;
  }

  /** Every file below /app, with size and time: to see that nothing is written there. */
  listing(): string[] {
    return (readdirSync(this.app, { recursive: true }) as string[])
      .map((name) => ({ name, found: statSync(join(this.app, name)) }))
      .map(({ name, found }) => `${name} ${found.size} ${found.mtimeMs}`)
      .sort();
  }

  async remove(): Promise<void> {
    for (const { child, ended } of this.#programs) {
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.root, { recursive: true, force: true });
  }

  async #fill(): Promise<void> {
    const instructions = readDockerfile(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'));
    const copies = instructions.filter(({ keyword, stage }) => keyword === 'COPY' && stage === 1);
    for (const { value } of copies) {
      const { from, to } = copied(value);
      for (const path of from) await this.#take(path, to === './' ? `/app/${path.slice('/app/'.length)}` : to);
    }
  }

  /** One path of the build stage: made here where the build makes it, else of the repository. */
  async #take(path: string, to: string): Promise<void> {
    const name = path.replace(/^\/app\//, '');
    const target = join(this.root, to.startsWith('/') ? to : join('app', to));
    if (path.startsWith('/var/')) mkdirSync(target, { recursive: true });
    else if (name === 'dist') await this.#compile(target);
    else if (name === 'node_modules') await this.#install();
    else cpSync(join(ROOT, name), target, { recursive: true });
  }

  async #compile(target: string): Promise<void> {
    await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--outDir', target], { cwd: ROOT });
  }

  /** As the build stage leaves it: installed by the lock file, without what is for development. */
  async #install(): Promise<void> {
    mkdirSync(this.app, { recursive: true });
    const inputs = ['package.json', 'package-lock.json', '.npmrc'];
    for (const name of inputs) cpSync(join(ROOT, name), join(this.app, name));
    const options = ['ci', '--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-progress'];
    await run('npm', options, { cwd: this.app, timeout: INSTALL_MS });
    for (const name of inputs.slice(1)) rmSync(join(this.app, name));
  }
}

function instructionOf(keyword: string): string {
  const found = readDockerfile(readFileSync(join(ROOT, 'Dockerfile'), 'utf8')).filter((one) => one.keyword === keyword);
  return found.at(-1)?.value ?? '';
}
