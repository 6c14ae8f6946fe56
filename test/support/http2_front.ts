import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../src/kernel/clock.ts';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';
import { makeCertificate } from './certificate.ts';
import { eventually } from './eventually.ts';
import { readRecords, startTestGateway, type TestGateway } from './gateway.ts';
import { FrameConnection, type StreamAnswer } from './http2_frames.ts';
import type { TestJob } from './issuer.ts';
import { type RecordingUpstream, startRecordingUpstream, type UpstreamScript } from './recording_upstream.ts';

/** The name that callers connect to and sign. */
export const HOST = 'cloud.example.com';
/** A path that the token of these tests allows GET of. */
export const PROJECT = '/v1/projects/p1';
/** A path that it allows GET and POST of. */
export const BUILDS = '/v1/projects/p1/builds';

/** Header fields, names and values. */
export type Fields = readonly (readonly [string, string])[];

/** How a gateway with TLS differs from the usual one. */
export interface Http2FrontOptions {
  readonly script?: UpstreamScript;
  /** Instead of a recording upstream. */
  readonly upstream?: string;
  readonly route?: Record<string, unknown>;
  /** Of the upstream, beside its URL. */
  readonly upstreamOptions?: Record<string, unknown>;
  readonly config?: Record<string, unknown>;
  readonly tls?: Record<string, unknown>;
  /** Puts further files into the folder of the configuration. */
  readonly prepare?: (folder: string) => void;
  readonly artifact?: PolicyArtifact;
  readonly clock?: Clock;
}

/** What came of a request: the caller's side, the upstream's, and the one record. */
export interface Http2Outcome {
  readonly answer: StreamAnswer;
  /** The reason in the problem document; null when there is none. */
  readonly reason: string | null;
  /** How many requests the upstream got meanwhile. */
  readonly forwarded: number;
  /** `custom.sallyport` of the record. */
  readonly record: Record<string, unknown>;
}

/** A gateway with TLS that offers HTTP/2, in front of an upstream that records bytes. */
export class Http2Front {
  readonly gateway: TestGateway;
  readonly upstream: RecordingUpstream;
  readonly ca: string;
  #records = 0;

  private constructor(gateway: TestGateway, upstream: RecordingUpstream, ca: string) {
    this.gateway = gateway;
    this.upstream = upstream;
    this.ca = ca;
  }

  static async start(options: Http2FrontOptions = {}): Promise<Http2Front> {
    const { script, route = {}, config = {}, tls = {} } = options;
    const upstream = await startRecordingUpstream(script);
    const url = options.upstream ?? upstream.origin;
    const { cert, key } = makeCertificate({ name: 'gateway', hosts: [HOST, 'localhost', '127.0.0.1'] });
    const gateway = await startTestGateway({
      upstream: url,
      ...(options.artifact && { artifact: options.artifact }),
      ...(options.clock && { clock: options.clock }),
      route: { hosts: [HOST], upstream: { url, ...options.upstreamOptions }, ...route },
      config: (folder) => {
        writeFileSync(join(folder, 'gateway.crt'), cert);
        writeFileSync(join(folder, 'gateway.key'), key);
        options.prepare?.(folder);
        const files = { certificate_file: 'gateway.crt', key_file: 'gateway.key' };
        return { public_origin: `https://${HOST}`, listen: { port: 0, tls: { ...files, ...tls } }, ...config };
      },
    });
    return new Http2Front(gateway, upstream, cert);
  }

  get port(): number {
    return this.gateway.port;
  }

  async close(): Promise<void> {
    await this.gateway.close();
    await this.upstream.close();
  }

  connect(options?: Parameters<typeof FrameConnection.connect>[1]): Promise<FrameConnection> {
    return FrameConnection.connect(this.port, options);
  }

  /** Authorization and DPoP of a good request; `job`: whose key the token is bound to. */
  async credentials(
    method: string,
    path: string,
    token?: string,
    job: TestJob = this.gateway.job,
  ): Promise<[string, string][]> {
    const used = token ?? (await this.gateway.issuer.token(job.key.thumbprint));
    const proof = await job.proof(method, `https://${HOST}${path.split('?')[0]}`, used);
    return [
      ['authorization', `DPoP ${used}`],
      ['dpop', proof],
    ];
  }

  /** The fields of a good request. */
  async good(method = 'GET', path = PROJECT): Promise<[string, string][]> {
    return [...pseudo({ method, path }), ...(await this.credentials(method, path))];
  }

  /** Sends a request on stream 1 of a new connection and waits until it is over on all sides. */
  async send(fields: Fields, body?: string): Promise<Http2Outcome> {
    const connection = await this.connect();
    const forwarded = this.upstream.requests.length;
    if (body === undefined) connection.request(1, fields);
    else connection.requestWithBody(1, fields, body);
    await eventually(
      'the answer',
      () => connection.answer(1).ended || connection.answer(1).reset !== null || connection.closed,
    );
    const record = await this.nextRecord();
    const answer = connection.answer(1);
    connection.socket.destroy();
    return { answer, reason: reasonOf(answer), forwarded: this.upstream.requests.length - forwarded, record };
  }

  /** `custom.sallyport` of the next record. */
  async nextRecord(): Promise<Record<string, unknown>> {
    this.#records++;
    const records = await readRecords(this.gateway.recordsFile, this.#records);
    const { custom } = records[this.#records - 1] as { custom: { sallyport: Record<string, unknown> } };
    return custom.sallyport;
  }

  /** How many records there are that nobody looked at. */
  async recordsLeft(): Promise<number> {
    return (await readRecords(this.gateway.recordsFile, 0)).length - this.#records;
  }

  /** Looks at none of the records that are there. */
  async skipRecords(): Promise<void> {
    this.#records = (await readRecords(this.gateway.recordsFile, 0)).length;
  }
}

/** The pseudo-header fields of a request; null leaves one out. */
export function pseudo(
  changes: Partial<Record<'method' | 'scheme' | 'path' | 'authority', string | null>> = {},
): [string, string][] {
  const all = { method: 'GET', scheme: 'https', path: PROJECT, authority: HOST, ...changes };
  return Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [[`:${name}`, value]]));
}

/** The reason in a problem document; null when the body is none. */
export function reasonOf({ body }: StreamAnswer): string | null {
  if (!body.startsWith('{"type":"urn:sallyport:reason:')) return null;
  return (JSON.parse(body) as { reason: string }).reason;
}
