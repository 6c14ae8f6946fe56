import { describe, expect, it } from 'vitest';
import type { Binding, ClientCertificate, Confirmation } from '../../src/kernel/context.ts';
import { checkBinding } from '../../src/proof/binding.ts';
import { contextOf, NOON, tokenOf } from './fixture.ts';

/** RFC 7800 §3.1, RFC 8705 §3, RFC 9449 §7: each confirmation, under each scheme, with each certificate, on each kind of route. */

const jkt = `${'k'.repeat(42)}A`;
const x5tS256 = `${'c'.repeat(42)}A`;
const DAY = 86_400_000;
const good: ClientCertificate = { x5tS256, notBefore: NOON - DAY, notAfter: NOON + DAY, untrusted: null };

const CONFIRMATIONS = { none: {}, key: { jkt }, certificate: { x5tS256 }, both: { jkt, x5tS256 } } as const;
const CERTIFICATES = {
  none: null,
  right: good,
  other: { ...good, x5tS256: `${'d'.repeat(42)}A` },
  expired: { ...good, notAfter: NOON - 1 },
  early: { ...good, notBefore: NOON + 1 },
  untrusted: { ...good, untrusted: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
  'other and expired': { ...good, x5tS256: `${'d'.repeat(42)}A`, notAfter: NOON - 1 },
} as const;
type Bound = keyof typeof CONFIRMATIONS;
type Shown = keyof typeof CERTIFICATES;

/** What comes of a certificate that the token names. */
const SHOWN: Readonly<Record<Shown, string>> = {
  none: 'proof.certificate_missing',
  right: 'good',
  other: 'proof.key_mismatch',
  expired: 'proof.certificate_invalid',
  early: 'proof.certificate_invalid',
  untrusted: 'proof.certificate_invalid',
  'other and expired': 'proof.certificate_invalid',
};

const ROUTES: readonly (readonly Binding[])[] = [
  ['dpop'],
  ['mtls'],
  ['bearer'],
  ['dpop', 'mtls'],
  ['dpop', 'bearer'],
  ['mtls', 'bearer'],
  ['dpop', 'mtls', 'bearer'],
];

/** The table, in words: what is owed after the certificate was compared, or the reason. */
function expected(bound: Bound, scheme: 'dpop' | 'bearer', shown: Shown, bindings: readonly Binding[]): string {
  const hasKey = bound === 'key' || bound === 'both';
  if (scheme === 'dpop') {
    if (!hasKey) return 'proof.unbound_token';
    if (!bindings.includes('dpop')) return 'proof.binding_not_allowed';
    if (bound === 'key') return 'dpop';
    return SHOWN[shown] === 'good' ? 'dpop' : SHOWN[shown];
  }
  if (hasKey) return 'proof.bound_token_as_bearer';
  if (bound === 'none') return bindings.includes('bearer') ? 'bearer' : 'proof.unbound_token';
  if (!bindings.includes('mtls')) return 'proof.binding_not_allowed';
  return SHOWN[shown] === 'good' ? 'mtls' : SHOWN[shown];
}

const cells = (Object.keys(CONFIRMATIONS) as Bound[]).flatMap((bound) =>
  (['dpop', 'bearer'] as const).flatMap((scheme) =>
    (Object.keys(CERTIFICATES) as Shown[]).flatMap((shown) =>
      ROUTES.map((bindings) => ({ bound, scheme, shown, bindings })),
    ),
  ),
);

function outcome({ bound, scheme, shown, bindings }: (typeof cells)[number], proof: string | null): string {
  const confirmation: Confirmation = CONFIRMATIONS[bound];
  const certificate: ClientCertificate | null = CERTIFICATES[shown];
  const checked = checkBinding(contextOf({ proof, scheme, bindings, certificate }), tokenOf(confirmation));
  return checked.ok ? checked.value.method : checked.denial.reason;
}

describe('what a token is bound to × scheme × certificate × route', () => {
  it.each(cells)('$bound under $scheme, certificate $shown, on $bindings', (cell) => {
    const wanted = expected(cell.bound, cell.scheme, cell.shown, cell.bindings);
    expect(outcome(cell, null)).toBe(wanted);
    // Whether there is a DPoP header changes nothing here: it is neither needed nor enough.
    expect(outcome(cell, 'a proof')).toBe(wanted);
  });

  it('RFC 5280 §4.1.2.5: the first and the last moment of a certificate are its own', () => {
    const at = (certificate: ClientCertificate) => {
      const context = contextOf({ proof: null, scheme: 'bearer', certificate });
      const checked = checkBinding(context, tokenOf({ x5tS256 }));
      return checked.ok ? 'passed' : checked.denial.note;
    };
    expect(at({ ...good, notBefore: NOON, notAfter: NOON })).toBe('passed');
    expect(at({ ...good, notAfter: NOON - 1 })).toBe('it has expired');
    expect(at({ ...good, notBefore: NOON + 1 })).toBe('it is not valid yet');
    expect(at({ ...good, untrusted: 'CERT_REVOKED' })).toBe('CERT_REVOKED');
    // A date that cannot be read is not one that is still to come.
    expect(at({ ...good, notAfter: Number.NaN })).toBe('it has expired');
  });
});
