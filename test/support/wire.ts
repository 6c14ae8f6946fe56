import { createHash, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';
import { makeCertificate } from './certificate.ts';
import { startTestGateway, type TestGateway } from './gateway.ts';
import { makeKey, TestIssuer, type TestKey } from './issuer.ts';
import type { RawAnswer } from './raw_client.ts';
import { type RecordedRequest, readRequests } from './read_requests.ts';
import { type RecordingUpstream, startRecordingUpstream } from './recording_upstream.ts';
import { type JwsPart, signJws } from './sign_jws.ts';
import { openTransport, type PlainRequest, type Transport, type TransportName } from './transports.ts';

/** The origin that callers sign: with the default port, which a socket of a test never has. */
export const ORIGIN = 'https://cloud.example.com';
/** The audience of good tokens. */
export const RESOURCE = 'https://cloud.example.com/v1';
/** The time of these tests in seconds: the gateway's clock stands still unless a test moves it. */
export const NOW = 1_795_376_000;
/** A path that a good token may read. */
export const PATH = '/v1/projects/p1';

/** What differs from a good JWT; a member that is undefined is left out. */
export interface JwtChanges {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
}

/** What differs from a good proof. */
export interface ProofChanges extends JwtChanges {
  readonly method?: string;
  readonly path?: string;
  readonly key?: TestKey;
}

/** A request, line by line; what is not given is as in a good one. */
export interface WireRequest {
  readonly method?: string;
  readonly target?: string;
  /** Header lines, Authorization and DPoP included. */
  readonly lines: readonly string[];
  readonly body?: string;
}

/** What came of a request, seen from all three sides. */
export interface Outcome {
  readonly answer: RawAnswer;
  /** The problem document; null when the answer is none. */
  readonly problem: Record<string, unknown> | null;
  /** What the upstream received meanwhile. */
  readonly upstream: readonly RecordedRequest[];
  /** The one record. */
  readonly record: Record<string, unknown>;
  /** `custom.sallyport` of the record. */
  readonly summary: Record<string, unknown>;
}

/** How a gateway for these tests differs from the usual one. */
export interface WireOptions {
  readonly config?: Record<string, unknown>;
  readonly route?: Record<string, unknown>;
  /** Several routes instead of the usual one, with the upstream that records. */
  readonly upstreamRoutes?: (upstream: { readonly url: string }) => Record<string, unknown>[];
  /** Absent: the starter policy. */
  readonly artifact?: PolicyArtifact;
  /** Seconds; default {@link NOW}. */
  readonly now?: number;
  /** Default: HTTP/1.1 only. */
  readonly transports?: readonly TransportName[];
}

/** A whole gateway and an upstream that records, reached in one way. */
class Lane {
  readonly name: TransportName;
  readonly gateway: TestGateway;
  readonly upstream: RecordingUpstream;
  readonly #transport: Transport;
  readonly #records: RecordReader;

  private constructor(name: TransportName, gateway: TestGateway, upstream: RecordingUpstream) {
    this.name = name;
    this.gateway = gateway;
    this.upstream = upstream;
    this.#transport = openTransport(name, gateway.port);
    this.#records = new RecordReader(gateway.recordsFile);
  }

  static async start(
    name: TransportName,
    { config, route, upstreamRoutes, artifact }: WireOptions,
    { issuer, time }: { readonly issuer: TestIssuer; readonly time: { readonly now: number } },
  ): Promise<Lane> {
    const upstream = await startRecordingUpstream();
    const gateway = await startTestGateway({
      upstream: upstream.origin,
      issuer,
      config: (folder) => ({
        public_origin: ORIGIN,
        ...(name === 'HTTP/1.1' ? {} : { listen: { port: 0, tls: writeTlsFiles(folder) } }),
        ...config,
        ...(upstreamRoutes && { routes: upstreamRoutes({ url: upstream.origin }) }),
      }),
      route: { resource: RESOURCE, ...route },
      ...(artifact && { artifact }),
      clock: () => time.now * 1000,
    });
    return new Lane(name, gateway, upstream);
  }

  async close(): Promise<void> {
    this.#transport.close();
    await this.gateway.close();
    await this.upstream.close();
  }

  async send(request: PlainRequest): Promise<Outcome> {
    const before = this.upstream.connections.map(({ received }) => received.length);
    const answer = await this.#transport.send(request);
    const record = await this.#records.next();
    const arrived = this.upstream.connections.map(({ received }, index) => received.slice(before[index] ?? 0)).join('');
    const problem = answer.headers['content-type']?.[0] === 'application/problem+json' && request.method !== 'HEAD';
    return {
      answer,
      problem: problem ? (JSON.parse(answer.body) as Record<string, unknown>) : null,
      upstream: readRequests(arrived),
      record,
      summary: (record['custom'] as Record<string, Record<string, unknown>>)['sallyport'] ?? {},
    };
  }
}

function writeTlsFiles(folder: string): Record<string, unknown> {
  const { cert, key } = makeCertificate({ name: 'gateway', hosts: ['cloud.example.com'] });
  writeFileSync(join(folder, 'gateway.crt'), cert);
  writeFileSync(join(folder, 'gateway.key'), key, { mode: 0o600 });
  return { certificate_file: 'gateway.crt', key_file: 'gateway.key' };
}

/**
 * A whole gateway with an issuer, a job and an upstream that records; requests are sent one at a time, as bytes. Where several transports are
 * asked for, there is a gateway for each, every request goes to all of them, and all must say, do and record the same.
 */
export class Wire {
  readonly jobKey: TestKey;
  readonly #lanes: readonly Lane[];
  readonly #time: { now: number };

  private constructor(lanes: readonly Lane[], jobKey: TestKey, time: { now: number }) {
    this.#lanes = lanes;
    this.jobKey = jobKey;
    this.#time = time;
  }

  static async start(options: WireOptions = {}): Promise<Wire> {
    const { now = NOW, transports = ['HTTP/1.1'] } = options;
    const time = { now };
    const issuer = await TestIssuer.create();
    const lanes = await Promise.all(transports.map((name) => Lane.start(name, options, { issuer, time })));
    return new Wire(lanes, await makeKey(), time);
  }

  /** The first gateway. */
  get gateway(): TestGateway {
    return this.#first.gateway;
  }

  /** The upstream of the first gateway. */
  get upstream(): RecordingUpstream {
    return this.#first.upstream;
  }

  get #first(): Lane {
    return this.#lanes[0] as Lane;
  }

  /** Seconds since the Unix epoch, for the gateway and for whatever is signed here. */
  get now(): number {
    return this.#time.now;
  }

  set now(seconds: number) {
    this.#time.now = seconds;
  }

  get issuerKey(): TestKey {
    return this.gateway.issuer.key;
  }

  async close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }

  /** The header of a good token, with changes. */
  tokenHeader(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return { typ: 'at+jwt', alg: this.issuerKey.alg, kid: this.gateway.issuer.kid, ...changes };
  }

  /** The claims of a good token, with changes. */
  tokenClaims(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      iss: this.gateway.issuer.issuer,
      aud: RESOURCE,
      sub: 'wf-4711',
      client_id: 'wf-4711',
      jti: randomUUID(),
      iat: this.now - 5,
      exp: this.now + 300,
      scope: 'projects:read builds:read builds:write',
      authorization_details: [DETAIL],
      cnf: { jkt: this.jobKey.thumbprint },
      ...changes,
    };
  }

  /** A good token with changes. */
  token({ header, claims }: JwtChanges = {}, key: TestKey = this.issuerKey): string {
    return signJws(this.tokenHeader(header), this.tokenClaims(claims), key);
  }

  /** A token of which both parts are given. */
  signToken(header: JwsPart, payload: JwsPart): string {
    return signJws(header, payload, this.issuerKey);
  }

  /** The header of a good proof, with changes. */
  proofHeader(changes: Record<string, unknown> = {}, key: TestKey = this.jobKey): Record<string, unknown> {
    return { typ: 'dpop+jwt', alg: key.alg, jwk: key.publicJwk, ...changes };
  }

  /** The claims of a good proof for a token, with changes. */
  proofClaims(token: string, { method = 'GET', path = PATH, claims }: ProofChanges = {}): Record<string, unknown> {
    const ath = createHash('sha256').update(token).digest('base64url');
    return { jti: randomUUID(), htm: method, htu: ORIGIN + path, iat: this.now, ath, ...claims };
  }

  /** A good proof for a token, with changes. */
  proof(token: string, changes: ProofChanges = {}): string {
    const { key = this.jobKey, header } = changes;
    return signJws(this.proofHeader(header, key), this.proofClaims(token, changes), key);
  }

  /** The header lines of a good request, with a proof of one's own or the right one. */
  lines(token: string, proof: string = this.proof(token)): string[] {
    return [`Authorization: DPoP ${token}`, `DPoP: ${proof}`];
  }

  /** Sends a good request, but for the changes to its proof; token of one's own or a new one. */
  async call({ token = this.token(), ...changes }: ProofChanges & { readonly token?: string } = {}): Promise<Outcome> {
    const { method = 'GET', path = PATH } = changes;
    return this.send({ method, target: path, lines: this.lines(token, this.proof(token, changes)) });
  }

  /** Sends one request over the first transport only, where others have no answer to give. */
  sendFirst(request: WireRequest): Promise<Outcome> {
    return this.#first.send(plain(request));
  }

  /** Sends one request over every transport, and waits for its answers and its records. @returns the outcome over the first */
  async send(request: WireRequest): Promise<Outcome> {
    const [first, ...others] = await Promise.all(this.#lanes.map((lane) => lane.send(plain(request))));
    for (const [index, outcome] of others.entries()) {
      expect(essenceOf(outcome), `over ${this.#lanes[index + 1]?.name}`).toEqual(essenceOf(first as Outcome));
    }
    return first as Outcome;
  }
}

function plain({ method = 'GET', target = PATH, lines, body = '' }: WireRequest): PlainRequest {
  return { method, target, host: 'cloud.example.com', lines, body };
}

/** What must not differ between transports. */
function essenceOf({ answer, problem, upstream, summary }: Outcome): unknown {
  const { decision_id: _, ...told } = problem ?? {};
  const shown = (names: readonly string[]) => names.map((name) => [name, answer.headers[name] ?? []]);
  return {
    status: answer.status,
    told,
    headers: shown(['www-authenticate', 'cache-control', 'content-type', 'proxy-status', 'allow', 'retry-after']),
    nonces: answer.headers['dpop-nonce']?.length ?? 0,
    upstream: upstream.map(({ method, target, headers, body }) => ({
      method,
      target,
      body,
      names: headers.map(([name]) => name.toLowerCase()).sort(),
    })),
    record: ['outcome', 'status', 'reason', 'stage', 'method', 'path', 'query', 'operation'].map(
      (name) => summary[name],
    ),
  };
}

/** One item of authorization_details that covers reading and building in one project. */
export const DETAIL = {
  type: 'cloud_api',
  actions: ['projects.get', 'builds.list', 'builds.create', 'builds.get'],
  identifier: 'projects/p1',
};

/** Reads records one by one, in order, as they are written. */
class RecordReader {
  readonly #file: string;
  #offset = 0;

  constructor(file: string) {
    this.#file = file;
  }

  async next(): Promise<Record<string, unknown>> {
    const late = Date.now() + 5000;
    for (;;) {
      const line = this.#line();
      if (line !== null) return JSON.parse(line) as Record<string, unknown>;
      if (Date.now() > late) throw new Error('no record was written');
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  #line(): string | null {
    const bytes = Buffer.alloc(131_072);
    const file = openSync(this.#file, 'r');
    const read = readSync(file, bytes, 0, bytes.length, this.#offset);
    closeSync(file);
    const end = bytes.subarray(0, read).indexOf('\n');
    if (end === -1) return null;
    this.#offset += end + 1;
    return bytes.toString('utf8', 0, end);
  }
}
