import type { CertificateForm } from '../kernel/context.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';

/** What a field value says: the certificate (DER), its SHA-256, or both; both null: that the caller showed none. */
export interface ForwardedValue {
  readonly der: Buffer | null;
  /** base64url. */
  readonly x5tS256: string | null;
}

const NONE = parsed<ForwardedValue>({ der: null, x5tS256: null });

/** The reader of each form; strict, so that what a proxy would never write is an error and not a guess. */
export const CERTIFICATE_FORMS: Readonly<Record<CertificateForm, (value: string) => Parsed<ForwardedValue>>> = {
  client_cert: (value) => certificate(readByteSequence(value), 'not a structured byte sequence'),
  envoy: readXfcc,
  // A variable that is empty, since there is no certificate, makes an empty field.
  nginx: (value) => (value === '' ? NONE : readEscapedPem(value)),
  haproxy: (value) => (value === '' ? NONE : certificate(decodeBase64(value), 'not base64')),
  traefik: readTraefik,
};

/** RFC 9440 §2.3: a list of byte sequences. Whether it is one. */
export function isByteSequenceList(value: string): boolean {
  return value.split(',').every((member) => readByteSequence(member.replace(/^[ \t]+|[ \t]+$/g, '')) !== null);
}

/** RFC 8941 §3.3.5, in the one form that RFC 9440 §2.1 writes: no parameters, padded, no spare bits. Null when it is not. */
function readByteSequence(value: string): Buffer | null {
  if (value.length < 2 || !value.startsWith(':') || !value.endsWith(':')) return null;
  return decodeBase64(value.slice(1, -1));
}

function certificate(der: Buffer | null, problem: string): Parsed<ForwardedValue> {
  return der === null || der.length === 0 ? unparsed(problem) : parsed({ der, x5tS256: null });
}

/** RFC 4648 §4 in its one canonical form. */
function decodeBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/** nginx `$ssl_client_escaped_cert`, AWS `X-Amzn-Mtls-Clientcert-Leaf`: one PEM certificate (RFC 7468 §5), percent-encoded; `+` is itself. */
function readEscapedPem(value: string): Parsed<ForwardedValue> {
  const pem = decodePercent(value);
  if (pem === null) return unparsed('not percent-encoded');
  const [, body] = /^-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)\n-----END CERTIFICATE-----\n?$/.exec(pem) ?? [];
  if (body === undefined) return unparsed('not one PEM certificate');
  return certificate(decodeBase64(body.replaceAll('\n', '')), 'not base64');
}

/** Traefik `X-Forwarded-Tls-Client-Cert`: base64 without the lines of PEM, the caller's first and then its chain; version 2 escapes it. */
function readTraefik(value: string): Parsed<ForwardedValue> {
  const text = decodePercent(value);
  if (text === null) return unparsed('not percent-encoded');
  const [own = null, ...chain] = text.split(',').map(decodeBase64);
  if (chain.some((bytes) => bytes === null || bytes.length === 0)) return unparsed('not base64');
  return certificate(own, 'not base64');
}

/** Percent-encoding of ASCII; null when a `%` begins none, or what it stands for is not ASCII. */
function decodePercent(value: string): string | null {
  if (/%(?![0-9A-Fa-f]{2})|%[89A-Fa-f][0-9A-Fa-f]/.test(value)) return null;
  return value.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

/** One `Key=Value` of an element and what ends it; a value in quotes may hold anything, with `\` before a quote. */
const XFCC_PAIR = /([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(;|,|$)/y;

/**
 * Envoy `X-Forwarded-Client-Cert`, one element: `Hash` (SHA-256 of the certificate, hexadecimal), `Cert` (percent-encoded PEM), or both, which
 * then must agree. More than one element means that what a caller sent was kept: which one is true cannot be known.
 */
function readXfcc(value: string): Parsed<ForwardedValue> {
  const pairs = new Map<string, string>();
  let end = '';
  XFCC_PAIR.lastIndex = 0;
  for (let at = 0; at < value.length; at = XFCC_PAIR.lastIndex) {
    if (end === ',') return unparsed('more than one XFCC element');
    const [, key = '', quoted, plain = '', separator = ''] = XFCC_PAIR.exec(value) ?? [];
    if (key === '') return unparsed('not an XFCC element');
    // URI and DNS may come several times; what is read here may not.
    const name = key.toLowerCase();
    if (pairs.has(name) && (name === 'hash' || name === 'cert')) return unparsed('XFCC key repeated');
    pairs.set(name, quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1'));
    end = separator;
  }
  if (end !== '' || pairs.size === 0) return unparsed('not an XFCC element');
  return fromXfcc(pairs.get('hash'), pairs.get('cert'));
}

function fromXfcc(hex: string | undefined, pem: string | undefined): Parsed<ForwardedValue> {
  if (hex !== undefined && !/^[0-9A-Fa-f]{64}$/.test(hex)) return unparsed('XFCC Hash is not SHA-256 in hexadecimal');
  const x5tS256 = hex === undefined ? null : Buffer.from(hex, 'hex').toString('base64url');
  if (pem === undefined)
    return x5tS256 === null ? unparsed('XFCC without Hash and Cert') : parsed({ der: null, x5tS256 });
  const read = readEscapedPem(pem);
  return read.ok ? parsed({ der: read.value.der, x5tS256 }) : read;
}
