import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CertificateName, hasCertificateName } from '../../src/net/certificate_names.ts';
import { makeCertificate } from '../support/certificate.ts';

const certificate = new X509Certificate(
  makeCertificate({
    name: 'engine',
    hosts: ['engine.example.com', '*.wild.example.com', 'uri:spiffe://example.com/ci', '192.0.2.7'],
  }).cert,
);
/** The subject as Node.js writes it. */
const named = (subject: string) => ({ subject, subjectAltName: undefined }) as unknown as X509Certificate;
const alternative = (subjectAltName: string) => ({ subject: 'CN=x', subjectAltName }) as unknown as X509Certificate;

describe('RFC 8705 §2.1.2: names of a certificate', () => {
  it.each<[CertificateName, string, boolean]>([
    ['tls_client_auth_subject_dn', 'CN=engine', true],
    ['tls_client_auth_subject_dn', 'cn=engine', true],
    ['tls_client_auth_subject_dn', 'CN=Engine', false],
    ['tls_client_auth_subject_dn', 'CN=engine,O=acme', false],
    ['tls_client_auth_subject_dn', '', false],
    ['tls_client_auth_san_dns', 'engine.example.com', true],
    ['tls_client_auth_san_dns', 'ENGINE.example.com', true],
    ['tls_client_auth_san_dns', 'example.com', false],
    ['tls_client_auth_san_dns', 'a.wild.example.com', false],
    ['tls_client_auth_san_dns', '*.wild.example.com', true],
    ['tls_client_auth_san_dns', 'engine', false],
    ['tls_client_auth_san_uri', 'spiffe://example.com/ci', true],
    ['tls_client_auth_san_uri', 'spiffe://example.com/CI', false],
    ['tls_client_auth_san_ip', '192.0.2.7', true],
    ['tls_client_auth_san_ip', '192.0.2.70', false],
    ['tls_client_auth_san_ip', 'engine.example.com', false],
    ['tls_client_auth_san_email', 'engine@example.com', false],
  ])('%s %s: %s', (kind, expected, has) => {
    expect(hasCertificateName(certificate, kind, expected)).toBe(has);
  });

  it.each<[string, string, boolean]>([
    ['C=DE\nO=Acme, Inc.\nCN=engine', 'CN=engine,O=Acme\\, Inc.,C=DE', true],
    ['C=DE\nO=Acme, Inc.\nCN=engine', 'CN=engine, O=Acme\\2C Inc., C=DE', true],
    ['C=DE\nO=Acme\nCN=engine', 'C=DE,O=Acme,CN=engine', false],
    ['C=DE\nO=Acme\nCN=engine', 'CN=engine,O=Acme', false],
    ['O=Acme\nCN=engine+OU=ci', 'OU=ci+CN=engine,O=Acme', true],
    ['O=Acme\nCN=engine', 'CN=engine,O=Acme,', false],
    ['', '', false],
  ])('subject %j is %j: %s', (subject, expected, is) => {
    expect(hasCertificateName(named(subject), 'tls_client_auth_subject_dn', expected)).toBe(is);
  });

  it('IPv6 addresses are the same in every spelling', () => {
    const one = alternative('IP Address:2001:DB8:0:0:0:0:0:7');
    expect(hasCertificateName(one, 'tls_client_auth_san_ip', '2001:db8::7')).toBe(true);
    expect(hasCertificateName(one, 'tls_client_auth_san_ip', '2001:db8::8')).toBe(false);
  });

  it('a quoted name hides no other', () => {
    const tricky = alternative('URI:"https://a.example/, DNS:victim.example.com", DNS:own.example.com');
    expect(hasCertificateName(tricky, 'tls_client_auth_san_dns', 'victim.example.com')).toBe(false);
    expect(hasCertificateName(tricky, 'tls_client_auth_san_dns', 'own.example.com')).toBe(true);
    expect(hasCertificateName(tricky, 'tls_client_auth_san_uri', 'https://a.example/, DNS:victim.example.com')).toBe(
      true,
    );
  });

  it('whatever the texts, nothing is thrown', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (text, expected) => {
        hasCertificateName(alternative(text), 'tls_client_auth_san_dns', expected);
        hasCertificateName(named(text), 'tls_client_auth_subject_dn', expected);
      }),
    );
  });
});
