import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { certificateThumbprint } from '../../src/oauth/thumbprint.ts';

/** A certificate and its key, PEM. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
  /** Its own name, to issue others with it. */
  readonly name: string;
}

/** What a certificate says. */
export interface CertificateOptions {
  readonly name: string;
  /** DNS names and IP addresses it is for; `uri:` stands before a URI. */
  readonly hosts?: readonly string[];
  /** Who signs; absent: itself. */
  readonly issuer?: TestCertificate;
  readonly authority?: boolean;
  /** Default: from an hour ago until an hour ahead. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

const HOUR = 3_600_000;
const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));

/** Makes an X.509 certificate (RFC 5280 §4.1) on P-256, which Node.js can read but not make. */
export function makeCertificate(options: CertificateOptions): TestCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer: KeyObject = options.issuer === undefined ? privateKey : createPrivateKey(options.issuer.key);
  const { notBefore = new Date(Date.now() - HOUR), notAfter = new Date(Date.now() + HOUR) } = options;
  const body = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_SHA256,
    nameOf(options.issuer?.name ?? options.name),
    sequence(time(notBefore), time(notAfter)),
    nameOf(options.name),
    publicKey.export({ format: 'der', type: 'spki' }),
    tagged(
      0xa3,
      sequence(basicConstraints(options.authority === true), alternativeNames(options.hosts ?? ['localhost'])),
    ),
  );
  const signature = sign('sha256', body, signer);
  const certificate = sequence(body, ECDSA_SHA256, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    name: options.name,
  };
}

/** What a token that is bound to it carries: `x5t#S256` (RFC 8705 §3.1). */
export function thumbprintOf({ cert }: TestCertificate): string {
  return certificateThumbprint(new X509Certificate(cert).raw);
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 128) return Buffer.concat([Buffer.from([tag, length]), content]);
  // X.690 §10.1: the shortest form. BoringSSL takes no other.
  if (length < 256) return Buffer.concat([Buffer.from([tag, 0x81, length]), content]);
  return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function oid(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, 'hex'));
}

/** RFC 5280 §4.1.2.5.1: UTCTime. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return tagged(0x17, Buffer.from(`${digits}Z`));
}

function nameOf(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid('550403'), tagged(0x0c, Buffer.from(name)))));
}

function basicConstraints(authority: boolean): Buffer {
  const content = sequence(...(authority ? [tagged(0x01, Buffer.from([0xff]))] : []));
  return sequence(oid('551d13'), tagged(0x01, Buffer.from([0xff])), tagged(0x04, content));
}

function alternativeNames(hosts: readonly string[]): Buffer {
  const names = hosts.map((host) => {
    if (host.startsWith('uri:')) return tagged(0x86, Buffer.from(host.slice(4)));
    return isIP(host) === 4 ? tagged(0x87, Buffer.from(host.split('.').map(Number))) : tagged(0x82, Buffer.from(host));
  });
  return sequence(oid('551d11'), tagged(0x04, sequence(...names)));
}
