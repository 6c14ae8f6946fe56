import { readFileSync, statSync } from 'node:fs';
import { getCACertificates } from 'node:tls';

/** Variables that replace the CAs that a tool trusts: they get a bundle in which those are still found. */
export const REPLACING = [
  'SSL_CERT_FILE', // OpenSSL, Go, Python's ssl
  'AWS_CA_BUNDLE',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE',
] as const;

/** Variables that add to them: they get the one certificate, and what was in them before. */
export const ADDING = ['NODE_EXTRA_CA_CERTS', 'DENO_CERT'] as const;

/** Where systems keep their CAs in one file. */
const SYSTEM_FILES = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Ubuntu, Alpine
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/ssl/cert.pem', // Alpine, macOS, BSD
];

const MAXIMUM_BYTES = 16_777_216;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The system's CAs, those of whatever the variables name already, and the given one; each once. */
export function fullBundle(variables: Readonly<Record<string, string | undefined>>, own: string): string {
  const system = SYSTEM_FILES.map(certificatesIn).find((found) => found.length > 0) ?? getCACertificates('default');
  return joined([...REPLACING.flatMap((name) => certificatesIn(variables[name])), ...system, own]);
}

/** What the adding variables name already, and the given one. */
export function addedBundle(variables: Readonly<Record<string, string | undefined>>, own: string): string {
  return joined([...ADDING.flatMap((name) => certificatesIn(variables[name])), own]);
}

function joined(certificates: readonly string[]): string {
  return `${[...new Set(certificates.map((text) => text.trim()))].join('\n')}\n`;
}

/** A file that cannot be read has no certificates for the tools either. */
function certificatesIn(file: string | undefined): readonly string[] {
  if (file === undefined || file === '') return [];
  try {
    if (statSync(file).size > MAXIMUM_BYTES) return [];
    return readFileSync(file, 'latin1').match(CERTIFICATE) ?? [];
  } catch {
    return [];
  }
}
