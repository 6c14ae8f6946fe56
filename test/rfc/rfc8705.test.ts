import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate, type TestCertificate, thumbprintOf } from '../support/certificate.ts';
import { CertificateGateway, HOST } from '../support/certificate_gateway.ts';

/** RFC 8705 §3: certificate-bound tokens at the gateway's own TLS, in real handshakes. */

const DAY = 86_400_000;
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

describe.each([
  ['without a CA', 'optional', false],
  ['with a CA', 'optional', true],
  ['required, without a CA', 'required', false],
  ['required, with a CA', 'required', true],
] as const)('client certificates %s', (_, mode, withCa) => {
  let listener: CertificateGateway;
  beforeAll(async () => {
    const ca = withCa ? { client_ca_file: 'client_ca.crt' } : {};
    listener = await CertificateGateway.start({ tls: { client_certificates: mode, ...ca }, clientCa });
  });
  afterAll(() => listener.close());

  it('RFC 8705 §3: the right certificate passes; record and policy name the binding', async () => {
    const seen = await listener.show(right, right);
    expect(seen).toMatchObject({ status: 200, summary: { outcome: 'allowed' } });
    const binding = { method: 'mtls', thumbprint: thumbprintOf(right) };
    expect(seen.summary['binding']).toEqual(binding);
    expect(seen.record).toMatchObject({ input: { token: { binding } } });
  });

  it('RFC 8705 §3: another certificate: 401 invalid_token under Bearer', async () => {
    const seen = await listener.show(other, right);
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
    expect(await listener.show(null, right)).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('RFC 5280 §6.1.3: an expired certificate, %s', async (maxVersion) => {
    const attempt = listener.show(expired, expired, { maxVersion });
    if (mode === 'required' && withCa) await expect(attempt).rejects.toThrow();
    else expect(await attempt).toMatchObject({ status: 401, reason: 'proof.certificate_invalid' });
  });

  it(`one that does not chain to the CA: ${withCa ? 'not trusted' : 'taken, since the thumbprint says it all'}`, async () => {
    const attempt = listener.show(stranger, stranger);
    if (!withCa) expect(await attempt).toMatchObject({ status: 200 });
    else if (mode === 'required') await expect(attempt).rejects.toThrow();
    else expect(await attempt).toMatchObject({ status: 401, reason: 'proof.certificate_invalid' });
  });

  it('two tokens on one connection: each is compared with the one certificate', async () => {
    const connection = await listener.connect(right);
    const mine = await listener.bearer(right);
    const theirs = await listener.bearer(other);
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
    const lines = [await listener.bearer(right)];
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
      await listener.send(connection, [await listener.bearer(right)]);
      const found = early ?? (await arrived);
      connection.socket.destroy();
      return found;
    }

    it('keeps the certificate of its handshake', async () => {
      const resumed = await listener.connect(right, { ...only, session: await session(right) });
      expect((resumed.socket as TLSSocket).isSessionReused()).toBe(true);
      const mine = [await listener.bearer(right)];
      expect(await listener.send(resumed, mine)).toMatchObject({ status: 200 });
      const theirs = [await listener.bearer(other)];
      expect(await listener.send(resumed, theirs)).toMatchObject({ reason: 'proof.key_mismatch' });
      resumed.socket.destroy();
    });

    it('is not given another one by who resumes it: neither none nor another is shown', async () => {
      const taken = await session(right);
      for (const client of [null, other]) {
        const resumed = await listener.connect(client, { ...only, session: taken });
        if (!(resumed.socket as TLSSocket).isSessionReused()) continue;
        const theirs = [await listener.bearer(other)];
        expect(await listener.send(resumed, theirs)).toMatchObject({ reason: 'proof.key_mismatch' });
        resumed.socket.destroy();
      }
    });

    it.runIf(mode === 'optional')('without a certificate stays without, also when one is shown later', async () => {
      const resumed = await listener.connect(right, { ...only, session: await session(null) });
      const mine = [await listener.bearer(right)];
      const seen = await listener.send(resumed, mine);
      const reused = (resumed.socket as TLSSocket).isSessionReused();
      expect(seen).toMatchObject(reused ? { reason: 'proof.certificate_missing' } : { status: 200 });
      resumed.socket.destroy();
    });
  });
});

describe('RFC 9728 §2 tls_client_certificate_bound_access_tokens: true to behaviour', () => {
  it.each([
    ['plain HTTP', {}, false],
    ['TLS that asks for none', { tls: {} }, false],
    ['TLS that asks', { tls: { client_certificates: 'optional' } }, true],
    [
      'a front proxy that passes them on',
      { frontProxies: [{ addresses: ['127.0.0.1'], client_certificate: 'nginx' }] },
      true,
    ],
    ['a front proxy that passes on none', { frontProxies: [{ addresses: ['127.0.0.1'] }] }, false],
    ['a route without mtls', { tls: { client_certificates: 'optional' }, route: { bindings: ['dpop'] } }, false],
  ] as const)('%s', async (_, options, expected) => {
    const listener = await CertificateGateway.start(options);
    const connection = await ('tls' in options ? listener.connect() : listener.plain());
    connection.send(`GET /.well-known/oauth-protected-resource/v1 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await connection.until((one) => one.answers.length > 0);
    const metadata = JSON.parse(connection.answers[0]?.body ?? '') as Record<string, unknown>;
    expect(metadata).toMatchObject({
      tls_client_certificate_bound_access_tokens: expected,
      dpop_bound_access_tokens_required: !expected,
    });
    connection.socket.destroy();
    await listener.close();
  });
});
