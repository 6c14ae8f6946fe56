import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

/** What may name the certificate of a client; one of the members of RFC 8705 §2.1.2. */
export type CertificateName =
  | 'tls_client_auth_subject_dn'
  | 'tls_client_auth_san_dns'
  | 'tls_client_auth_san_uri'
  | 'tls_client_auth_san_ip'
  | 'tls_client_auth_san_email';

/** The names of kinds in Node's text of alternative names. */
const KINDS: Readonly<Record<Exclude<CertificateName, 'tls_client_auth_subject_dn'>, string>> = {
  tls_client_auth_san_dns: 'DNS',
  tls_client_auth_san_uri: 'URI',
  tls_client_auth_san_ip: 'IP Address',
  tls_client_auth_san_email: 'email',
};

/** One entry of that text; a value with a character that could be misread is a JSON string. */
const ALTERNATIVE = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/y;

/**
 * Whether a certificate carries a name, exactly (RFC 8705 §2.1.2): its subject as RFC 4514 writes it, or one of its alternative names. No
 * wildcard means anything here. That the certificate is trusted is checked elsewhere.
 */
export function hasCertificateName(certificate: X509Certificate, kind: CertificateName, expected: string): boolean {
  if (kind === 'tls_client_auth_subject_dn') return isSubject(certificate.subject, expected);
  const names = alternativeNames(certificate.subjectAltName ?? '', KINDS[kind]);
  if (kind === 'tls_client_auth_san_dns') return names.some((name) => name.toLowerCase() === expected.toLowerCase());
  if (kind === 'tls_client_auth_san_ip') return names.some((name) => canonicalIp(name) === canonicalIp(expected));
  return names.includes(expected);
}

function alternativeNames(text: string, kind: string): string[] {
  const names: string[] = [];
  ALTERNATIVE.lastIndex = 0;
  while (ALTERNATIVE.lastIndex < text.length) {
    const match = ALTERNATIVE.exec(text);
    // What cannot be read whole has no names.
    if (match === null) return [];
    const [, found, value = ''] = match;
    const name = plainName(value);
    if (name === null) return [];
    if (found === kind) names.push(name);
  }
  return names;
}

function plainName(value: string): string | null {
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    return null;
  }
}

function canonicalIp(address: string): string {
  if (isIP(address) === 6) return new URL(`http://[${address}]`).hostname;
  return isIP(address) === 4 ? address : '';
}

/** Node writes a subject in the order of the certificate, a line for each part; RFC 4514 §2.1 the other way round, with commas. */
function isSubject(subject: string | undefined, expected: string): boolean {
  // A subject may be empty.
  if (subject === undefined || subject === '') return false;
  const actual = subject.split('\n').reverse().map(partsOf);
  const wanted = splitUnescaped(expected, ',').map(partsOf);
  return actual.length === wanted.length && actual.every((parts, index) => parts !== '' && parts === wanted[index]);
}

/** One relative distinguished name in one spelling: types in capitals, values unescaped, sorted where there are several. */
function partsOf(text: string): string {
  const parts = splitUnescaped(text, '+').map((part) => {
    const equals = part.indexOf('=');
    if (equals < 1) return null;
    return [part.slice(0, equals).trim().toUpperCase(), unescapeValue(part.slice(equals + 1).trim())];
  });
  return parts.includes(null) ? '' : JSON.stringify(parts.sort());
}

function splitUnescaped(text: string, separator: ',' | '+'): string[] {
  const parts: string[] = [''];
  for (let index = 0; index < text.length; index++) {
    const character = text[index] ?? '';
    if (character === separator) parts.push('');
    else parts[parts.length - 1] += character === '\\' ? character + (text[++index] ?? '') : character;
  }
  return parts;
}

/** RFC 4514 §2.4: a backslash before a character, or before two hexadecimal digits of UTF-8. */
function unescapeValue(text: string): string {
  return text.replace(/(?:\\[0-9A-Fa-f]{2})+|\\(.)/g, (match, single: string | undefined) =>
    single === undefined ? Buffer.from(match.replaceAll('\\', ''), 'hex').toString('utf8') : single,
  );
}
