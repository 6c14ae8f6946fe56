import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate, thumbprintOf } from '../support/certificate.ts';
import { CertificateGateway, HOST, PATH } from '../support/certificate_gateway.ts';

/** Client certificates in header fields: believed from the configured proxies only, refused where they are not one certificate. */

const DAY = 86_400_000;
const clientCa = makeCertificate({ name: 'client ca', authority: true });
const job = makeCertificate({ name: 'job' });
const other = makeCertificate({ name: 'job' });
const expired = makeCertificate({
  name: 'job',
  notBefore: new Date(Date.now() - 2 * DAY),
  notAfter: new Date(Date.now() - DAY),
});
const der = ({ cert }: { cert: string }) => new X509Certificate(cert).raw;
const structured = (certificate: { cert: string }) => `:${der(certificate).toString('base64')}:`;

const FORMS = {
  client_cert: (one: { cert: string }) => `Client-Cert: ${structured(one)}`,
  envoy: (one: { cert: string }) => `X-Forwarded-Client-Cert: Cert="${encodeURIComponent(one.cert)}"`,
  nginx: (one: { cert: string }) => `X-SSL-Client-Cert: ${encodeURIComponent(one.cert)}`,
  haproxy: (one: { cert: string }) => `X-SSL-Client-Cert: ${der(one).toString('base64')}`,
  traefik: (one: { cert: string }) => `X-Forwarded-Tls-Client-Cert: ${der(one).toString('base64')}`,
} as const;
type Form = keyof typeof FORMS;
const forms = Object.keys(FORMS) as Form[];

const closing: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
});

async function started(options: Parameters<typeof CertificateGateway.start>[0]): Promise<CertificateGateway> {
  const gateway = await CertificateGateway.start(options);
  closing.push(() => gateway.close());
  return gateway;
}

describe.each(forms)('from a proxy that is trusted: %s', (form) => {
  let gateway: CertificateGateway;
  beforeAll(async () => {
    gateway = await started({ frontProxies: [{ addresses: ['127.0.0.0/8'], client_certificate: form }] });
  });
  const line = FORMS[form];
  const send = async (...lines: string[]) => {
    const connection = await gateway.plain();
    const seen = await gateway.send(connection, lines);
    connection.socket.destroy();
    return seen;
  };

  it('RFC 8705 §3: the right certificate passes; the field ends here', async () => {
    const seen = await send(await gateway.bearer(job), line(job));
    expect(seen).toMatchObject({
      status: 200,
      summary: { binding: { method: 'mtls', thumbprint: thumbprintOf(job) } },
    });
  });

  it('RFC 8705 §3: another, none, an expired one', async () => {
    const token = await gateway.bearer(job);
    expect(await send(token, line(other))).toMatchObject({ status: 401, reason: 'proof.key_mismatch' });
    expect(await send(token)).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
    expect(await send(await gateway.bearer(expired), line(expired))).toMatchObject({
      reason: 'proof.certificate_invalid',
    });
  });

  it('a proxy serves many callers on one connection: each request has its own certificate', async () => {
    const connection = await gateway.plain();
    const token = await gateway.bearer(job);
    const reasons: unknown[] = [];
    for (const shown of [[line(job)], [line(other)], [], [line(job)]]) {
      reasons.push((await gateway.send(connection, [token, ...shown])).reason);
    }
    connection.socket.destroy();
    expect(reasons).toEqual([null, 'proof.key_mismatch', 'proof.certificate_missing', null]);
  });

  it('request.certificate_repeated: twice, also the same', async () => {
    const token = await gateway.bearer(job);
    for (const second of [line(job), line(other)]) {
      const seen = await send(token, line(job), second);
      expect(seen).toMatchObject({
        status: 400,
        reason: 'request.certificate_repeated',
        summary: { outcome: 'refused' },
      });
    }
  });

  it('request.certificate_malformed, whatever the token is bound to', async () => {
    const name = line(job).split(':')[0] as string;
    for (const token of [await gateway.bearer(job), `Authorization: DPoP ${await gateway.token({ key: true })}`]) {
      expect(await send(token, `${name}: x`)).toMatchObject({ status: 400, reason: 'request.certificate_malformed' });
    }
  });

  it('aliases of the name are nobody’s: neither read nor passed on', async () => {
    const value = line(job).slice(line(job).indexOf(':') + 2);
    const name = line(job).split(':')[0] as string;
    const alias = `${name.replaceAll('-', '_')}: ${value}`;
    expect(await send(await gateway.bearer(job), alias)).toMatchObject({ reason: 'proof.certificate_missing' });
    // As a caller behind the proxy would send it, beside the proxy's own.
    expect(await send(await gateway.bearer(job), alias, line(other))).toMatchObject({ reason: 'proof.key_mismatch' });
    expect(await send(await gateway.bearer(other), alias, line(other))).toMatchObject({ status: 200 });
  });

  it('the fields of other forms are not read', async () => {
    const others = forms
      .filter((one) => FORMS[one](job).split(':')[0] !== line(job).split(':')[0])
      .map((one) => FORMS[one](job));
    expect(await send(await gateway.bearer(job), ...others)).toMatchObject({ reason: 'proof.certificate_missing' });
  });

  it('a token bound to both needs the proof as well', async () => {
    const token = await gateway.token({ key: true, certificate: job });
    const both = [`Authorization: DPoP ${token}`, `DPoP: ${await gateway.proof(token)}`];
    expect(await send(...both, line(other))).toMatchObject({ reason: 'proof.key_mismatch' });
    expect(await send(...both)).toMatchObject({ reason: 'proof.certificate_missing' });
    expect(await send(both[0] as string, line(job))).toMatchObject({ reason: 'proof.missing' });
    expect(await send(...both, line(job))).toMatchObject({ status: 200 });
    expect(await send(...both, line(job))).toMatchObject({ reason: 'proof.replayed' });
  });
});

describe('from anybody else', () => {
  const everything = forms.map((form) => FORMS[form](job));
  const spellings = (text: string) => [
    text,
    text.toLowerCase(),
    text.replace(/^[^:]+/, (name) => name.replaceAll('-', '_')),
  ];

  it.each([
    ['no proxy is configured', []],
    [
      'proxies elsewhere',
      forms.map((form) => ({ addresses: ['192.0.2.0/24', '2001:db8::/32'], client_certificate: form })),
    ],
    ['proxies here that pass on none', [{ addresses: ['127.0.0.1', '::1'] }]],
  ])('%s: as if nothing had been sent, in every spelling', async (_, frontProxies) => {
    const gateway = await started({ frontProxies });
    const token = await gateway.bearer(job);
    for (const line of everything.flatMap(spellings)) {
      const connection = await gateway.plain();
      const seen = await gateway.send(connection, [token, line, line]);
      expect(seen).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
      connection.socket.destroy();
    }
  });

  it('a request that needs no certificate passes, and the upstream sees none of it', async () => {
    const gateway = await started({});
    const connection = await gateway.plain();
    const token = await gateway.token({ key: true });
    const proven = [`Authorization: DPoP ${token}`, `DPoP: ${await gateway.proof(token)}`];
    const lines = ['Client-Cert: x', 'Client-Cert-Chain: y', ...everything.flatMap(spellings)];
    // `send` looks for what is left of them.
    expect(await gateway.send(connection, [...proven, ...lines])).toMatchObject({ status: 200 });
    connection.socket.destroy();
  });
});

describe('proxies that are known by their own certificate', () => {
  const proxy = (hosts: string[], changes = {}) =>
    makeCertificate({ name: 'proxy', hosts, issuer: clientCa, ...changes });
  const edge = proxy(['edge.internal']);
  const byUri = proxy(['uri:spiffe://cluster/edge']);
  let gateway: CertificateGateway;
  beforeAll(async () => {
    gateway = await started({
      tls: { client_certificates: 'optional', client_ca_file: 'client_ca.crt' },
      clientCa,
      frontProxies: [
        { certificate_names: ['Edge.internal', 'spiffe://cluster/edge'], client_certificate: 'client_cert' },
        { addresses: ['192.0.2.0/24'], certificate_names: ['far.internal'], client_certificate: 'client_cert' },
      ],
    });
  });
  const through = async (shown: Parameters<CertificateGateway['connect']>[0], lines: string[], host = HOST) => {
    // A proxy names the gateway as it knows it.
    const connection = await gateway.connect(shown, {
      servername: 'sallyport.internal',
      checkServerIdentity: () => undefined,
    });
    const seen = await gateway.send(connection, lines, host);
    connection.socket.destroy();
    return seen;
  };

  it('a DNS name or a URI of subjectAltName: it is believed, and its SNI need not agree with Host', async () => {
    for (const shown of [edge, byUri]) {
      const seen = await through(shown, [await gateway.bearer(job), FORMS.client_cert(job)]);
      expect(seen).toMatchObject({ status: 200, summary: { binding: { thumbprint: thumbprintOf(job) } } });
    }
  });

  it('its own certificate is never the caller’s', async () => {
    const seen = await through(edge, [await gateway.bearer(edge)]);
    expect(seen).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
  });

  it.each([
    ['another name', proxy(['edge2.internal'])],
    ['a name below it', proxy(['a.edge.internal'])],
    ['a wildcard', proxy(['*.internal'])],
    [
      'the name as common name only',
      makeCertificate({ name: 'edge.internal', hosts: ['x.internal'], issuer: clientCa }),
    ],
    ['the name of a proxy that connects from elsewhere', proxy(['far.internal'])],
    ['a name that holds another in it', proxy(['x", DNS:edge.internal, DNS:"y'])],
    ['a URI that holds another in it', proxy(['uri:http://x/, URI:spiffe://cluster/edge, b'])],
    ['the right name from another CA', makeCertificate({ name: 'proxy', hosts: ['edge.internal'] })],
    [
      'the right name, expired',
      proxy(['edge.internal'], { notBefore: new Date(Date.now() - 2 * DAY), notAfter: new Date(Date.now() - DAY) }),
    ],
    ['no certificate', null],
  ])('%s: not believed', async (_, shown) => {
    const connection = await gateway.connect(shown);
    const seen = await gateway.send(connection, [await gateway.bearer(job), FORMS.client_cert(job)]);
    connection.socket.destroy();
    expect(seen.status).toBe(401);
    expect(seen.reason).toMatch(/^proof\.(certificate_missing|certificate_invalid|key_mismatch)$/);
  });
});

describe('RFC 9110 §7.4: SNI and Host', () => {
  let gateway: CertificateGateway;
  beforeAll(async () => {
    gateway = await started({
      tls: { client_certificates: 'optional' },
      route: { hosts: [HOST, 'other.example.com', '127.0.0.1'] },
    });
  });
  const anyName = { checkServerIdentity: () => undefined };

  it.each([
    [HOST, HOST, 200],
    [HOST, HOST.toUpperCase(), 200],
    [HOST.toUpperCase(), HOST, 200],
    [HOST, `${HOST}:443`, 200],
    ['other.example.com', 'other.example.com', 200],
    ['other.example.com', HOST, 421],
    [HOST, 'other.example.com', 421],
    ['unknown.example', HOST, 421],
    [HOST, 'unknown.example', 421],
    [HOST, '127.0.0.1', 421],
    ['', HOST, 200],
    ['', '127.0.0.1', 200],
  ])('SNI %j, Host %j: %i', async (servername, host, status) => {
    const connection = await gateway.connect(job, { ...anyName, servername });
    const seen = await gateway.send(connection, [await gateway.bearer(job)], host);
    connection.socket.destroy();
    expect(seen.status).toBe(status);
    if (status === 421) expect(seen.reason).toMatch(/^request\.host_(of_another_connection|unknown)$/);
  });

  it('absolute-form does not get round it', async () => {
    const connection = await gateway.connect(job, { ...anyName, servername: 'other.example.com' });
    connection.send(`GET https://${HOST}${PATH} HTTP/1.1\r\nHost: ${HOST}\r\n${await gateway.bearer(job)}\r\n\r\n`);
    await connection.until((one) => one.answers.length > 0);
    expect(connection.answers[0]?.status).toBe(421);
    connection.socket.destroy();
  });
});
