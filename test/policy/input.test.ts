import { describe, expect, it } from 'vitest';
import { sealProof } from '../../src/kernel/context.ts';
import { buildInput, SHOWN_HEADERS } from '../../src/policy/input.ts';
import { contextWith, documentOf, JOB, plain, plainToken, proof, tokenWith } from './input_case.ts';

describe('the policy input', () => {
  it('says all of a request, in the order of its description', () => {
    const token = tokenWith({
      scopes: ['builds:write'],
      authorizationDetails: [{ type: 'cloud_api', actions: ['builds.create'] }],
      job: JOB,
      clientAuthMethod: 'private_key_jwt',
      claims: { team: 'infra' },
    });
    const context = contextWith({
      target: { ...plain.target, query: 'a=1&a=2', queryParameters: { a: ['1', '2'] } },
      body: { state: 'parsed', value: { count: 2 }, head: [], complete: true },
    });
    const input = buildInput(context, token, proof);
    expect(input).toEqual({
      ok: true,
      value: JSON.stringify({
        version: 1,
        request: {
          id: 'r1',
          time: 1_795_376_000,
          route: 'projects',
          method: 'POST',
          host: 'cloud.example.com',
          origin: 'https://cloud.example.com',
          resource: 'https://cloud.example.com/v1',
          path: '/v1/projects/p1/builds',
          segments: ['v1', 'projects', 'p1', 'builds'],
          query: { a: ['1', '2'] },
          headers: { 'content-type': ['application/json'] },
          body: { count: 2 },
          body_state: 'parsed',
          peer_address: '192.0.2.7',
        },
        operation: {
          service: 'projects',
          name: 'builds.create',
          resource: 'projects/p1/builds',
          params: { project: 'p1' },
          access: 'write',
          scopes: ['builds:write'],
          authorization_details_type: 'cloud_api',
        },
        client: { id: 'wf-4711', auth_method: 'private_key_jwt' },
        token: {
          kind: 'jwt',
          issuer: 'https://as.example.com',
          subject: 'repo:acme/infra',
          audience: ['https://cloud.example.com/v1'],
          jti: 'token-1',
          issued_at: 1_795_376_000,
          expires_at: 4_102_444_800,
          scopes: ['builds:write'],
          authorization_details: [{ type: 'cloud_api', actions: ['builds.create'] }],
          claims: { team: 'infra' },
          binding: { method: 'dpop', thumbprint: 'thumbprint' },
        },
        job: JOB,
      }),
    });
    expect(documentOf(context, token).version).toBe(1);
  });

  it('says null where nothing is known', () => {
    const document = documentOf(contextWith({ operation: null }));
    expect(document).toMatchObject({ operation: null, job: null, client: { auth_method: null } });
  });

  it('has a body only where it was parsed', () => {
    for (const state of ['absent', 'not_requested', 'too_large', 'not_json'] as const) {
      const body = { state, value: { secret: true }, head: [], complete: false };
      expect(documentOf(contextWith({ body })).request).toMatchObject({ body: null, body_state: state });
    }
    for (const value of [null, false, 0, '', [], {}]) {
      const body = { state: 'parsed', value, head: [], complete: true } as const;
      expect(documentOf(contextWith({ body })).request).toMatchObject({ body: value, body_state: 'parsed' });
    }
  });

  it('says how this sender is bound, also for a token that others use too', () => {
    for (const [method, thumbprint] of [
      ['dpop', 'jkt'],
      ['mtls', 'x5t'],
      ['bearer', null],
    ] as const) {
      const sender = sealProof({ method, thumbprint, certificate: null, jti: null, issuedAt: null, nonce: null });
      expect(documentOf(plain, plainToken, sender).token.binding).toEqual({ method, thumbprint });
    }
  });

  it('rounds the time down to whole seconds', () => {
    expect(documentOf(contextWith({ receivedAt: 1_999.9 })).request.time).toBe(1);
  });

  it('makes the part of the token once', () => {
    let reads = 0;
    const claims = {
      get team() {
        reads++;
        return 'infra';
      },
    };
    const token = tokenWith({ claims });
    documentOf(plain, token);
    const once = reads;
    expect(once).toBeGreaterThan(0);
    for (let i = 0; i < 5; i++) expect(documentOf(plain, token).token.claims).toEqual({ team: 'infra' });
    expect(reads).toBe(once);
  });
});

describe('header fields in the policy input', () => {
  const headersOf = (...rawHeaders: string[]) => documentOf(contextWith({ rawHeaders })).request.headers;

  it('are those of the list, by lower-case name, values in order', () => {
    expect(
      headersOf('ACCEPT', 'a', 'X-Amz-Target', 'T.Op', 'accept', 'b', 'User-Agent', 'curl', 'X-Other', 'x'),
    ).toEqual({
      accept: ['a', 'b'],
      'x-amz-target': ['T.Op'],
    });
  });

  it('never hold a credential', () => {
    const secret = 'do-not-show';
    const names = [
      'Authorization',
      'DPoP',
      'Cookie',
      'Set-Cookie',
      'Proxy-Authorization',
      'X-Api-Key',
      'X-Amz-Security-Token',
      'X-Goog-Iam-Authorization-Token',
      'X-Vault-Token',
      'Private-Token',
      'Client-Cert',
      'X-Forwarded-Client-Cert',
      'authorization_',
      'Sallyport-Subject',
    ];
    const input = buildInput(contextWith({ rawHeaders: names.flatMap((name) => [name, secret]) }), plainToken, proof);
    expect(input.ok && input.value).not.toContain(secret);
    expect([...SHOWN_HEADERS].filter((name) => /auth|dpop|cookie|token|key|cert|secret|password/.test(name))).toEqual(
      [],
    );
  });

  it('RFC 9110 §7.6.1: are without those that Connection names, which are not sent on', () => {
    expect(headersOf('Connection', 'X-Amz-Target, close', 'X-Amz-Target', 'T.Op', 'Accept', 'a')).toEqual({
      accept: ['a'],
    });
  });

  it('include those that an upstream would read as one of the list', () => {
    expect(headersOf('X_Amz_Target', 'T.Op')).toEqual({ 'x-amz-target': ['T.Op'] });
  });

  it('cannot be made to look like something else', () => {
    expect(headersOf('Accept', '"}],"x":["', 'Range', 'bytes=0-1\\')).toEqual({
      accept: ['"}],"x":["'],
      range: ['bytes=0-1\\'],
    });
  });
});
