import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { AsnConvert } from '@peculiar/asn1-schema';
import { GeneralName, GeneralSubtree, GeneralSubtrees, NameConstraints } from '@peculiar/asn1-x509';
import * as x509 from '@peculiar/x509';
import type { Clock } from '../kernel/clock.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const NAME_CONSTRAINTS = '2.5.29.30';
/** Milliseconds before now from which on certificates are valid: clocks of containers differ a little. */
const BACKDATED_MS = 300_000;
/** RFC 5280 §4.1.2.2: positive, at most 20 octets. */
const SERIAL_BYTES = 16;

/** A CA of one job. */
export interface EphemeralCa {
  /** Its certificate; not a secret. */
  readonly pem: string;
  /** What a TLS server that stands for a host of the job needs. Made once for each host. @throws Error for any other host */
  contextFor(host: string): Promise<SecureContext>;
}

/**
 * Makes a CA whose key is in memory only, cannot be exported and dies with the process. By its name constraints (RFC 5280 §4.2.1.10) it is
 * good for the hosts of the job's APIs and for no other, should a tool trust it beyond this job.
 * @param lifetimeMs how long it and its certificates are valid
 */
export async function makeEphemeralCa(
  hosts: readonly string[],
  { clock, lifetimeMs }: { readonly clock: Clock; readonly lifetimeMs: number },
): Promise<EphemeralCa> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, false, ['sign', 'verify']);
  const name = 'CN=Sallyport agent (one job)';
  const dates = { notBefore: new Date(clock() - BACKDATED_MS), notAfter: new Date(clock() + lifetimeMs) };
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...dates,
    serialNumber: serialNumber(),
    name,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      new x509.Extension(NAME_CONSTRAINTS, true, AsnConvert.serialize(constraintsOf(hosts))),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const contexts = new Map<string, Promise<SecureContext>>();
  const issue = async (host: string): Promise<SecureContext> => {
    // The TLS stack wants the key as text; it is the key of one name, in this process.
    const own = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const leaf = await x509.X509CertificateGenerator.create({
      ...dates,
      serialNumber: serialNumber(),
      subject: '',
      issuer: certificate.subject,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        // RFC 5280 §4.2.1.6: critical, since the subject is empty.
        new x509.SubjectAlternativeNameExtension([{ type: isIP(host) === 0 ? 'dns' : 'ip', value: host }], true),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', own.privateKey)).toString('base64');
    const key = `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
    return createSecureContext({ key, cert: `${leaf.toString('pem')}\n`, minVersion: 'TLSv1.2' });
  };
  return {
    pem: `${certificate.toString('pem')}\n`,
    contextFor: (host) => {
      if (!hosts.includes(host)) return Promise.reject(new Error('no certificate is made for another host'));
      const made = contexts.get(host) ?? issue(host);
      contexts.set(host, made);
      return made;
    },
  };
}

/** RFC 5280 §4.2.1.10: a DNS name with everything below it, or one address. A kind of name that is not listed would be free, so both are. */
function constraintsOf(hosts: readonly string[]): NameConstraints {
  const names = hosts.filter((host) => isIP(host) === 0).map((dNSName) => new GeneralName({ dNSName }));
  const addresses = hosts
    .filter((host) => isIP(host) !== 0)
    .map((host) => new GeneralName({ iPAddress: `${host}/${isIP(host) === 4 ? 32 : 128}` }));
  if (names.length === 0) names.push(new GeneralName({ dNSName: 'invalid' })); // RFC 6761 §6.4: nobody has it.
  if (addresses.length === 0) addresses.push(new GeneralName({ iPAddress: '255.255.255.255/32' }));
  const subtrees = [...names, ...addresses].map((base) => new GeneralSubtree({ base }));
  return new NameConstraints({ permittedSubtrees: new GeneralSubtrees(subtrees) });
}

function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes.toString('hex');
}
