import { z } from 'zod';
import { mayCarryCertificate } from '../kernel/fields.ts';
import { frontProxyIdentity } from './front_proxy.ts';
import { file, port } from './values.ts';

const serverTls = z.strictObject({
  certificate_file: file.describe('PEM certificate chain of the gateway.'),
  key_file: file.describe('PEM private key of the certificate.'),
  client_certificates: z
    .enum(['none', 'optional', 'required'])
    .default('none')
    .describe('Whether callers are asked for a client certificate (RFC 8705).'),
  client_ca_file: file
    .optional()
    .describe(
      'PEM certificates that client certificates must chain to; absent: any certificate is taken and bound by thumbprint only.',
    ),
  http2: z
    .boolean()
    .default(true)
    .describe('Whether callers may speak HTTP/2 (ALPN h2). Without TLS only HTTP/1.1 is spoken.'),
});

const frontProxy = z.strictObject({
  ...frontProxyIdentity,
  client_certificate: z
    .enum(['none', 'client_cert', 'envoy', 'nginx', 'haproxy', 'traefik'])
    .default('none')
    .describe(
      'How the proxies pass on the client certificate of a caller: client_cert: RFC 9440; envoy: X-Forwarded-Client-Cert; nginx: escaped PEM; haproxy: DER in base64; traefik: X-Forwarded-Tls-Client-Cert.',
    ),
  header: z
    .string()
    .refine(mayCarryCertificate, {
      error:
        'expected Client-Cert, X-Client-Cert, or a name that begins with X-Forwarded-, X-SSL-, SSL-Client- or X-Amzn-Mtls- and speaks of a certificate: what callers send in these never gets past the gateway',
    })
    .optional()
    .describe(
      'The header field that carries it. Absent: Client-Cert, X-Forwarded-Client-Cert, X-SSL-Client-Cert (nginx, haproxy) or X-Forwarded-Tls-Client-Cert.',
    ),
});

/** Where callers reach the gateway. */
export const listen = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: port.default(8080).describe('Port to listen on; 0: any free port.'),
  tls: serverTls
    .optional()
    .describe('Absent: plain HTTP, which is allowed on loopback only unless allow_plaintext is true.'),
  allow_plaintext: z
    .boolean()
    .default(false)
    .describe(
      'Allow plain HTTP on an address that is not loopback, for a gateway behind a TLS terminator on the same host or pod.',
    ),
  front_proxies: z
    .array(frontProxy)
    .max(64)
    .default([])
    .describe(
      'Proxies in front that end the TLS of callers; the first entry that a connection fits counts. Only they are believed about client certificates, and their own SNI need not agree with Host.',
    ),
});

/** Where its operator does. */
export const admin = z.strictObject({
  address: z.string().min(1).default('127.0.0.1').describe('Address of the admin port.'),
  port: port.default(9901).describe('Port of /livez, /readyz and /metrics; 0: any free port.'),
  api_token_file: file
    .optional()
    .describe(
      'File of mode 0600 with a bearer token of at least 32 characters, for the endpoints that change or tell more; read again when it changes. Absent: they are off.',
    ),
  tls: z
    .strictObject({
      certificate_file: file.describe('PEM certificate chain of the admin port; read again when it changes.'),
      key_file: file.describe('PEM private key of the certificate.'),
    })
    .optional()
    .describe('Absent: plain HTTP. Needed where the API token comes from another machine.'),
});
