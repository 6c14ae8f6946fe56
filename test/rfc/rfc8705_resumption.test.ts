import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate, type TestCertificate } from '../support/certificate.ts';
import { CertificateGateway, HOST, PATH, serverCa } from '../support/certificate_gateway.ts';

/** Sessions that openssl s_client keeps and resumes: TLS 1.2 with a ticket or a session id, TLS 1.3 with a PSK. */

const clientCa = makeCertificate({ name: 'client ca', authority: true });
const nextCa = makeCertificate({ name: 'next client ca', authority: true });
const job = makeCertificate({ name: 'job', issuer: clientCa });
const other = makeCertificate({ name: 'job', issuer: clientCa });
const successor = makeCertificate({ name: 'job', issuer: nextCa });

const WAYS = {
  'TLS 1.2, ticket': ['-tls1_2'],
  'TLS 1.2, session id': ['-tls1_2', '-no_ticket'],
  'TLS 1.3, PSK': ['-tls1_3'],
} as const;
type Way = keyof typeof WAYS;

const folder = mkdtempSync(join(tmpdir(), 'sallyport-resumption-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fileOf(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

/** What openssl saw. */
interface Seen {
  readonly status: number;
  readonly reason: string | null;
  readonly resumed: boolean;
}

interface Connecting {
  readonly port: number;
  readonly way: Way;
  readonly authorization: string;
  readonly client?: TestCertificate | null;
  /** Where the session is kept, and where one is taken from. */
  readonly keep?: string;
  readonly resume?: string;
}

/** One request through openssl s_client. */
async function ask({ port, way, authorization, client = null, keep, resume }: Connecting): Promise<Seen> {
  const own = client === null ? [] : ['-cert', fileOf('own.crt', client.cert), '-key', fileOf('own.key', client.key)];
  const session = [
    ...(keep === undefined ? [] : ['-sess_out', join(folder, keep)]),
    ...(resume === undefined ? [] : ['-sess_in', join(folder, resume)]),
  ];
  const to = ['-connect', `127.0.0.1:${port}`, '-servername', HOST, '-CAfile', fileOf('server_ca.pem', serverCa.cert)];
  const child = spawn('openssl', ['s_client', ...to, ...WAYS[way], ...own, ...session, '-ign_eof']);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    output += part;
  });
  child.stderr.resume();
  child.stdin.on('error', () => undefined);
  child.stdin.end(
    `GET ${PATH} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: ${authorization}\r\nConnection: close\r\n\r\n`,
  );
  await once(child, 'close');
  return {
    // openssl writes what it says about the session in the midst of the answer.
    status: Number(/HTTP\/1\.1 (\d+) /.exec(output)?.[1] ?? 0),
    reason: /"reason":"([^"]+)"/.exec(output)?.[1] ?? null,
    resumed: output.includes('Reused, TLS'),
  };
}

describe.each(Object.keys(WAYS) as Way[])('RFC 8705 §3: a session that openssl resumes, %s', (way) => {
  let gateway: CertificateGateway;
  beforeAll(async () => {
    const tls = { client_certificates: 'optional', client_ca_file: 'client_ca.crt' };
    gateway = await CertificateGateway.start({ tls, clientCa });
  });
  afterAll(() => gateway.close());

  const bearer = async (certificate: TestCertificate) => (await gateway.bearer(certificate)).slice(15);
  const here = async (certificate: TestCertificate, changes: Partial<Connecting> = {}) =>
    ask({ port: gateway.port, way, authorization: await bearer(certificate), ...changes });
  const keep = way.replace(/\W+/g, '_');

  it('RFC 8705 §3: the certificate of its first handshake binds, whatever is shown later', async () => {
    expect(await here(job, { client: job, keep })).toMatchObject({ status: 200, resumed: false });
    const again = await here(job, { client: job, resume: keep });
    expect(again).toMatchObject({ status: 200 });
    // The server keeps no list of sessions, so that one without a ticket begins anew.
    expect(again.resumed).toBe(way !== 'TLS 1.2, session id');
    for (const client of [null, other]) {
      const mine = await here(job, { client, resume: keep });
      if (mine.resumed) expect(mine.status).toBe(200);
      else expect(mine.reason).toBe(client === null ? 'proof.certificate_missing' : 'proof.key_mismatch');
      const theirs = await here(other, { client, resume: keep });
      expect(theirs.status).toBe(!theirs.resumed && client === other ? 200 : 401);
    }
  });

  it('RFC 8705 §3: a session without a certificate has none', async () => {
    const none = `${keep}_none`;
    expect(await here(job, { keep: none })).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
    expect(await here(job, { resume: none })).toMatchObject({ status: 401, reason: 'proof.certificate_missing' });
  });

  it('a client CA that cannot be read: refused, the old one stays', async () => {
    writeFileSync(join(gateway.folder, 'client_ca.crt'), 'not a certificate');
    gateway.reopenFiles();
    expect(await here(job, { client: job, resume: keep })).toMatchObject({ status: 200 });
  });

  it('proof.certificate_invalid: another client CA: no session of the old one is resumed, its certificates are refused', async () => {
    writeFileSync(join(gateway.folder, 'client_ca.crt'), nextCa.cert);
    gateway.reopenFiles();
    expect(await here(job, { client: job, resume: keep })).toMatchObject({
      status: 401,
      reason: 'proof.certificate_invalid',
      resumed: false,
    });
    expect(await here(job, { resume: keep })).toMatchObject({ reason: 'proof.certificate_missing', resumed: false });
    expect(await here(successor, { client: successor })).toMatchObject({ status: 200 });
  });
});
