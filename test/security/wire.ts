import { closeSync, openSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import {
  answerEach,
  type RecordingUpstream,
  startRecordingUpstream,
  type UpstreamScript,
} from '../support/recording_upstream.ts';
import { type Answers, readAnswers } from './answers.ts';

/** A path that the token of these tests allows GET of. */
export const PROJECT = '/v1/projects/p1';
/** A path that it allows GET and POST of. */
export const BUILDS = '/v1/projects/p1/builds';

/** How a gateway on the wire differs from that of other tests. */
export interface WireOptions extends Omit<TestGatewayOptions, 'upstream' | 'route'> {
  readonly script?: UpstreamScript;
  /** Merged into the one route; `upstream` is made of the URL of the recording one and these. */
  readonly route?: Record<string, unknown> & { readonly upstream?: Record<string, unknown> };
  /** Claims of the token. */
  readonly claims?: Record<string, unknown>;
}

/** A gateway with a recording upstream behind it, and raw connections to it. */
export class Wire {
  readonly gateway: TestGateway;
  readonly upstream: RecordingUpstream;
  readonly token: string;
  readonly host: string;
  readonly #open: RawConnection[] = [];
  readonly #proofs: string[] = [];
  /** Whether everything that the last case was to leave was found. */
  settled = true;
  #recordOffset = 0;

  private constructor(gateway: TestGateway, upstream: RecordingUpstream, token: string) {
    this.gateway = gateway;
    this.upstream = upstream;
    this.token = token;
    this.host = `127.0.0.1:${gateway.port}`;
  }

  static async start({ script = answerEach(), claims, route = {}, ...options }: WireOptions = {}): Promise<Wire> {
    const upstream = await startRecordingUpstream(script);
    const whole = { ...route, upstream: { url: upstream.origin, ...route.upstream } };
    const gateway = await startTestGateway({ upstream: upstream.origin, route: whole, ...options });
    return new Wire(gateway, upstream, await gateway.token(claims));
  }

  async close(): Promise<void> {
    this.hangUp();
    await this.gateway.close();
    await this.upstream.close();
  }

  /** Connects; the connection is closed by hangUp() at the latest. */
  async connect(): Promise<RawConnection> {
    const connection = await connectRaw(this.gateway.port, { allowHalfOpen: true });
    this.#open.push(connection);
    return connection;
  }

  /** Ends what connect() opened. */
  hangUp(): void {
    for (const { socket } of this.#open.splice(0)) socket.destroy();
  }

  /**
   * Puts into a template what only the run knows: `{host}`; `{auth GET /path}`, the two header lines of a good credential for that request;
   * `{token}`; and `{proof GET /path}`. Everything else stands for itself, byte for byte, as latin1.
   */
  async fill(template: string): Promise<string> {
    let text = template.replaceAll('{host}', this.host).replaceAll('{token}', this.token);
    for (const [place, kind, method = '', path = ''] of text.matchAll(/\{(auth|proof) (\S+) ([^}\s]+)\}/g)) {
      const proof = await this.gateway.job.proof(method, this.gateway.origin + path, this.token);
      this.#proofs.push(proof);
      const filled = kind === 'proof' ? proof : `Authorization: DPoP ${this.token}\r\nDPoP: ${proof}\r\n`;
      text = text.replace(place, () => filled);
    }
    return text;
  }

  /** What the upstream has got so far, to be compared with later. */
  upstreamMark(): ReadonlyMap<RawConnection, number> {
    return new Map(this.upstream.connections.map((connection) => [connection, connection.received.length]));
  }

  /** The bytes that the upstream got since a mark, of each connection on which there are any. */
  upstreamSince(mark: ReadonlyMap<RawConnection, number>): string[] {
    return this.upstream.connections
      .map((connection) => connection.received.slice(mark.get(connection) ?? 0))
      .filter((bytes) => bytes !== '');
  }

  /** The next `count` records, in the order in which they were written, and none more than are there by then. */
  async nextRecords(count: number): Promise<WireRecord[]> {
    const lines: string[] = [];
    await eventually(`${count} records`, () => {
      lines.push(...this.#newLines());
      return lines.length >= count;
    });
    for (const line of lines) this.expectNoSecret('the record', line);
    return lines.map(readRecord);
  }

  /** Fails when bytes hold the token, a proof, or one of the values that must not get anywhere. */
  expectNoSecret(where: string, bytes: string): void {
    const signatures = [this.token, ...this.#proofs].map((jws) => jws.slice(jws.lastIndexOf('.') + 1));
    for (const secret of [...signatures, ...SECRETS])
      expect(bytes.includes(secret), `${where} holds a secret`).toBe(false);
  }

  /** So that what a failed case left is not taken for this one's. */
  async settleAfterFailure(): Promise<void> {
    if (!this.settled) {
      this.hangUp();
      await sleep(300);
      this.#newLines();
    }
    this.settled = false;
  }

  #newLines(): string[] {
    const file = openSync(this.gateway.recordsFile, 'r');
    try {
      const buffer = Buffer.alloc(1 << 20);
      const text = buffer.toString('utf8', 0, readSync(file, buffer, 0, buffer.length, this.#recordOffset));
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      this.#recordOffset += Buffer.byteLength(whole);
      return whole.split('\n').filter(Boolean);
    } finally {
      closeSync(file);
    }
  }
}

/** Values that cases send where they must be taken away: in cookies, forged fields, trailers. Neither upstream nor records may have them. */
export const COOKIE = 'c00kie-f0r-the-gateway-only';
export const FORGED = 'f0rged-by-the-caller';
const SECRETS = [COOKIE, FORGED];

/** What of a record these tests look at. */
export interface WireRecord {
  readonly id: string;
  readonly outcome: string;
  readonly status: number;
  readonly reason: string | null;
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly query: string | undefined;
  /** The path that the policy was shown. */
  readonly judged: string | undefined;
  readonly upstream: { readonly complete: boolean } | undefined;
  readonly whole: WholeRecord;
}

interface WholeRecord {
  readonly decision_id: string;
  readonly input?: { readonly request: { readonly path: string } };
  readonly custom: { readonly sallyport: Partial<WireRecord> };
}

function readRecord(line: string): WireRecord {
  const whole = JSON.parse(line) as WholeRecord;
  const summary = whole.custom.sallyport;
  return {
    id: whole.decision_id,
    outcome: summary.outcome ?? '',
    status: summary.status ?? 0,
    reason: summary.reason ?? null,
    method: summary.method,
    path: summary.path,
    query: summary.query,
    judged: whole.input?.request.path,
    upstream: summary.upstream,
    whole,
  };
}

/** Waits until a condition holds, looking often, since these tests wait much; fails with its name after ten seconds. */
export async function eventually(name: string, holds: () => boolean): Promise<void> {
  const late = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > late) throw new Error(`did not happen: ${name}`);
    await sleep(2);
  }
}

/** Waits until a connection has this many final answers to their ends, or is over; fails after ten seconds. */
export async function answersOn(
  connection: RawConnection,
  count: number,
  methods: readonly string[] = [],
): Promise<Answers> {
  const finals = ({ answers }: Answers) => answers.filter(({ status, complete }) => status >= 200 && complete).length;
  const read = () => readAnswers(connection.received, methods);
  await eventually(`${count} answers`, () => {
    return connection.ended || connection.socket.closed || finals(read()) >= count;
  });
  return read();
}
