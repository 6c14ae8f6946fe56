import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Job,
  type RequestContext,
  sealProof,
  sealToken,
  type TokenFacts,
  type VerifiedToken,
} from '../../src/kernel/context.ts';
import { buildInput, INPUT_LIMIT_BYTES, SHOWN_HEADERS } from '../../src/policy/input.ts';
import { policyInputSchema } from '../../src/policy/input_schema.ts';
import { NESTING_LIMIT } from '../../src/policy/nesting.ts';
import { makeAuthorized } from '../support/authorized.ts';

const JOB: Job = {
  provider: 'github',
  repository: 'acme/infra',
  repository_id: '456789',
  workflow: 'deploy.yml',
  ref: 'refs/heads/main',
  ref_protected: true,
  environment: null,
  event: 'push',
  run_id: '1',
  actor: 'octocat',
  runner: 'github-hosted',
  claims: { ref_type: 'branch' },
};

const OPERATION = {
  service: 'projects',
  name: 'builds.create',
  resource: 'projects/p1/builds',
  params: { project: 'p1' },
  access: 'write',
  scopes: ['builds:write'],
  authorizationDetailsType: 'cloud_api',
} as const;

const {
  context: plain,
  token: plainToken,
  proof,
} = makeAuthorized({
  id: 'r1',
  method: 'POST',
  path: '/v1/projects/p1/builds',
  operation: OPERATION,
  rawHeaders: ['Host', 'cloud.example.com', 'Content-Type', 'application/json'],
});

function contextWith(changes: Partial<RequestContext>): RequestContext {
  return { ...plain, ...changes };
}

function tokenWith(changes: Partial<TokenFacts>): VerifiedToken {
  return sealToken({ ...plainToken, ...changes });
}

/** The document, read again; the input must not be refused. */
function documentOf(context: RequestContext, token: VerifiedToken = plainToken, sender = proof) {
  const input = buildInput(context, token, sender);
  if (!input.ok) throw new Error(input.denial.reason);
  return policyInputSchema.parse(JSON.parse(input.value));
}

/** The reason of the refusal, or null. */
function refusalOf(context: RequestContext, token: VerifiedToken = plainToken): string | null {
  const input = buildInput(context, token, proof);
  return input.ok ? null : input.denial.reason;
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

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
      const sender = sealProof({ method, thumbprint, jti: null, issuedAt: null });
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

describe('policy.input_too_large', () => {
  const queryOf = (value: string) =>
    contextWith({ target: { ...plain.target, query: '', queryParameters: { q: [value] } } });

  it('refuses more bytes than an input may have, counted in UTF-8', () => {
    expect(refusalOf(queryOf('a'.repeat(INPUT_LIMIT_BYTES)))).toBe('policy.input_too_large');
    expect(refusalOf(queryOf('ü'.repeat(INPUT_LIMIT_BYTES / 2)))).toBe('policy.input_too_large');
    expect(refusalOf(queryOf('a'.repeat(INPUT_LIMIT_BYTES - 2048)))).toBeNull();
    expect(refusalOf(queryOf('ü'.repeat(INPUT_LIMIT_BYTES / 2 - 1024)))).toBeNull();
  });

  it.each([NESTING_LIMIT + 1, 50_000])('refuses a body of %i levels', (levels) => {
    const body = { state: 'parsed', value: nested(levels), head: [], complete: true } as const;
    expect(refusalOf(contextWith({ body }))).toBe('policy.input_too_large');
  });

  it.each([NESTING_LIMIT + 1, 50_000])('refuses a token of %i levels, each time', (levels) => {
    for (const token of [
      tokenWith({ claims: { a: nested(levels) } }),
      tokenWith({ authorizationDetails: [{ type: 'a', b: nested(levels) }] }),
      tokenWith({ job: { ...JOB, claims: { a: nested(levels) } } }),
    ]) {
      expect(refusalOf(plain, token)).toBe('policy.input_too_large');
      expect(refusalOf(plain, token)).toBe('policy.input_too_large');
    }
  });

  it('lets as many levels pass as there may be', () => {
    const body = { state: 'parsed', value: nested(NESTING_LIMIT), head: [], complete: true } as const;
    expect(refusalOf(contextWith({ body }))).toBeNull();
  });
});

describe('text in the policy input', () => {
  it('is well-formed: half a surrogate pair becomes U+FFFD', () => {
    const broken = ['\ud800', 'a\udfffb', '\udc00\ud800', '\\\ud800', '"\ud83d"', '\ud83d\\ude00', '😀\ud83d'];
    for (const text of broken) {
      const token = tokenWith({ subject: text, claims: { [text]: text } });
      const body = { state: 'parsed', value: [text], head: [], complete: true } as const;
      const document = documentOf(contextWith({ body }), token);
      expect(document.token.subject).toBe(text.toWellFormed());
      expect(document.token.claims).toEqual({ [text.toWellFormed()]: text.toWellFormed() });
      expect(document.request.body).toEqual([text.toWellFormed()]);
    }
  });

  it('keeps a text that only looks like half a pair', () => {
    for (const text of ['\\ud800', '\\\\ud800', '\\\\\\udfff', 'x\\"\\ud800']) {
      expect(documentOf(plain, tokenWith({ subject: text })).token.subject).toBe(text);
    }
  });

  it('is on one line', () => {
    const input = buildInput(plain, tokenWith({ subject: 'a\r\nb\u0000\u001b[31m' }), proof);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    expect(input.ok && input.value).not.toMatch(/[\u0000-\u001f]/);
  });

  it('property: whatever stands in token, query and body comes out equal, well-formed, and fits the schema', () => {
    const text = fc.string({ unit: 'binary' });
    const json = fc.jsonValue({ stringUnit: 'binary' });
    const claims = fc.dictionary(text, json);
    fc.assert(
      fc.property(
        text,
        claims,
        json,
        fc.dictionary(text, fc.array(text)),
        (subject, members, value, queryParameters) => {
          const token = tokenWith({ subject, claims: members });
          const target = { ...plain.target, queryParameters };
          const body = { state: 'parsed', value, head: [], complete: true } as const;
          const document = documentOf(contextWith({ target, body }), token);
          const clean = (part: unknown) => JSON.parse(JSON.stringify(part), (_, item) => cleaned(item)) as unknown;
          expect(document.token.subject).toBe(subject.toWellFormed());
          expect(document.token.claims).toEqual(clean(members));
          expect(document.request.body).toEqual(clean(value));
          expect(document.request.query).toEqual(clean(queryParameters));
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** What a value is to be after lone surrogates became U+FFFD, in names too. */
function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name.toWellFormed(), item]));
}
