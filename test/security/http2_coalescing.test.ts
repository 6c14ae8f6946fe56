import { type ClientHttp2Session, connect } from 'node:http2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { CertificateGateway, HOST, PATH, serverCa } from '../support/certificate_gateway.ts';

/** Connections that a client shares among names (RFC 9113 §9.1.1): what was shown for one name is not shown for another. */

const OTHER = 'other.example.com';
const job = makeCertificate({ name: 'job' });

let gateway: CertificateGateway;
const sessions: ClientHttp2Session[] = [];
beforeAll(async () => {
  gateway = await CertificateGateway.start({
    tls: { client_certificates: 'optional' },
    route: { hosts: [HOST, OTHER] },
  });
});
afterAll(async () => {
  for (const session of sessions) session.destroy();
  await gateway.close();
});

function open(servername: string): ClientHttp2Session {
  const shown = { cert: job.cert, key: job.key };
  const options = { ca: serverCa.cert, servername, ...shown, checkServerIdentity: () => undefined };
  const session = connect(`https://127.0.0.1:${gateway.port}`, options);
  sessions.push(session);
  return session;
}

/** @returns status, and the reason of a refusal */
async function ask(session: ClientHttp2Session, authority: string): Promise<[number, string | null]> {
  const authorization = (await gateway.bearer(job)).slice(15);
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': PATH, ':authority': authority, authorization });
    let text = '';
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    stream.on('error', reject);
    stream.on('response', (fields) => {
      stream.on('end', () => resolve([Number(fields[':status']), /"reason":"([^"]+)"/.exec(text)?.[1] ?? null]));
    });
    stream.end();
  });
}

describe('RFC 9113 §9.1.1: a connection that is used for another name', () => {
  const wrong = [421, 'request.host_of_another_connection'];

  it.each([
    [HOST, OTHER],
    [OTHER, HOST],
  ])(
    'RFC 9110 §15.5.20: SNI %s, :authority %s: 421, and the connection goes on for its own name',
    async (own, foreign) => {
      const session = open(own);
      expect(await ask(session, own)).toEqual([200, null]);
      expect(await ask(session, foreign)).toEqual(wrong);
      expect(await ask(session, `${foreign}:443`)).toEqual(wrong);
      expect(await ask(session, own)).toEqual([200, null]);
      // As the client does after 421 (RFC 9110 §15.5.20): a connection of its own.
      expect(await ask(open(foreign), foreign)).toEqual([200, null]);
    },
  );

  it('RFC 9110 §15.5.20: at the same time, each stream for itself', async () => {
    const session = open(HOST);
    const seen = await Promise.all([HOST, OTHER, HOST, OTHER, HOST].map((authority) => ask(session, authority)));
    expect(seen).toEqual([[200, null], wrong, [200, null], wrong, [200, null]]);
  });
});
