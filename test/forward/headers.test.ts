import { validateHeaderName, validateHeaderValue } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addIdentity, jobName } from '../../src/forward/identity.ts';
import { checkSetHeaders, requestHeaders } from '../../src/forward/request_headers.ts';
import { responseHeaders } from '../../src/forward/response_headers.ts';
import type { Job } from '../../src/kernel/context.ts';
import { type AuthorizedChanges, makeAuthorized } from '../support/authorized.ts';

const job: Job = {
  provider: 'github',
  repository: 'acme/infra',
  repository_id: '456789',
  workflow: 'deploy.yml',
  ref: 'refs/heads/main',
  ref_protected: true,
  environment: 'production',
  event: 'push',
  run_id: '4711',
  actor: 'octo',
  runner: null,
  claims: {},
};

const token68 = fc.stringMatching(/^[a-z][a-z0-9_-]{0,12}$/);

function sent(changes: AuthorizedChanges, credentialNames: readonly string[] = []): [string, string][] {
  const flat = requestHeaders(makeAuthorized(changes), 'sallyport', credentialNames);
  return flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] as string] as [string, string]] : []));
}

function valuesOf(pairs: readonly (readonly [string, string])[], name: string): string[] {
  return pairs.filter(([field]) => field.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
}

function got(raw: readonly string[], changes: Partial<Parameters<typeof responseHeaders>[1]> = {}): string[] | null {
  const options = {
    pseudonym: 'sallyport',
    decisionId: 'd-1',
    httpVersion: '1.1',
    remove: [],
    status: 200,
    nonce: null,
    ...changes,
  };
  return responseHeaders(
    raw.map((text) => Buffer.from(text, 'latin1')),
    options,
  );
}

const OURS = ['Via', '1.1 sallyport', 'Sallyport-Decision-Id', 'd-1'];

describe('what the upstream gets of the request header fields', () => {
  it('RFC 9110 §5.3: what passes keeps order, spelling and repetitions', () => {
    const pairs = sent({ rawHeaders: ['X-b', '1', 'aCCept', '*/*', 'x-B', '2', 'X-b', '3'] });
    expect(pairs.slice(0, 4)).toEqual([
      ['X-b', '1'],
      ['aCCept', '*/*'],
      ['x-B', '2'],
      ['X-b', '3'],
    ]);
  });

  it('RFC 9110 §7.6.1: what Connection names is removed, and cannot be a field of ours', () => {
    const pairs = sent({
      id: 'd-1',
      rawHeaders: [
        'X-Hop',
        '1',
        'Connection',
        'x-hop, Sallyport-Subject, sallyport-decision-id, Via, Forwarded, Host, Content-Length',
        'X_Hop',
        '2',
        'Content-Type',
        'text/plain',
      ],
    });
    expect(valuesOf(pairs, 'x-hop')).toEqual([]);
    expect(valuesOf(pairs, 'x_hop')).toEqual([]);
    expect(valuesOf(pairs, 'connection')).toEqual([]);
    expect(valuesOf(pairs, 'content-type')).toEqual(['text/plain']);
    expect(valuesOf(pairs, 'sallyport-subject')).toEqual(['repo:acme/infra']);
    expect(valuesOf(pairs, 'sallyport-decision-id')).toEqual(['d-1']);
    expect(valuesOf(pairs, 'via')).toEqual(['1.1 sallyport']);
    expect(valuesOf(pairs, 'forwarded')).toHaveLength(1);
  });

  it('RFC 9110 §10.1.1: Expect, Host and Content-Length of the caller do not pass, under no spelling', () => {
    const pairs = sent({
      rawHeaders: ['Expect', '100-continue', 'HOST', 'evil', 'Content_Length', '5', 'content-length', '5'],
    });
    for (const name of ['expect', 'host', 'content-length', 'content_length'])
      expect(valuesOf(pairs, name)).toEqual([]);
  });

  it('cases "Headers": identity fields of the caller never pass, ours are what the token says', () => {
    const pairs = sent({
      id: 'd-1',
      rawHeaders: [
        'Sallyport-Subject',
        'root',
        'sallyport_client',
        'root',
        'SALLYPORT-JOB',
        'x',
        'Sallyport_Decision-Id',
        'x',
      ],
      token: { subject: 'repo:acme/infra', clientId: 'wf-4711', job },
      operation: {
        service: 'compute',
        name: 'instances.create',
        resource: 'projects/p1/instances',
        params: {},
        access: 'write',
        scopes: [],
        authorizationDetailsType: null,
      },
    });
    expect(pairs.filter(([name]) => /^sallyport[-_]/i.test(name))).toEqual([
      ['Sallyport-Subject', 'repo:acme/infra'],
      ['Sallyport-Client', 'wf-4711'],
      ['Sallyport-Job', 'github:acme/infra:4711'],
      ['Sallyport-Operation', 'compute/instances.create'],
      ['Sallyport-Decision-Id', 'd-1'],
    ]);
  });

  it('cases "Headers": without a job or an operation there is no such field', () => {
    const names = sent({}).map(([name]) => name);
    expect(names).not.toContain('Sallyport-Job');
    expect(names).not.toContain('Sallyport-Operation');
  });

  it.each([
    ['192.0.2.7', 'cloud.example.com', 'for=192.0.2.7;proto=https;host=cloud.example.com'],
    ['::ffff:192.0.2.7', 'cloud.example.com', 'for=192.0.2.7;proto=https;host=cloud.example.com'],
    ['2001:db8::1', '[::1]', 'for="[2001:db8::1]";proto=https;host="[::1]"'],
    ['', 'cloud.example.com', 'for=unknown;proto=https;host=cloud.example.com'],
  ])('RFC 7239 §4: the peer %s asking for %s is %s', (peerAddress, host, expected) => {
    const pairs = sent({ peerAddress, host, rawHeaders: ['Forwarded', 'for=1.2.3.4', 'X-Forwarded-For', '1.2.3.4'] });
    expect(valuesOf(pairs, 'forwarded')).toEqual([expected]);
    expect(valuesOf(pairs, 'x-forwarded-for')).toEqual([]);
  });

  it('RFC 7239 §5.4: proto is the scheme of the public origin', () => {
    expect(valuesOf(sent({ route: { origin: 'http://cloud.example.com' } }), 'forwarded')[0]).toContain('proto=http;');
  });

  it('RFC 9110 §7.6.3: Via is appended to', () => {
    expect(valuesOf(sent({ rawHeaders: ['Via', '1.0 fred'] }), 'via')).toEqual(['1.0 fred', '1.1 sallyport']);
  });

  it('obligation set_header: replaces the field of the caller, under its underscore alias too', () => {
    const pairs = sent({
      rawHeaders: ['X-Tenant', 'evil', 'x_tenant', 'evil', 'X-Other', '1'],
      obligations: { setHeaders: [['x-tenant', 'p1']] },
    });
    expect(pairs.filter(([name]) => /tenant/i.test(name))).toEqual([['x-tenant', 'p1']]);
    expect(valuesOf(pairs, 'x-other')).toEqual(['1']);
  });

  it('credentials: the field that carries ours is not taken from the caller', () => {
    const pairs = sent({ rawHeaders: ['X-Api-Key', 'evil', 'x_api_key', 'evil'] }, ['x-api-key']);
    expect(pairs.filter(([name]) => /api/i.test(name))).toEqual([]);
  });

  it.each([
    'host',
    'content-length',
    'transfer-encoding',
    'connection',
    'authorization',
    'sallyport-subject',
    'x-forwarded-for',
    'x-api-key',
  ])('policy.unknown_obligation: %s cannot be set by a policy', (name) => {
    const authorized = makeAuthorized({ obligations: { setHeaders: [[name, 'x']] } });
    expect(checkSetHeaders(authorized, ['x-api-key'])).toMatchObject({ reason: 'policy.unknown_obligation' });
  });

  it.each([
    ['x tenant', 'x'],
    ['', 'x'],
    ['x-tenant', 'a\r\nb: c'],
    ['x-tenant', 'a\u0000'],
    ['x-tenant', 'snow \u2603'],
  ])('policy.malformed: the obligation %j: %j cannot be sent', (name, value) => {
    const authorized = makeAuthorized({ obligations: { setHeaders: [[name, value]] } });
    expect(checkSetHeaders(authorized, [])).toMatchObject({ reason: 'policy.malformed' });
  });

  it('RFC 9110 §5.5: whatever the token says, the fields can be sent and stay apart', () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 });
    fc.assert(
      fc.property(text, text, text, (subject, clientId, repository) => {
        const headers: string[] = [];
        const authorized = makeAuthorized({ token: { subject, clientId, job: { ...job, repository } } });
        addIdentity(headers, authorized);
        for (let i = 0; i < headers.length; i += 2) {
          validateHeaderName(headers[i] as string);
          validateHeaderValue(headers[i] as string, headers[i + 1] as string);
          expect(headers[i + 1]).toMatch(/^[\x21-\x7e]*$/);
        }
        expect(headers[5]?.split(':')).toHaveLength(3);
        expect(decodeURIComponent(headers[1] as string)).toBe(subject.toWellFormed());
        expect(decodeURIComponent((headers[5] as string).split(':')[1] as string)).toBe(repository.toWellFormed());
      }),
    );
  });

  it('the job as provider:repository:run: what is not known is empty', () => {
    expect(jobName({ ...job, repository: null, run_id: null })).toBe('github:456789:');
    expect(jobName({ ...job, provider: null, repository: null, repository_id: null, run_id: 'a:b' })).toBe('::a%3Ab');
  });

  it('RFC 9110 §7.6.1: no list of header fields gets a hop-by-hop field or a credential through', () => {
    const field = fc.oneof(
      fc.constantFrom(
        'Connection',
        'TE',
        'Keep-Alive',
        'Transfer-Encoding',
        'Authorization',
        'DPoP',
        'Host',
        'Cookie',
        'x_forwarded_for',
      ),
      token68,
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(field, token68), { maxLength: 12 }), (pairs) => {
        const named = pairs.filter(([name]) => name === 'Connection').map(([, value]) => value.replaceAll('_', '-'));
        const out = sent({ rawHeaders: pairs.flat() });
        const passed = out.slice(0, -5).map(([name]) => name.toLowerCase().replaceAll('_', '-'));
        for (const name of passed) {
          expect(name).not.toMatch(
            /^(connection|te|keep-alive|transfer-encoding|authorization|dpop|host|cookie|x-forwarded-.*|sallyport-.*)$/,
          );
          expect(named.filter((option) => option !== 'close' && option !== 'keep-alive')).not.toContain(name);
        }
      }),
    );
  });
});

describe('what the caller gets of the answer header fields', () => {
  it('RFC 9110 §5.3: repetitions, order and spelling are kept', () => {
    expect(got(['Set-Cookie', 'a=1', 'X-a', '1', 'set-cookie', 'b=2'])).toEqual([
      ...['Set-Cookie', 'a=1', 'X-a', '1', 'set-cookie', 'b=2'],
      ...OURS,
    ]);
  });

  it('RFC 9110 §7.6.1: hop-by-hop fields and what Connection names are removed, wherever they stand', () => {
    const raw = [
      'X-Hop',
      '1',
      'Connection',
      'close, x-hop',
      'Keep-Alive',
      'timeout=5',
      'x-HOP',
      '2',
      'Trailer',
      'a',
      'Upgrade',
      'h2c',
      'TE',
      'x',
    ];
    expect(got([...raw, 'Proxy-Connection', 'x', 'Proxy-Authenticate', 'Basic', 'X-Stay', '3'])).toEqual([
      'X-Stay',
      '3',
      ...OURS,
    ]);
  });

  it('RFC 9112 §6.3: Connection cannot name the framing away', () => {
    expect(got(['Content-Length', '3', 'Connection', 'content-length'])).toEqual(['Content-Length', '3', ...OURS]);
  });

  it("RFC 9449 §8.2: the upstream's nonce and challenge do not reach the caller", () => {
    const raw = [
      'DPoP-Nonce',
      'x',
      'WWW-Authenticate',
      'DPoP error="use_dpop_nonce"',
      'Authentication-Info',
      'x',
      'Alt-Svc',
      'h3=":1"',
    ];
    expect(got(raw)).toEqual(OURS);
    expect(got(raw, { nonce: 'ours' })).toEqual([...OURS, 'DPoP-Nonce', 'ours']);
    const named = ['Connection', 'dpop-nonce', 'X-A', '1'];
    expect(got(named, { nonce: 'ours', remove: ['dpop-nonce'] })).toEqual(['X-A', '1', ...OURS, 'DPoP-Nonce', 'ours']);
  });

  it('cases "Headers": what the upstream says in our name is removed', () => {
    expect(got(['Sallyport-Decision-Id', 'forged', 'SALLYPORT-x', '1'])).toEqual(OURS);
  });

  it('RFC 9209 §2: the last member of Proxy-Status is ours', () => {
    expect(got(['Proxy-Status', 'sallyport; error=forged'])).toEqual([
      'Proxy-Status',
      'sallyport; error=forged',
      'Proxy-Status',
      'sallyport',
      ...OURS,
    ]);
  });

  it('obligation remove_response_header: removed in any case', () => {
    expect(got(['X-Secret', '1', 'x-SECRET', '2'], { remove: ['x-secret'] })).toEqual(OURS);
  });

  it('RFC 9110 §8.6: 204 has no Content-Length', () => {
    expect(got(['Content-Length', '0'], { status: 204 })).toEqual(OURS);
    expect(got(['Content-Length', '7'], { status: 304 })).toEqual(['Content-Length', '7', ...OURS]);
  });

  it.each([
    [['Transfer-Encoding', 'gzip, chunked']],
    [['Transfer-Encoding', 'identity']],
    [['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
  ])('RFC 9112 §6.1: %j cannot be passed on', (raw) => {
    expect(got(raw)).toBeNull();
  });

  it('RFC 9112 §6.1: chunked is taken off, the framing to the caller is our own', () => {
    expect(got(['Transfer-Encoding', ' Chunked '])).toEqual(OURS);
  });
});
