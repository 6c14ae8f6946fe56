import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { ClientCertificate } from '../kernel/context.ts';

/** Where the gateway's certificate is, and whether callers are asked for theirs; as in the configuration's `listen.tls`. */
export interface ServerTlsFiles {
  readonly certificate_file: string;
  readonly key_file: string;
  readonly client_certificates: 'none' | 'optional' | 'required';
  readonly client_ca_file?: string | undefined;
}

/** Options for `https.createServer`, and for `setSecureContext` when the files change. */
export type ServerTlsOptions = SecureContextOptions & {
  requestCert: boolean;
  rejectUnauthorized: boolean;
  /** Whether a connection without a client certificate is ended; Node.js does that itself only where certificates must chain to a CA. */
  requireCert: boolean;
};

/**
 * Reads certificate, key and CA, and tries them. TLS 1.2 at least, since RFC 9325 §3.1.1 forbids older versions.
 * @throws Error that names the file and what to do
 */
export function readServerTls(files: ServerTlsFiles): ServerTlsOptions {
  const ask = files.client_certificates !== 'none';
  const required = files.client_certificates === 'required';
  const options: ServerTlsOptions = {
    cert: readPem(files.certificate_file, 'certificate_file'),
    key: readPem(files.key_file, 'key_file'),
    minVersion: 'TLSv1.2',
    requestCert: ask,
    // Without a CA every certificate is taken: the token is bound to its thumbprint (RFC 8705 §3, self-signed method).
    rejectUnauthorized: required && files.client_ca_file !== undefined,
    requireCert: required,
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

/**
 * The client certificate of a connection, or null. With a CA configured, only one that chains to it and is in date counts
 * (RFC 8705 §3); the thumbprint is base64url(SHA-256(DER)) (RFC 8705 §3.1).
 */
export function clientCertificateOf(socket: TLSSocket, mustChain: boolean): ClientCertificate | null {
  if (mustChain && !socket.authorized) return null;
  const certificate = socket.getPeerX509Certificate?.();
  if (certificate === undefined) return null;
  return { x5tS256: createHash('sha256').update(certificate.raw).digest('base64url') };
}

/** A number that changes whenever one of the files does, for polling. */
export function tlsFilesVersion(files: ServerTlsFiles): string {
  return [files.certificate_file, files.key_file, files.client_ca_file]
    .filter((file) => file !== undefined)
    .map((file) => {
      const found = statSync(file, { throwIfNoEntry: false });
      return `${found?.mtimeMs ?? 0}:${found?.size ?? 0}:${found?.ino ?? 0}`;
    })
    .join(',');
}

function readPem(file: string, key: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`listen.tls.${key}: ${file} cannot be read: ${(error as Error).message}`);
  }
}
