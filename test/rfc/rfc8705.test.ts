import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate, type TestCertificate, thumbprintOf } from '../support/certificate.ts';
import { readRecords, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { connectRawTls, type RawConnection } from '../support/raw_connection.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

/** RFC 8705 §3: certificate-bound tokens at the gateway's own TLS, in real handshakes. */

const PATH = '/v1/projects/p1';
const HOST = 'cloud.example.com';
const DAY = 86_400_000;
const serverCa = makeCertificate({ name: 'server ca', authority: true });
const clientCa = makeCertificate({ name: 'client ca', authority: true });
const certificate = (name: string, days = 1) =>
  makeCertificate({
    name,
    issuer: clientCa,
    notBefore: new Date(Date.now() - 2 * DAY),
    notAfter: new Date(Date.now() + days * DAY),
  });
const right = certificate('job');
const other = certificate('job');
const expired = certificate('job', -1);
const stranger = makeCertificate({ name: 'job' });

let upstream: RecordingUpstream;
beforeAll(async () => {
  upstream = await startRecordingUpstream();
});
afterAll(() => upstream.close());

/** A gateway with TLS on, in one mode. */
class Listener {
  readonly #gateway: TestGateway;
  #seen = 0;

  private constructor(gateway: TestGateway) {
    this.#gateway = gateway;
  }

  static async start(tls: Record<string, unknown>, route: Record<string, unknown> = {}): Promise<Listener> {
    const gateway = await startTestGateway({
      upstream: upstream.origin,
      route: { hosts: [HOST], ...route },
      config: (folder) => {
        const { cert, key } = makeCertificate({ name: 'gateway', hosts: [HOST], issuer: serverCa });
        writeFileSync(join(folder, 'gateway.crt'), cert);
        writeFileSync(join(folder, 'gateway.key'), key);
        writeFileSync(join(folder, 'client_ca.crt'), clientCa.cert);
        const files = { certificate_file: 'gateway.crt', key_file: 'gateway.key' };
        return { public_origin: `https://${HOST}`, listen: { port: 0, tls: { ...files, ...tls } } };
      },
    });
    return new Listener(gateway);
  }

  get folder(): string {
    return this.#gateway.folder;
  }

  close(): Promise<void> {
    return this.#gateway.close();
  }

  connect(client?: TestCertificate | null, options: ConnectionOptions = {}): Promise<RawConnection> {
    const own = client ? { cert: client.cert, key: client.key } : {};
    return connectRawTls(this.#gateway.port, { ca: serverCa.cert, servername: HOST, ...own, ...options });
  }

  /** A token bound to what is given. */
  token(bound: { certificate?: TestCertificate; key?: boolean }): Promise<string> {
    const x5t = bound.certificate === undefined ? {} : { 'x5t#S256': thumbprintOf(bound.certificate) };
    const jkt = bound.key === true ? { jkt: this.#gateway.job.key.thumbprint } : {};
    const cnf = { ...jkt, ...x5t };
    return this.#gateway.token({ cnf: Object.keys(cnf).length === 0 ? undefined : cnf });
  }

  proof(token: string): Promise<string> {
    return this.#gateway.job.proof('GET', `https://${HOST}${PATH}`, token);
  }

  /** Sends a request on a connection; what the caller saw, what the record says, and how many requests the upstream saw. */
  async send(connection: RawConnection, lines: readonly string[], host = HOST) {
    const [answers, forwarded] = [connection.answers.length, upstream.requests.length];
    connection.send(`GET ${PATH} HTTP/1.1\r\nHost: ${host}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`);
    await connection.until((one) => one.answers.length > answers);
    const answer = connection.answers[answers] as RawConnection['answers'][number];
    this.#seen += 1;
    const record = (await readRecords(this.#gateway.recordsFile, this.#seen))[this.#seen - 1];
    const summary = (record as { custom: { sallyport: Record<string, unknown> } }).custom.sallyport;
    const reason = (JSON.parse(answer.body.startsWith('{') ? answer.body : '{}') as { reason?: string }).reason;
    const sent = upstream.requests.slice(forwarded);
    expect(sent).toHaveLength(answer.status === 200 ? 1 : 0);
    expect(sent.map(({ head }) => head).join('')).not.toMatch(/authorization|dpop|client-cert/i);
    return { status: answer.status, reason: reason ?? null, answer, summary, record };
  }

  /** One request with a certificate-bound token on a connection of its own. */
  async bearer(client: TestCertificate | null, bound: TestCertificate, options: ConnectionOptions = {}) {
    const connection = await this.connect(client, options);
    const seen = await this.send(connection, [`Authorization: Bearer ${await this.token({ certificate: bound })}`]);
    connection.socket.destroy();
    return seen;
  }
}

describe.each([
  ['without a CA', 'optional', false],
  ['with a CA', 'optional', true],
  ['required, without a CA', 'required', false],
  ['required, with a CA', 'required', true],
] as const)('client certificates %s', (_, mode, withCa) => {
  let listener: Listener;
  beforeAll(async () => {
    const ca = withCa ? { client_ca_file: 'client_ca.crt' } : {};
    listener = await Listener.start({ client_certificates: mode, ...ca });
  });
  afterAll(() => listener.close());

  it('RFC 8705 §3: the right certificate passes; record and policy name the binding', async () => {
    const seen = await listener.bearer(right, right);
    expect(seen).toMatchObject({ status: 200, summary: { outcome: 'allowed' } });
    const binding = { method: 'mtls', thumbprint: thumbprintOf(right) };
    expect(seen.summary['binding']).toEqual(binding);
    expect(seen.record).toMatchObject({ input: { token: { binding } } });
  });

  it('RFC 8705 §3: another certificate: 401 invalid_token under Bearer', async () => {
    const seen = await listener.bearer(other, right);
    expect(seen).toMatchObject({ status: 401, reason: 'proof.key_mismatch', summary: { outcome: 'refused' } });
    expect(seen.answer.headers['www-authenticate']?.[0]).toMatch(/^Bearer error="invalid_token"/);
  });

  it('RFC 8705 §3: no certificate', async () => {
    if (mode === 'required') {
      // In TLS 1.3 the client's handshake is done before the server has looked: the connection ends after it.
      const connection = await listener.connect(null).catch((error: NodeJS.ErrnoException) => error.code);
      if (connection !== undefined && typeof connection !== 'string') await connection.closed();
      const old = await listener
        .connect(null, { maxVersion: 'TLSv1.2' })
        .catch((error: NodeJS.ErrnoException) => error.code);
      if (old !== undefined && typeof old !== 'string') await old.closed();
      return;
    }
    expect(await listener.bearer(null, right)).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('RFC 5280 §6.1.3: an expired certificate, %s', async (maxVersion) => {
    const attempt = listener.bearer(expired, expired, { maxVersion });
    if (mode === 'required' && withCa) await expect(attempt).rejects.toThrow();
    else expect(await attempt).toMatchObject({ status: 401, reason: 'proof.certificate_invalid' });
  });

  it(`one that does not chain to the CA: ${withCa ? 'not trusted' : 'taken, since the thumbprint says it all'}`, async () => {
    const attempt = listener.bearer(stranger, stranger);
    if (!withCa) expect(await attempt).toMatchObject({ status: 200 });
    else if (mode === 'required') await expect(attempt).rejects.toThrow();
    else expect(await attempt).toMatchObject({ status: 401, reason: 'proof.certificate_invalid' });
  });

  it('two tokens on one connection: each is compared with the one certificate', async () => {
    const connection = await listener.connect(right);
    const mine = `Authorization: Bearer ${await listener.token({ certificate: right })}`;
    const theirs = `Authorization: Bearer ${await listener.token({ certificate: other })}`;
    const keyed = await listener.token({ key: true });
    const proven = [`Authorization: DPoP ${keyed}`, `DPoP: ${await listener.proof(keyed)}`];
    const reasons: unknown[] = [];
    for (const lines of [[mine], [theirs], [mine], proven, [theirs], [mine]]) {
      reasons.push((await listener.send(connection, lines)).reason);
    }
    connection.socket.destroy();
    expect(reasons).toEqual([null, 'proof.key_mismatch', null, null, 'proof.key_mismatch', null]);
  });

  it('a certificate-bound token is not single use: the same request passes again', async () => {
    const connection = await listener.connect(right);
    const lines = [`Authorization: Bearer ${await listener.token({ certificate: right })}`];
    for (let i = 0; i < 3; i++) expect(await listener.send(connection, lines)).toMatchObject({ status: 200 });
    connection.socket.destroy();
  });

  it('RFC 7800 §3.1: a token bound to both needs both, and then its proof is single use', async () => {
    const token = await listener.token({ key: true, certificate: right });
    const proof = await listener.proof(token);
    const both = [`Authorization: DPoP ${token}`, `DPoP: ${proof}`];
    const connection = await listener.connect(right);
    const stolen = await listener.connect(other);
    expect(await listener.send(stolen, both)).toMatchObject({ status: 401, reason: 'proof.key_mismatch' });
    expect(await listener.send(connection, both.slice(0, 1))).toMatchObject({ reason: 'proof.missing' });
    const bearer = [`Authorization: Bearer ${token}`, `DPoP: ${proof}`];
    expect(await listener.send(connection, bearer)).toMatchObject({ reason: 'proof.bound_token_as_bearer' });
    const passed = await listener.send(connection, both);
    expect(passed).toMatchObject({ status: 200 });
    expect(passed.summary['binding']).toMatchObject({ method: 'dpop', certificate: thumbprintOf(right) });
    expect(await listener.send(connection, both)).toMatchObject({ reason: 'proof.replayed' });
    for (const one of [connection, stolen]) one.socket.destroy();
  });

  it('RFC 8705 §3: under the DPoP scheme a certificate is no key', async () => {
    const token = await listener.token({ certificate: right });
    const connection = await listener.connect(right);
    const seen = await listener.send(connection, [
      `Authorization: DPoP ${token}`,
      `DPoP: ${await listener.proof(token)}`,
    ]);
    expect(seen).toMatchObject({ status: 401, reason: 'proof.unbound_token' });
    connection.socket.destroy();
  });

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a resumed session, %s', (version) => {
    const only = { minVersion: version, maxVersion: version } as const;

    async function session(client: TestCertificate | null): Promise<Buffer> {
      const connection = await listener.connect(client, only);
      const arrived = new Promise<Buffer>((resolve) => connection.socket.once('session', resolve));
      const early = version === 'TLSv1.2' ? (connection.socket as TLSSocket).getSession() : undefined;
      // TLS 1.3 sends its tickets after the handshake, together with the first answer.
      await listener.send(connection, [`Authorization: Bearer ${await listener.token({ certificate: right })}`]);
      const found = early ?? (await arrived);
      connection.socket.destroy();
      return found;
    }

    it('keeps the certificate of its handshake', async () => {
      const resumed = await listener.connect(right, { ...only, session: await session(right) });
      expect((resumed.socket as TLSSocket).isSessionReused()).toBe(true);
      const mine = [`Authorization: Bearer ${await listener.token({ certificate: right })}`];
      expect(await listener.send(resumed, mine)).toMatchObject({ status: 200 });
      const theirs = [`Authorization: Bearer ${await listener.token({ certificate: other })}`];
      expect(await listener.send(resumed, theirs)).toMatchObject({ reason: 'proof.key_mismatch' });
      resumed.socket.destroy();
    });

    it('is not given another one by who resumes it: neither none nor another is shown', async () => {
      const taken = await session(right);
      for (const client of [null, other]) {
        const resumed = await listener.connect(client, { ...only, session: taken });
        if (!(resumed.socket as TLSSocket).isSessionReused()) continue;
        const theirs = [`Authorization: Bearer ${await listener.token({ certificate: other })}`];
        expect(await listener.send(resumed, theirs)).toMatchObject({ reason: 'proof.key_mismatch' });
        resumed.socket.destroy();
      }
    });

    it.runIf(mode === 'optional')('without a certificate stays without, also when one is shown later', async () => {
      const resumed = await listener.connect(right, { ...only, session: await session(null) });
      const mine = [`Authorization: Bearer ${await listener.token({ certificate: right })}`];
      const seen = await listener.send(resumed, mine);
      const reused = (resumed.socket as TLSSocket).isSessionReused();
      expect(seen).toMatchObject(reused ? { reason: 'proof.certificate_missing' } : { status: 200 });
      resumed.socket.destroy();
    });
  });
});
