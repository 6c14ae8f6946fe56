import { z } from 'zod';

/** A TCP port. */
export const port = z.int().min(0).max(65_535);
/** A duration. */
export const milliseconds = z.int().min(1).max(3_600_000);
/** A size. */
export const bytes = z.int().min(1).max(1_099_511_627_776);
/** Path of a file. */
export const file = z.string().min(1).max(4096);

/** An http or https URL: no user information, no query, no fragment. */
export const httpUrl = z.string().refine(isHttpUrl, {
  error: 'expected an absolute http or https URL without user information, query or fragment',
});
/** Scheme, host and port. */
export const origin = z.string().refine((text) => isHttpUrl(text) && new URL(text).origin === text.replace(/\/$/, ''), {
  error:
    'expected an origin such as https://cloud.example.com: scheme, host in lower case and port only where it is not the default',
});
/** Identifier of an issuer or a resource: an absolute URI without fragment. */
export const identifier = z.string().min(1).max(2048).refine(isAbsoluteUri, {
  error: 'expected an absolute URI without fragment, such as https://cloud.example.com/v1',
});

/** Asymmetric algorithms that may be allowed; `none` and HS* cannot be named at all (RFC 8725 §3.1, §3.2). */
export const algorithm = z.enum([
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
  'EdDSA',
  'Ed25519',
]);
/** Algorithms that are taken unless others are named. */
export const algorithms = z.array(algorithm).min(1).default(['ES256', 'PS256', 'EdDSA']);

/** Whether an address or host name can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function isHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && !/[?#]/.test(text);
}

function isAbsoluteUri(text: string): boolean {
  return URL.canParse(text) && !text.includes('#');
}
