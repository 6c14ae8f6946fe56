import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CertificateField, CertificateForm } from '../../src/kernel/context.ts';
import { isByteSequenceList } from '../../src/oauth/certificate_forms.ts';
import { readForwardedCertificate } from '../../src/request/forwarded_certificate.ts';
import { makeCertificate, thumbprintOf } from '../support/certificate.ts';
import { outcomeOf, valueOfPassed } from './fixtures.ts';

/** RFC 9440 and the forms of Envoy, nginx, HAProxy and Traefik: what a trusted proxy may write, and nothing else. */

const one = makeCertificate({ name: 'job' });
const other = makeCertificate({ name: 'other' });
const derOf = ({ cert }: { cert: string }) => new X509Certificate(cert).raw;
const base64 = derOf(one).toString('base64');
const otherBase64 = derOf(other).toString('base64');
const hex = Buffer.from(thumbprintOf(one), 'base64url').toString('hex');
const otherHex = Buffer.from(thumbprintOf(other), 'base64url').toString('hex');
const escaped = encodeURIComponent(one.cert);
const pem = (body: string) => `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;

const NAMES: Readonly<Record<CertificateForm, string>> = {
  client_cert: 'client-cert',
  envoy: 'x-forwarded-client-cert',
  nginx: 'x-ssl-client-cert',
  haproxy: 'x-ssl-client-cert',
  traefik: 'x-forwarded-tls-client-cert',
};
const fieldOf = (form: CertificateForm): CertificateField => ({ form, name: NAMES[form] });
const read = (form: CertificateForm, value: string) => readForwardedCertificate([NAMES[form], value], fieldOf(form));

const GOOD: readonly [CertificateForm, string, string][] = [
  ['client_cert', 'a byte sequence', `:${base64}:`],
  ['envoy', 'Hash', `Hash=${hex}`],
  ['envoy', 'Hash in capitals', `Hash=${hex.toUpperCase()}`],
  ['envoy', 'Cert', `Cert="${escaped}"`],
  ['envoy', 'both', `Hash=${hex};Cert="${escaped}"`],
  [
    'envoy',
    'what SANITIZE_SET writes',
    `By=spiffe://a/gateway;Hash=${hex};Cert="${escaped}";Chain="${escaped}";Subject="CN=a, O=\\"b; c\\"";URI=spiffe://a/job;DNS=a.example;DNS=b.example`,
  ],
  ['envoy', 'an empty Subject', `By=;Hash=${hex};Subject="";URI=`],
  ['nginx', 'escaped PEM', escaped],
  ['nginx', 'escaped PEM without the last line end', encodeURIComponent(one.cert.trimEnd())],
  [
    'nginx',
    'AWS, which leaves + = and / as they are',
    escaped.replaceAll('%2B', '+').replaceAll('%3D', '=').replaceAll('%2F', '/'),
  ],
  ['haproxy', 'DER in base64', base64],
  ['traefik', 'base64', base64],
  ['traefik', 'escaped, as version 2 writes it', encodeURIComponent(base64)],
  ['traefik', 'with its chain', `${base64},${otherBase64}`],
  ['traefik', 'with its chain, escaped', encodeURIComponent(`${base64},${otherBase64}`)],
];

describe('a certificate that a front proxy passes on', () => {
  it.each(GOOD)('%s: %s', (form, _, value) => {
    expect(valueOfPassed(read(form, value))).toMatchObject({ x5tS256: thumbprintOf(one), untrusted: null });
  });

  it('its dates are its own; where only the thumbprint is known, the proxy has looked at them', () => {
    const { validFromDate, validToDate } = new X509Certificate(one.cert);
    const dates = { notBefore: validFromDate.getTime(), notAfter: validToDate.getTime() };
    expect(valueOfPassed(read('client_cert', `:${base64}:`))).toMatchObject(dates);
    const endless = { notBefore: Number.NEGATIVE_INFINITY, notAfter: Number.POSITIVE_INFINITY };
    expect(valueOfPassed(read('envoy', `Hash=${hex}`))).toMatchObject(endless);
  });

  it.each(Object.keys(NAMES) as CertificateForm[])('%s: no field means that the caller showed none', (form) => {
    expect(valueOfPassed(readForwardedCertificate(['Host', 'a', 'X-Other', 'b'], fieldOf(form)))).toBeNull();
  });

  it.each(['nginx', 'haproxy'] as const)('%s: an empty variable means that the caller showed none', (form) => {
    expect(valueOfPassed(read(form, ''))).toBeNull();
  });

  it('the name of the field is read without case, its aliases are not', () => {
    const field = fieldOf('client_cert');
    for (const name of ['CLIENT-CERT', 'Client-Cert', 'cLIENT-cERT']) {
      expect(valueOfPassed(readForwardedCertificate([name, `:${base64}:`], field))).not.toBeNull();
    }
    for (const name of ['Client_Cert', 'client cert', 'X-Client-Cert', 'Client-Certificate', 'Client-Cer']) {
      expect(valueOfPassed(readForwardedCertificate([name, `:${base64}:`], field))).toBeNull();
      // Beside the proxy's own it changes nothing either.
      const both = [name, `:${otherBase64}:`, 'Client-Cert', `:${base64}:`];
      expect(valueOfPassed(readForwardedCertificate(both, field))).toMatchObject({ x5tS256: thumbprintOf(one) });
    }
  });
});

const CANONICAL_BASE64: readonly [string, (text: string) => string][] = [
  ['empty', () => ''],
  ['no base64', () => '!!!!'],
  ['base64url', () => Buffer.from([0xfb, 0xff, 0xfe]).toString('base64url')],
  ['white space in it', (text) => `${text.slice(0, 40)} ${text.slice(40)}`],
  ['a character more', (text) => `${text}A`],
  ['four characters more', (text) => `${text}AAAA`],
  ['cut', (text) => text.slice(0, -8)],
  ['cut in a group', (text) => text.slice(0, -5)],
  ['not a certificate', () => Buffer.from('not a certificate').toString('base64')],
  ['a certificate in PEM', () => Buffer.from(one.cert).toString('base64')],
  ['a certificate and bytes after it', () => Buffer.concat([derOf(one), Buffer.from([0])]).toString('base64')],
  ['two certificates', () => Buffer.concat([derOf(one), derOf(other)]).toString('base64')],
  [
    'only its public key',
    () => new X509Certificate(one.cert).publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
  ],
];

const BAD: readonly [CertificateForm, string, string][] = [
  ...CANONICAL_BASE64.map(([what, make]): [CertificateForm, string, string] => [
    'client_cert',
    what,
    `:${make(base64)}:`,
  ]),
  ...CANONICAL_BASE64.filter(([what]) => what !== 'empty').map(([what, make]): [CertificateForm, string, string] => [
    'haproxy',
    what,
    make(base64),
  ]),
  ...CANONICAL_BASE64.map(([what, make]): [CertificateForm, string, string] => ['traefik', what, make(base64)]),
  ...CANONICAL_BASE64.map(([what, make]): [CertificateForm, string, string] => [
    'nginx',
    what,
    encodeURIComponent(pem(make(base64))),
  ]),
  ['client_cert', 'nothing', ''],
  ['client_cert', 'one colon', ':'],
  ['client_cert', 'without colons', base64],
  ['client_cert', 'without the last colon', `:${base64}`],
  ['client_cert', 'without the first colon', `${base64}:`],
  ['client_cert', 'in quotes', `":${base64}:"`],
  ['client_cert', 'with a parameter (RFC 9440 §2.2 knows none)', `:${base64}:;a=1`],
  ['client_cert', 'a list', `:${base64}:, :${otherBase64}:`],
  ['client_cert', 'the same twice in a list', `:${base64}:, :${base64}:`],
  ['client_cert', 'space inside', `: ${base64}:`],
  ['client_cert', 'escaped PEM', escaped],
  ['client_cert', 'XFCC', `Hash=${hex}`],
  ['envoy', 'nothing', ''],
  ['envoy', 'a text', 'hello'],
  ['envoy', 'two elements', `Hash=${hex},Hash=${otherHex}`],
  ['envoy', 'the same element twice', `Hash=${hex},Hash=${hex}`],
  ['envoy', 'an empty element after it', `Hash=${hex},`],
  ['envoy', 'an empty element before it', `,Hash=${hex}`],
  ['envoy', 'Hash twice', `Hash=${hex};Hash=${otherHex}`],
  ['envoy', 'hash twice in another case', `Hash=${hex};HASH=${otherHex}`],
  ['envoy', 'Cert twice', `Cert="${escaped}";Cert="${escaped}"`],
  ['envoy', 'Hash of another certificate', `Hash=${otherHex};Cert="${escaped}"`],
  ['envoy', 'Hash too short', `Hash=${hex.slice(2)}`],
  ['envoy', 'Hash in base64url', `Hash=${thumbprintOf(one)}`],
  ['envoy', 'empty Hash', 'Hash='],
  ['envoy', 'a quote that does not end', `Subject="CN=a;Hash=${hex}`],
  ['envoy', 'a quote that ends too early', `Subject="CN="a";Hash=${hex}`],
  ['envoy', 'neither Hash nor Cert', 'By=spiffe://a;Subject="CN=a";URI=spiffe://b'],
  ['envoy', 'Hash only inside a value', `Subject="Hash=${hex}"`],
  ['envoy', 'a semicolon at the end', `Hash=${hex};`],
  ['envoy', 'space around a key', ` Hash=${hex}`],
  ['envoy', 'a key without a value', `Hash;Cert="${escaped}"`],
  ['envoy', 'two certificates in Cert', `Cert="${encodeURIComponent(one.cert + other.cert)}"`],
  ['nginx', 'PEM with spaces for line ends', one.cert.replaceAll('\n', ' ')],
  ['nginx', 'base64 alone', base64],
  ['nginx', 'two certificates', encodeURIComponent(one.cert + other.cert)],
  ['nginx', 'text before it', encodeURIComponent(`subject=a\n${one.cert}`)],
  ['nginx', 'text after it', encodeURIComponent(`${one.cert}x`)],
  ['nginx', 'a key', encodeURIComponent(one.key)],
  ['nginx', 'another label', encodeURIComponent(one.cert.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE'))],
  ['nginx', 'no percent-encoding', `${escaped}%`],
  ['nginx', 'no percent-encoding, either', `${escaped}%4`],
  ['nginx', 'bytes that are not ASCII', `${escaped}%ff`],
  ['nginx', '(null)', '(null)'],
  ['nginx', '-', '-'],
  ['traefik', 'an empty certificate before it', `,${base64}`],
  ['traefik', 'an empty certificate after it', `${base64},`],
  ['traefik', 'space after the comma', `${base64}, ${otherBase64}`],
  ['traefik', 'escaped twice', encodeURIComponent(encodeURIComponent(`${base64},`))],
  ['traefik', 'escaped PEM', escaped],
];

describe('request.certificate_malformed: what no proxy of that form writes', () => {
  it.each(BAD)('%s: %s', (form, _, value) => {
    expect(outcomeOf(read(form, value))).toBe('request.certificate_malformed');
  });

  it('RFC 9440 §2.3: Client-Cert-Chain stands beside Client-Cert only, and is a list of byte sequences', () => {
    const field = fieldOf('client_cert');
    const own = ['Client-Cert', `:${base64}:`];
    const outcome = (...lines: string[]) => outcomeOf(readForwardedCertificate(lines, field));
    expect(outcome(...own, 'Client-Cert-Chain', `:${otherBase64}:`)).toBe('passed');
    expect(outcome(...own, 'Client-Cert-Chain', `:${otherBase64}:, :${base64}:`)).toBe('passed');
    expect(outcome(...own, 'Client-Cert-Chain', `:${otherBase64}:`, 'client-cert-chain', `:${base64}:`)).toBe('passed');
    expect(outcome('Client-Cert-Chain', `:${base64}:`)).toBe('request.certificate_malformed');
    for (const chain of ['', base64, `:${base64}`, `:${base64}:,`, `,:${base64}:`, `:${base64}: :${base64}:`]) {
      expect(outcome(...own, 'Client-Cert-Chain', chain)).toBe('request.certificate_malformed');
    }
  });
});

describe('request.certificate_repeated', () => {
  it.each(GOOD)('%s, %s: twice, also with the same value, also in another case, also empty', (form, _, value) => {
    const name = NAMES[form];
    for (const second of [value, '', 'x']) {
      for (const spelling of [name, name.toUpperCase()]) {
        const lines = [name, value, 'X-Other', 'a', spelling, second];
        expect(outcomeOf(readForwardedCertificate(lines, fieldOf(form)))).toBe('request.certificate_repeated');
      }
    }
  });
});

describe('any value', () => {
  const forms = fc.constantFrom(...(Object.keys(NAMES) as CertificateForm[]));
  const printable = fc.string({ unit: fc.constantFrom(...':;,="\\%+/ -HashCert0aAzZ9\t'), maxLength: 60 });

  it('nothing throws, and nothing but a certificate passes', () => {
    fc.assert(
      fc.property(forms, fc.oneof(fc.string(), printable), (form, value) => {
        const outcome = read(form, value);
        const empty = value === '' && (form === 'nginx' || form === 'haproxy');
        expect(outcomeOf(outcome)).toBe(empty ? 'passed' : 'request.certificate_malformed');
      }),
    );
  });

  it('one character changed is another certificate or none, never the same one', () => {
    const good = GOOD.filter(([form]) => form !== 'envoy');
    fc.assert(
      fc.property(
        fc.constantFrom(...good),
        fc.nat(),
        fc.integer({ min: 0x21, max: 0x7e }),
        ([form, , value], at, code) => {
          const index = at % value.length;
          const changed = value.slice(0, index) + String.fromCharCode(code) + value.slice(index + 1);
          fc.pre(changed !== value);
          const outcome = read(form, changed);
          if (!outcome.ok) return;
          // Percent-encoding has more than one spelling of the same text; the text itself has not.
          const same = outcome.value?.x5tS256 === thumbprintOf(one);
          if (same) expect(normal(changed)).toBe(normal(value));
        },
      ),
      { numRuns: 500 },
    );
    function normal(value: string): string {
      try {
        return decodeURIComponent(value).split(',')[0]?.trimEnd() ?? '';
      } catch {
        return value;
      }
    }
  });

  it('RFC 8941 §3.3.5: what is written as a byte sequence is read as those bytes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 0, maxLength: 64 }), { minLength: 1, maxLength: 5 }),
        (members) => {
          const list = members.map((bytes) => `:${Buffer.from(bytes).toString('base64')}:`).join(', ');
          expect(isByteSequenceList(list)).toBe(true);
          expect(isByteSequenceList(`${list},`)).toBe(false);
        },
      ),
    );
  });
});
