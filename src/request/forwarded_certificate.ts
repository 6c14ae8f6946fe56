import { hash, X509Certificate } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CertificateField, ClientCertificate } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { CERTIFICATE_FORMS, type ForwardedValue, isByteSequenceList } from '../oauth/certificate_forms.ts';

/** RFC 9440 §2.3. */
const CHAIN = 'client-cert-chain';
/** Characters of field values that are remembered with what they say: a job sends the same again and again. */
const REMEMBERED = 4_194_304;

/** By form and value. */
const known = new LRUCache<string, ClientCertificate>({
  maxSize: REMEMBERED,
  sizeCalculation: (_, key) => key.length,
});

const NONE = pass(null);

/**
 * The client certificate that a front proxy says its caller showed; null where it says that there was none. The proxy has seen the handshake
 * and judged the chain; that the certificate is in date is judged here as well. Refuses with `request.certificate_repeated`, also when it is
 * repeated with the same value, and `request.certificate_malformed`.
 */
export function readForwardedCertificate(
  rawHeaders: readonly string[],
  { name, form }: CertificateField,
): Checked<ClientCertificate | null> {
  let value: string | null = null;
  let chain: string | null = null;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const field = (rawHeaders[i] as string).toLowerCase();
    if (field === name) {
      if (value !== null) return deny('request.certificate_repeated');
      value = rawHeaders[i + 1] as string;
    } else if (field === CHAIN) {
      // RFC 9110 §5.3: a list may come in several fields.
      chain = chain === null ? (rawHeaders[i + 1] as string) : `${chain}, ${rawHeaders[i + 1]}`;
    }
  }
  if (form === 'client_cert' && chain !== null) {
    if (value === null) return deny('request.certificate_malformed', 'Client-Cert-Chain without Client-Cert');
    if (!isByteSequenceList(chain)) return deny('request.certificate_malformed', 'Client-Cert-Chain is not a list');
  }
  return value === null ? NONE : readValue(value, form);
}

function readValue(value: string, form: CertificateField['form']): Checked<ClientCertificate | null> {
  const key = `${form} ${value}`;
  const found = known.get(key);
  if (found !== undefined) return pass(found);
  const read = CERTIFICATE_FORMS[form](value);
  if (!read.ok) return deny('request.certificate_malformed', read.problem);
  const certificate = describe(read.value);
  if (typeof certificate === 'string') return deny('request.certificate_malformed', certificate);
  if (certificate !== null) known.set(key, certificate);
  return pass(certificate);
}

/** The certificate; null where there is none; or what is wrong with it. */
function describe({ der, x5tS256 }: ForwardedValue): ClientCertificate | string | null {
  if (der === null) {
    if (x5tS256 === null) return null;
    return { x5tS256, notBefore: Number.NEGATIVE_INFINITY, notAfter: Number.POSITIVE_INFINITY, untrusted: null };
  }
  const certificate = parse(der);
  if (certificate === null) return 'not a certificate';
  const digest = hash('sha256', der, 'base64url'); // RFC 8705 §3.1
  if (x5tS256 !== null && x5tS256 !== digest) return 'XFCC Hash of another certificate';
  const { validFromDate, validToDate } = certificate;
  return { x5tS256: digest, notBefore: validFromDate.getTime(), notAfter: validToDate.getTime(), untrusted: null };
}

/** A certificate in DER and nothing else: OpenSSL would take PEM, and bytes that follow, as well. */
function parse(der: Buffer): X509Certificate | null {
  try {
    const certificate = new X509Certificate(der);
    return certificate.raw.equals(der) ? certificate : null;
  } catch {
    return null;
  }
}
