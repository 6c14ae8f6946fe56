import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { TestIssuer, TestJob } from '../support/issuer.ts';
import { GatewayProcess } from '../support/process.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { answerEach, RecordingUpstream, type UpstreamScript } from '../support/recording_upstream.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** What the token of a scene allows. */
export const PATH = '/v1/projects/p1';
/** The end of the header section of a request for a WebSocket (RFC 6455 §4.1). */
export const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
/** An upstream's answer to it. */
export const SWITCHED = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
/** Milliseconds that a gateway may take to stop before it is killed. */
const STOP_MS = 8000;

/** What a caller saw. */
export interface Seen {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
  /** The reason of a refusal. */
  readonly reason: string | null;
  readonly milliseconds: number;
}

/** What became of a request, from its record. */
export interface Outcome {
  readonly outcome: string;
  readonly status: number;
  readonly reason?: string;
  readonly path?: string;
  readonly upstream?: Readonly<Record<string, unknown>>;
}

/** One record, as far as these tests look at it. */
export interface Recorded {
  readonly decision_id: string;
  readonly custom: { readonly sallyport: Outcome };
}

/** Everything around a gateway that runs as a process: its folder, an issuer known by its keys, a job, upstreams, and its records. */
export class Scene {
  readonly folder = mkdtempSync(join(tmpdir(), 'sallyport-faults-'));
  /** Where the gateways that are started from now on write their records. */
  recordsFile = join(this.folder, 'records.jsonl');
  readonly issuer: TestIssuer;
  readonly job: TestJob;
  readonly #token: string;
  readonly #closing: (() => Promise<unknown>)[] = [];

  private constructor(issuer: TestIssuer, job: TestJob, token: string) {
    this.issuer = issuer;
    this.job = job;
    this.#token = token;
    issuer.writeJwks(join(this.folder, 'jwks.json'));
  }

  /** `issuer`: its identifier, where it is to be reached. */
  static async create(name?: string): Promise<Scene> {
    const issuer = await TestIssuer.create(name);
    const job = await TestJob.create();
    return new Scene(issuer, job, await issuer.token(job.key.thumbprint));
  }

  /** Something to end when the scene ends, last first. */
  atEnd(close: () => Promise<unknown>): void {
    this.#closing.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async upstream(script: UpstreamScript = answerEach()): Promise<RecordingUpstream> {
    const upstream = await new RecordingUpstream(script).listen();
    this.atEnd(() => upstream.close());
    return upstream;
  }

  /** Lets the next gateways write their records to another file of the folder. */
  useRecordsFile(name: string): void {
    this.recordsFile = join(this.folder, name);
  }

  /** A whole configuration: the starter policy and the demo catalogue on /v1, records in a file, short times. */
  config(upstream: string, changes: Record<string, unknown> = {}, route: Record<string, unknown> = {}) {
    return {
      version: 1,
      listen: { port: 0 },
      admin: { port: 0 },
      issuers: [{ issuer: this.issuer.issuer, jwks_file: 'jwks.json' }],
      policy: { path: join(ROOT, 'policies'), watch: false },
      routes: [
        {
          name: 'projects',
          path_prefix: '/v1',
          upstream: { url: upstream, timeout_ms: 1000, connect_timeout_ms: 1000 },
          resource: 'https://cloud.example.com/v1',
          operations: join(ROOT, 'catalogs/demo_cloud.yaml'),
          ...route,
        },
      ],
      limits: { stop_grace_ms: 3000 },
      audit: { sinks: [{ type: 'file', path: this.recordsFile }] },
      ...changes,
    };
  }

  /** Starts a gateway and waits until it is ready. `file`: of its configuration, where a folder has more than one. */
  async start(config: Record<string, unknown>, file?: string): Promise<GatewayProcess> {
    const gateway = await GatewayProcess.start(this.folder, config, file);
    this.atEnd(() => stopInTime(gateway));
    return gateway;
  }

  /** Runs a gateway that is expected to end by itself. */
  async failing(config: Record<string, unknown>, file?: string): Promise<{ code: number | null; errors: string }> {
    const gateway = GatewayProcess.launch(this.folder, config, file);
    this.atEnd(() => stopInTime(gateway));
    const code = await gateway.program.ended;
    return { code, errors: gateway.program.errors() };
  }

  /** The headers of a good request with a new proof. */
  headers(gateway: { readonly origin: string }, path = PATH, method = 'GET'): Promise<Record<string, string>> {
    return this.job.headers(method, gateway.origin + path, this.#token);
  }

  /** A good request as bytes. */
  async bytes(gateway: { readonly origin: string }, path = PATH, method = 'GET'): Promise<string> {
    const headers = await this.headers(gateway, path, method);
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return `${method} ${path} HTTP/1.1\r\nHost: ${new URL(gateway.origin).host}\r\n${fields.join('')}\r\n`;
  }

  /** Makes a good request, with a new proof unless headers are given. */
  async call(gateway: GatewayProcess, headers?: Record<string, string>, path = PATH): Promise<Seen> {
    const sent = headers ?? (await this.headers(gateway, path));
    const begun = performance.now();
    const response = await fetch(gateway.origin + path, { headers: sent });
    const body = await response.text();
    const problem = response.headers.get('content-type') === 'application/problem+json';
    const reason = problem ? ((JSON.parse(body) as { reason: string }).reason ?? null) : null;
    const milliseconds = performance.now() - begun;
    return { status: response.status, headers: response.headers, body, reason, milliseconds };
  }

  /** Makes good requests until one is answered with this status. */
  async callUntil(gateway: GatewayProcess, status: number): Promise<Seen> {
    let seen: Seen | undefined;
    await eventually(`a request is answered with ${status}`, async () => {
      seen = await this.call(gateway);
      return seen.status === status;
    });
    return seen as Seen;
  }

  /** The records so far. */
  records(): Recorded[] {
    return readFileSync(this.recordsFile, 'utf8')
      .split('\n')
      .slice(0, -1) // What stands after the last line end is being written.
      .map((line) => JSON.parse(line) as Recorded);
  }

  /** Waits for the record of a decision. */
  async recordOf(decisionId: string | null): Promise<Recorded> {
    const find = () => this.records().find((record) => record.decision_id === decisionId);
    await eventually(`the record of ${decisionId}`, () => find() !== undefined);
    return find() as Recorded;
  }
}

/** Opens connections, all of them before the first byte is sent on one, then sends the same bytes on each at once. */
export async function sendAtOnce(ports: readonly number[], copies: number, bytes: string): Promise<RawConnection[]> {
  const opening = Array.from({ length: copies }, (_, index) => connectRaw(ports[index % ports.length] as number));
  const connections = await Promise.all(opening);
  for (const connection of connections) connection.send(bytes);
  await Promise.all(connections.map((connection) => connection.until((one) => one.answers.length > 0)));
  for (const connection of connections) connection.socket.destroy();
  return connections;
}

async function stopInTime(gateway: GatewayProcess): Promise<void> {
  const { child, ended } = gateway.program;
  if (child.exitCode !== null || child.signalCode !== null) return;
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  child.kill('SIGTERM');
  await ended;
  clearTimeout(late);
}
