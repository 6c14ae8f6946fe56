import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { TestIssuer, TestJob } from './issuer.ts';
import { type Program, runSallyport } from './program.ts';

const ROOT = resolve(import.meta.dirname, '../..');

/** How the configuration of the process differs; merged top-level key by top-level key. */
export interface GatewayProcessOptions {
  readonly upstream: string;
  readonly config?: Record<string, unknown>;
  /** Of `policy`, beside its path. */
  readonly policy?: Record<string, unknown>;
  /** Puts further files into its folder before it starts. */
  readonly prepare?: (folder: string) => void;
}

/** What a call through the gateway came to. */
export interface CallOutcome {
  readonly status: number;
  /** Of a refusal; null when there was none. */
  readonly reason: string | null;
}

/** `sallyport gateway` as a process of its own, in a folder with a copy of the policies that a test may change. */
export class GatewayProcess {
  readonly folder: string;
  readonly program: Program;
  readonly issuer: TestIssuer;
  readonly job: TestJob;
  /** What callers sign. */
  readonly origin: string;
  readonly admin: string;

  private constructor(parts: Pick<GatewayProcess, 'folder' | 'program' | 'issuer' | 'job' | 'origin' | 'admin'>) {
    this.folder = parts.folder;
    this.program = parts.program;
    this.issuer = parts.issuer;
    this.job = parts.job;
    this.origin = parts.origin;
    this.admin = parts.admin;
  }

  static async start({ upstream, config, policy, prepare }: GatewayProcessOptions): Promise<GatewayProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-process-'));
    const [issuer, job] = await Promise.all([TestIssuer.create(), TestJob.create()]);
    issuer.writeJwks(join(folder, 'jwks.json'));
    cpSync(join(ROOT, 'policies'), join(folder, 'policies'), { recursive: true });
    const route = { name: 'projects', path_prefix: '/v1', upstream: { url: upstream } };
    const file = {
      version: 1,
      listen: { port: 0 },
      admin: { port: 0 },
      issuers: [{ issuer: issuer.issuer, jwks_file: 'jwks.json' }],
      policy: { path: 'policies', ...policy },
      routes: [
        { ...route, resource: 'https://cloud.example.com/v1', operations: join(ROOT, 'catalogs/demo_cloud.yaml') },
      ],
      audit: { sinks: [{ type: 'file', path: 'records.jsonl' }] },
      limits: { stop_grace_ms: 2000 },
      ...config,
    };
    writeFileSync(join(folder, 'gateway.yaml'), stringify(file));
    prepare?.(folder);
    const program = runSallyport(folder, 'gateway', '--config', 'gateway.yaml');
    try {
      await program.says('ready: ');
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
    const [, origin = '', admin = ''] = /ready: (\S+) \(listens on \S+, admin (\S+)\)/.exec(program.errors()) ?? [];
    return new GatewayProcess({ folder, program, issuer, job, origin, admin });
  }

  /** Makes a call with a new token and a good proof. */
  async call(path = '/v1/projects/p1', method = 'GET'): Promise<CallOutcome> {
    const token = await this.issuer.token(this.job.key.thumbprint);
    const headers = await this.job.headers(method, this.origin + path, token);
    const response = await fetch(this.origin + path, { method, headers });
    const text = await response.text();
    return { status: response.status, reason: response.ok ? null : (JSON.parse(text) as { reason: string }).reason };
  }

  /** The answer of a page of the admin port. */
  async page(path: string): Promise<{ readonly status: number; readonly body: string }> {
    const response = await fetch(this.admin + path);
    return { status: response.status, body: await response.text() };
  }

  /** Changes one file of the policies. */
  edit(name: string, change: (text: string) => string): void {
    const file = join(this.folder, 'policies', name);
    writeFileSync(file, change(readFileSync(file, 'utf8')));
  }

  /** Ends the process in order. @returns its exit code */
  async stop(): Promise<number | null> {
    this.program.child.kill('SIGTERM');
    const code = await this.program.ended;
    rmSync(this.folder, { recursive: true, force: true });
    return code;
  }

  /** Ends what a failed test left. */
  discard(): void {
    this.program.child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
