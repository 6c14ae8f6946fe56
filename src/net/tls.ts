import { constants, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { versionOf } from '../files/version.ts';
import type { Clock } from '../kernel/clock.ts';

/** Where the gateway's certificate is, and whether callers are asked for theirs; as in the configuration's `listen.tls`. */
export interface ServerTlsFiles {
  readonly certificate_file: string;
  readonly key_file: string;
  readonly client_certificates: 'none' | 'optional' | 'required';
  readonly client_ca_file?: string | undefined;
  /** Whether HTTP/2 is offered beside HTTP/1.1. Absent: no. */
  readonly http2?: boolean | undefined;
}

/** Options for `https.createServer`, and for `setSecureContext` when the files change. */
export type ServerTlsOptions = SecureContextOptions & {
  requestCert: boolean;
  rejectUnauthorized: boolean;
  /** Whether a connection without a client certificate is ended; Node.js does that itself only where certificates must chain to a CA. */
  requireCert: boolean;
  /** Of the files, from before they were read. */
  version: string;
  /** Whether HTTP/2 is offered (ALPN). */
  http2: boolean;
};

const PEM_CERTIFICATE =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/**
 * Reads certificate, key and CA, and tries them; a certificate that has expired is of no use to anybody. TLS 1.2 at least, since RFC 9325 §3.1.1 forbids older versions.
 * @throws Error that names the file and what to do
 */
export function readServerTls(files: ServerTlsFiles, clock: Clock = Date.now): ServerTlsOptions {
  const version = versionOf(...tlsFilesOf(files));
  const ask = files.client_certificates !== 'none';
  const required = files.client_certificates === 'required';
  const [certificate] = readCertificates(files.certificate_file, 'certificate_file');
  if (certificate !== undefined && certificate.validToDate.getTime() < clock()) {
    const { validTo } = certificate;
    throw new Error(
      `listen.tls.certificate_file: ${files.certificate_file} expired on ${validTo}: get a new certificate`,
    );
  }
  // What is no certificate would be passed over silently, and with none of them nobody could connect.
  if (files.client_ca_file !== undefined) readCertificates(files.client_ca_file, 'client_ca_file');
  const options: ServerTlsOptions = {
    cert: readPem(files.certificate_file, 'certificate_file'),
    key: readPem(files.key_file, 'key_file'),
    minVersion: 'TLSv1.2',
    // RFC 9325 §3.5: it costs the server more than the caller, and could change the certificate in the middle of a connection.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    requestCert: ask,
    // Without a CA every certificate is taken: the token is bound to its thumbprint (RFC 8705 §3, self-signed method).
    rejectUnauthorized: required && files.client_ca_file !== undefined,
    requireCert: required,
    version,
    http2: files.http2 === true,
    ...(files.client_ca_file === undefined ? {} : { ca: readPem(files.client_ca_file, 'client_ca_file') }),
  };
  try {
    createSecureContext(options);
  } catch (error) {
    const where = `${files.certificate_file} and ${files.key_file}`;
    throw new Error(`listen.tls: ${where} cannot be used together: ${(error as Error).message}`);
  }
  return options;
}

/** The files of a TLS listener, to be watched. */
export function tlsFilesOf({ certificate_file, key_file, client_ca_file }: ServerTlsFiles): string[] {
  return client_ca_file === undefined ? [certificate_file, key_file] : [certificate_file, key_file, client_ca_file];
}

/** The certificates in a PEM file, at least one. @throws Error that names the file */
function readCertificates(file: string, key: string): X509Certificate[] {
  const blocks = readPem(file, key).toString('latin1').match(PEM_CERTIFICATE) ?? [];
  if (blocks.length === 0) throw new Error(`listen.tls.${key}: ${file} has no certificate: expected PEM`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new Error(
        `listen.tls.${key}: certificate ${index + 1} of ${file} cannot be read: ${(error as Error).message}`,
      );
    }
  });
}

function readPem(file: string, key: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`listen.tls.${key}: ${file} cannot be read: ${(error as Error).message}`);
  }
}
