import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate, thumbprintOf } from '../support/certificate.ts';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { valuesOf } from '../support/read_requests.ts';
import { NOW, type Outcome, Wire } from '../support/wire.ts';

/** RFC 9440 over the wire: Client-Cert from a proxy that is trusted, and from anybody else. */

/** Good at the time of these tests. */
const DATES = { notBefore: new Date((NOW - 3600) * 1000), notAfter: new Date((NOW + 3600) * 1000) };
const job = makeCertificate({ name: 'job', ...DATES });
const other = makeCertificate({ name: 'other', ...DATES });
const fieldOf = ({ cert }: { cert: string }) => `:${new X509Certificate(cert).raw.toString('base64')}:`;

let behind: Wire;
let alone: Wire;
beforeAll(async () => {
  const front_proxies = [{ addresses: ['127.0.0.1'], client_certificate: 'client_cert' }];
  const listen = { port: 0, front_proxies };
  [behind, alone] = await Promise.all([Wire.start({ config: { listen } }), Wire.start()]);
});
afterAll(async () => {
  await behind.close();
  await alone.close();
});

/** A request with a token that is bound to the job's certificate. */
function send(wire: Wire, ...lines: string[]): Promise<Outcome> {
  const token = wire.token({ claims: { cnf: { 'x5t#S256': thumbprintOf(job) } } });
  return wire.send({ lines: [`Authorization: Bearer ${token}`, ...lines] });
}

describe('RFC 9440 §2: what a proxy that is trusted says', () => {
  it('RFC 9440 §2.2: Client-Cert is the certificate of the caller, and ends at the gateway', async () => {
    const outcome = await send(behind, `Client-Cert: ${fieldOf(job)}`);
    expectAllowed(outcome);
    expect(valuesOf(outcome.upstream[0], 'client-cert')).toEqual([]);
    expect(outcome.summary).toMatchObject({ binding: { method: 'mtls', thumbprint: thumbprintOf(job) } });
  });

  it('RFC 9440 §2.2: another certificate, and none', async () => {
    expectRefused(await send(behind, `Client-Cert: ${fieldOf(other)}`), 'proof.key_mismatch', 'Bearer');
    expectRefused(await send(behind), 'proof.certificate_missing', 'Bearer');
  });

  it.each<[string, string]>([
    ['no byte sequence', fieldOf(job).slice(1, -1)],
    ['a text', `"${fieldOf(job).slice(1, -1)}"`],
    ['base64url', fieldOf(job).replaceAll('+', '-').replaceAll('/', '_').concat('?')],
    ['two of them', `${fieldOf(job)}, ${fieldOf(job)}`],
    ['a parameter', `${fieldOf(job)};a=1`],
    ['nothing between the colons', '::'],
    ['no certificate', `:${Buffer.from('no certificate').toString('base64')}:`],
    [
      'a certificate and more',
      `:${Buffer.concat([new X509Certificate(job.cert).raw, Buffer.from('x')]).toString('base64')}:`,
    ],
    ['PEM', job.cert.replaceAll('\n', '')],
  ])('RFC 9440 §2.1: %s is no certificate', async (_, value) => {
    const { answer, upstream, summary } = await send(behind, `Client-Cert: ${value}`);
    expect([answer.status, upstream, summary['reason']]).toEqual([400, [], 'request.certificate_malformed']);
  });

  it('RFC 9440 §2.2: twice is in doubt, also the same', async () => {
    const line = `Client-Cert: ${fieldOf(job)}`;
    const { answer, upstream, summary } = await send(behind, line, line);
    expect([answer.status, upstream, summary['reason']]).toEqual([400, [], 'request.certificate_repeated']);
  });

  it('RFC 9440 §2.3: a chain goes with a certificate, and does not reach the upstream', async () => {
    const outcome = await send(behind, `Client-Cert: ${fieldOf(job)}`, `Client-Cert-Chain: ${fieldOf(other)}`);
    expectAllowed(outcome);
    expect(valuesOf(outcome.upstream[0], 'client-cert-chain')).toEqual([]);
    expect((await send(behind, `Client-Cert-Chain: ${fieldOf(other)}`)).answer.status).toBe(400);
  });
});

describe('RFC 9440 §4: what anybody else says', () => {
  it.each(['Client-Cert', 'client-cert', 'Client_Cert', 'X-Client-Cert', 'X-Forwarded-Client-Cert'])(
    'RFC 9440 §4: %s of a caller is no certificate',
    async (name) => {
      expectRefused(await send(alone, `${name}: ${fieldOf(job)}`), 'proof.certificate_missing');
    },
  );

  it('RFC 9440 §4: and does not reach the upstream', async () => {
    const lines = [
      `Client-Cert: ${fieldOf(job)}`,
      `Client-Cert-Chain: ${fieldOf(job)}`,
      `Client_Cert: ${fieldOf(job)}`,
    ];
    const outcome = await alone.send({ lines: [...alone.lines(alone.token()), ...lines] });
    expectAllowed(outcome);
    expect(outcome.upstream[0]?.head).not.toMatch(/client.cert/i);
  });
});
