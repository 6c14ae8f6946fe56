import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { connectionNamed, endsAtGateway, foldFieldName } from '../../src/kernel/fields.ts';

describe('header fields that end at the gateway', () => {
  it.each([
    ['Authorization'],
    ['DPoP'],
    ['Cookie'],
    ['Proxy-Authorization'],
    ['Connection'],
    ['Keep-Alive'],
    ['Proxy-Connection'],
    ['TE'],
    ['Trailer'],
    ['Transfer-Encoding'],
    ['Upgrade'],
    ['HTTP2-Settings'],
    ['X-Forwarded-For'],
    ['x_forwarded_for'],
    ['X-Forwarded-Client-Cert'],
    ['X_FORWARDED-Host'],
    ['Forwarded'],
    ['X-Real-IP'],
    ['X_Real_IP'],
    ['X-Original-URL'],
    ['X-Rewrite-URL'],
    ['X-HTTP-Method-Override'],
    ['X_HTTP_Method'],
    ['X-Method-Override'],
    ['_method'],
    ['Client-Cert'],
    ['Client-Cert-Chain'],
    ['X-SSL-Client-Cert'],
    ['SSL_CLIENT_S_DN'],
    ['Sallyport-Subject'],
    ['sallyport_subject'],
    ['SALLYPORT_decision-Id'],
    ['sallyport-anything'],
    ['X-Remote-User'],
  ])('RFC 9110 §7.6.1 and cases "Headers": %s does not pass', (name) => {
    expect(endsAtGateway(foldFieldName(name))).toBe(true);
  });

  it.each([
    ['Accept'],
    ['Content-Type'],
    ['Range'],
    ['If-Match'],
    ['X-Tenant'],
    ['X-Request-Id'],
    ['Traceparent'],
    ['Sally'],
    ['X-Api-Key'],
    ['Via'],
  ])('RFC 9110 §5: %s passes', (name) => {
    expect(endsAtGateway(foldFieldName(name))).toBe(false);
  });

  it('cases "Headers": no mixture of case, - and _ gets an identity field past', () => {
    const spelled = fc
      .tuple(
        fc.constantFrom(
          'sallyport-subject',
          'sallyport-client',
          'sallyport-job',
          'x-forwarded-for',
          'x-real-ip',
          'client-cert',
        ),
        fc.infiniteStream(fc.nat(3)),
      )
      .map(([name, dice]) =>
        [...name]
          .map((character) => {
            const turn = dice.next().value as number;
            if (character === '-') return turn % 2 === 0 ? '-' : '_';
            return turn < 2 ? character : character.toUpperCase();
          })
          .join(''),
      );
    fc.assert(fc.property(spelled, (name) => endsAtGateway(foldFieldName(name))));
  });
});

describe('the fields that Connection names', () => {
  it('RFC 9110 §7.6.1: every option names a field, over repeated fields and in any case', () => {
    const raw = ['connection', 'close, X-A ,x_b', 'X-A', '1', 'CONNECTION', ', keep-alive,,te'];
    expect(connectionNamed(raw)).toEqual(new Set(['x-a', 'x-b', 'te']));
  });

  it('RFC 9110 §7.6.1: the common values name nothing', () => {
    expect(connectionNamed(['Host', 'a', 'Connection', 'keep-alive', 'User-Agent', 'x'])).toBeNull();
    expect(connectionNamed(['Connection', 'Close'])).toBeNull();
  });

  it('RFC 9110 §7.6.1: any value is read without an error', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 6 }), (values) => {
        const named = connectionNamed(values.flatMap((value) => ['Connection', value]));
        return named === null || [...named].every((name) => name !== '' && !name.includes(','));
      }),
    );
  });
});
