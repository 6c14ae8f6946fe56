import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { expect } from 'vitest';
import { makeCertificate, type TestCertificate, thumbprintOf } from './certificate.ts';
import { readRecords, startTestGateway, type TestGateway } from './gateway.ts';
import type { RawAnswer } from './raw_client.ts';
import { connectRaw, connectRawTls, type RawConnection } from './raw_connection.ts';
import { type RecordingUpstream, startRecordingUpstream } from './recording_upstream.ts';

/** What the token of such a gateway allows. */
export const PATH = '/v1/projects/p1';
/** What callers name in Host, in SNI and in htu. */
export const HOST = 'cloud.example.com';
/** Who signed the gateway's own certificate. */
export const serverCa = makeCertificate({ name: 'server ca', authority: true });

/** What is special about a gateway that takes certificates. */
export interface CertificateGatewayOptions {
  /** Members of listen.tls beside the gateway's own certificate; absent: plain HTTP. */
  readonly tls?: Record<string, unknown>;
  /** Is written to client_ca.crt. */
  readonly clientCa?: TestCertificate;
  readonly frontProxies?: readonly Record<string, unknown>[];
  readonly route?: Record<string, unknown>;
}

/** One request: what the caller saw, what the upstream received, what the record says. */
export interface Exchanged {
  readonly status: number;
  readonly reason: string | null;
  readonly answer: RawAnswer;
  readonly upstream: readonly string[];
  readonly summary: Readonly<Record<string, unknown>>;
  readonly record: Readonly<Record<string, unknown>>;
}

/** A gateway that takes certificates, with an upstream that keeps the bytes it got. */
export class CertificateGateway {
  readonly #gateway: TestGateway;
  readonly #upstream: RecordingUpstream;
  #seen = 0;

  private constructor(gateway: TestGateway, upstream: RecordingUpstream) {
    this.#gateway = gateway;
    this.#upstream = upstream;
  }

  static async start(options: CertificateGatewayOptions): Promise<CertificateGateway> {
    const upstream = await startRecordingUpstream();
    const gateway = await startTestGateway({
      upstream: upstream.origin,
      route: { hosts: [HOST], ...options.route },
      config: (folder) => {
        const { cert, key } = makeCertificate({ name: 'gateway', hosts: [HOST], issuer: serverCa });
        writeFileSync(join(folder, 'gateway.crt'), cert);
        writeFileSync(join(folder, 'gateway.key'), key);
        if (options.clientCa !== undefined) writeFileSync(join(folder, 'client_ca.crt'), options.clientCa.cert);
        const files = { certificate_file: 'gateway.crt', key_file: 'gateway.key' };
        const tls = options.tls === undefined ? {} : { tls: { ...files, ...options.tls } };
        const proxies = options.frontProxies === undefined ? {} : { front_proxies: options.frontProxies };
        return { public_origin: `https://${HOST}`, listen: { port: 0, ...tls, ...proxies } };
      },
    });
    return new CertificateGateway(gateway, upstream);
  }

  get folder(): string {
    return this.#gateway.folder;
  }

  get port(): number {
    return this.#gateway.port;
  }

  /** Looks at the files now. */
  reopenFiles(): void {
    this.#gateway.gateway.reopenFiles();
  }

  async close(): Promise<void> {
    await this.#gateway.close();
    await this.#upstream.close();
  }

  /** Opens a connection without TLS. */
  plain(): Promise<RawConnection> {
    return connectRaw(this.port);
  }

  /** Opens a connection with TLS, showing a certificate or none. */
  connect(client?: TestCertificate | null, options: ConnectionOptions = {}): Promise<RawConnection> {
    const own = client ? { cert: client.cert, key: client.key } : {};
    return connectRawTls(this.port, { ca: serverCa.cert, servername: HOST, ...own, ...options });
  }

  /** A token bound to what is given. */
  token(bound: { readonly certificate?: TestCertificate; readonly key?: boolean }): Promise<string> {
    const x5t = bound.certificate === undefined ? {} : { 'x5t#S256': thumbprintOf(bound.certificate) };
    const jkt = bound.key === true ? { jkt: this.#gateway.job.key.thumbprint } : {};
    const cnf = { ...jkt, ...x5t };
    return this.#gateway.token({ cnf: Object.keys(cnf).length === 0 ? undefined : cnf });
  }

  /** The Authorization line of a certificate-bound token. */
  async bearer(certificate: TestCertificate): Promise<string> {
    return `Authorization: Bearer ${await this.token({ certificate })}`;
  }

  /** A proof of the job's key for the request of `send`. */
  proof(token: string): Promise<string> {
    return this.#gateway.job.proof('GET', `https://${HOST}${PATH}`, token);
  }

  /** Sends a request on a connection. The upstream sees it once where the caller sees 200, and never a credential or certificate field. */
  async send(connection: RawConnection, lines: readonly string[], host = HOST): Promise<Exchanged> {
    const [answers, forwarded] = [connection.answers.length, this.#upstream.requests.length];
    connection.send(`GET ${PATH} HTTP/1.1\r\nHost: ${host}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`);
    await connection.until((one) => one.answers.length > answers);
    const answer = connection.answers[answers] as RawAnswer;
    this.#seen += 1;
    const record = (await readRecords(this.#gateway.recordsFile, this.#seen))[this.#seen - 1] as Record<
      string,
      unknown
    >;
    const { sallyport: summary } = record['custom'] as { sallyport: Record<string, unknown> };
    const { reason = null } = JSON.parse(answer.body.startsWith('{') ? answer.body : '{}') as { reason?: string };
    const upstream = this.#upstream.requests.slice(forwarded).map(({ head }) => head);
    expect(upstream).toHaveLength(answer.status === 200 ? 1 : 0);
    expect(upstream.join('')).not.toMatch(/authorization|dpop|cert|ssl/i);
    return { status: answer.status, reason, answer, upstream, summary, record };
  }

  /** One request with a certificate-bound token, on a connection of its own that shows this certificate. */
  async show(
    shown: TestCertificate | null,
    bound: TestCertificate,
    options: ConnectionOptions = {},
  ): Promise<Exchanged> {
    const connection = await this.connect(shown, options);
    const seen = await this.send(connection, [await this.bearer(bound)]);
    connection.socket.destroy();
    return seen;
  }
}
