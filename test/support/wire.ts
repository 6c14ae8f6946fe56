import { createHash, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';
import { startTestGateway, type TestGateway } from './gateway.ts';
import { makeKey, type TestKey } from './issuer.ts';
import type { RawAnswer } from './raw_client.ts';
import { connectRaw } from './raw_connection.ts';
import { type RecordedRequest, readRequests } from './read_requests.ts';
import { type RecordingUpstream, startRecordingUpstream } from './recording_upstream.ts';
import { type JwsPart, signJws } from './sign_jws.ts';

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
}

/** A whole gateway with an issuer, a job and an upstream that records; each request is sent as bytes, alone on its connection. */
export class Wire {
  readonly gateway: TestGateway;
  readonly upstream: RecordingUpstream;
  readonly jobKey: TestKey;
  readonly #time: { now: number };
  readonly #records: RecordReader;

  private constructor(parts: {
    gateway: TestGateway;
    upstream: RecordingUpstream;
    jobKey: TestKey;
    time: { now: number };
  }) {
    this.gateway = parts.gateway;
    this.upstream = parts.upstream;
    this.jobKey = parts.jobKey;
    this.#time = parts.time;
    this.#records = new RecordReader(parts.gateway.recordsFile);
  }

  static async start({ config, route, upstreamRoutes, artifact, now = NOW }: WireOptions = {}): Promise<Wire> {
    const time = { now };
    const upstream = await startRecordingUpstream();
    const gateway = await startTestGateway({
      upstream: upstream.origin,
      config: {
        public_origin: ORIGIN,
        ...config,
        ...(upstreamRoutes && { routes: upstreamRoutes({ url: upstream.origin }) }),
      },
      route: { resource: RESOURCE, ...route },
      ...(artifact && { artifact }),
      clock: () => time.now * 1000,
    });
    return new Wire({ gateway, upstream, jobKey: await makeKey(), time });
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
    await this.gateway.close();
    await this.upstream.close();
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

  /** Sends one request and waits for its answer and its record. */
  async send({ method = 'GET', target = PATH, lines, body = '' }: WireRequest): Promise<Outcome> {
    const before = this.upstream.connections.map(({ received }) => received.length);
    const connection = await connectRaw(this.gateway.port);
    const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
    const head = [`${method} ${target} HTTP/1.1`, 'Host: cloud.example.com', 'Connection: close', ...length, ...lines];
    connection.send(Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1'));
    await connection.closed();
    const [answer, ...more] = connection.answers;
    if (answer === undefined || more.length > 0) throw new Error(`not one answer: ${connection.received}`);
    const record = await this.#records.next();
    const arrived = this.upstream.connections.map(({ received }, index) => received.slice(before[index] ?? 0)).join('');
    const problem = answer.headers['content-type']?.[0] === 'application/problem+json' && method !== 'HEAD';
    return {
      answer,
      problem: problem ? (JSON.parse(answer.body) as Record<string, unknown>) : null,
      upstream: readRequests(arrived),
      record,
      summary: (record['custom'] as Record<string, Record<string, unknown>>)['sallyport'] ?? {},
    };
  }
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
