import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseGatewayConfig } from '../../src/config/load.ts';
import { type RunningGateway, startGateway } from '../../src/gateway/gateway.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';
import { createLog, type Log } from '../../src/telemetry/log.ts';
import { TestIssuer, TestJob } from './issuer.ts';
import { starterPolicy } from './starter_policy.ts';

export { starterPolicy } from './starter_policy.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const DEADLINE_MS = 5000;

/** What may differ from the usual gateway of a test. */
export interface TestGatewayOptions {
  /** Where requests go. */
  readonly upstream: string;
  /** Merged into the configuration, top-level key by top-level key; made in its folder where files belong to it. */
  readonly config?: Record<string, unknown> | ((folder: string) => Record<string, unknown>);
  /** Merged into the one route. */
  readonly route?: Record<string, unknown>;
  readonly clock?: Clock;
  /** Absent: one of its own. */
  readonly issuer?: TestIssuer;
  /** Absent: the starter policy. `configured`: what the configuration names, compiled by the gateway itself. */
  readonly artifact?: PolicyArtifact | 'configured';
  /** Absent: nothing is logged but what ends the process. */
  readonly log?: Log;
}

/** A gateway with an issuer, a job, and its records. */
export interface TestGateway {
  readonly gateway: RunningGateway;
  readonly origin: string;
  readonly port: number;
  readonly issuer: TestIssuer;
  readonly job: TestJob;
  readonly folder: string;
  readonly recordsFile: string;
  /** A token for the demo catalogue, bound to the job's key. */
  token(claims?: Record<string, unknown>): Promise<string>;
  /** The headers of a good request for a path. */
  headers(method: string, path: string, token?: string): Promise<Record<string, string>>;
  /** The records so far, once there are at least `count` of them. */
  records(count: number): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/**
 * Starts a real gateway on loopback: the starter policy and the demo catalogue on /v1, an issuer known by its keys, the memory store, records
 * in a file. Callers sign `origin`, which is http://127.0.0.1 with the port.
 */
export async function startTestGateway(options: TestGatewayOptions): Promise<TestGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-gateway-'));
  const issuer = options.issuer ?? (await TestIssuer.create());
  const job = await TestJob.create();
  issuer.writeJwks(join(folder, 'jwks.json'));
  const recordsFile = join(folder, 'records.jsonl');
  const config = parseGatewayConfig(
    {
      version: 1,
      listen: { port: 0 },
      admin: { port: 0 },
      issuers: [{ issuer: issuer.issuer, jwks_file: 'jwks.json' }],
      policy: { path: join(ROOT, 'policies'), watch: false },
      routes: [
        {
          name: 'projects',
          path_prefix: '/v1',
          upstream: { url: options.upstream },
          resource: 'https://cloud.example.com/v1',
          operations: join(ROOT, 'catalogs/demo_cloud.yaml'),
          ...options.route,
        },
      ],
      audit: { sinks: [{ type: 'file', path: recordsFile }] },
      ...(typeof options.config === 'function' ? options.config(folder) : options.config),
    },
    folder,
  );
  const gateway = await startGateway(config, {
    log: options.log ?? createLog({ level: 'fatal' }),
    ...(options.artifact === 'configured' ? {} : { artifact: options.artifact ?? (await starterPolicy()) }),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });
  const token = (claims?: Record<string, unknown>) => issuer.token(job.key.thumbprint, { ...(claims && { claims }) });
  return {
    gateway,
    origin: gateway.origin,
    port: Number(new URL(`http://${gateway.listening}`).port),
    issuer,
    job,
    folder,
    recordsFile,
    token,
    headers: async (method, path, given) => job.headers(method, gateway.origin + path, given ?? (await token())),
    records: (count) => readRecords(recordsFile, count),
    close: async () => {
      await gateway.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The records in a file, once there are at least `count`; fails after five seconds with what there was. */
export async function readRecords(file: string, count: number): Promise<Record<string, unknown>[]> {
  const late = Date.now() + DEADLINE_MS;
  for (;;) {
    // What stands after the last line end is being written.
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    if (lines.length >= count) return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    if (Date.now() > late) throw new Error(`expected ${count} records, found ${lines.length}: ${lines.join('\n')}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
