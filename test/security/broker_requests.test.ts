import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BROKER_REASONS } from '../../src/broker/reasons.ts';
import { readTokenRequest } from '../../src/broker/token_request.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { BrokerJob, RESOURCE, TestBroker } from '../broker/fixture.ts';
import { API_TOKEN, writeApiToken } from '../support/api_token.ts';
import { makeKey } from '../support/issuer.ts';

let test: TestBroker;
let port: number;

beforeAll(async () => {
  test = await TestBroker.start({
    before: writeApiToken,
    config: { admin: { port: 0, api_token_file: 'admin.token' } },
  });
  port = Number(new URL(test.broker.origin).port);
});
afterAll(() => test.close());

interface RawAnswer {
  readonly status: number;
  readonly reason: unknown;
  readonly text: string;
}

/** Sends header lines and a body exactly as they are, and reads the answer. */
function send(lines: readonly string[], body = '', target = 'POST /token'): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.once('error', reject).once('close', () => {
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0);
      let json: Record<string, unknown> = {};
      try {
        json = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>;
      } catch {
        // An answer without a body, or none.
      }
      resolve({ status, reason: json['reason'], text });
    });
    const head = [
      `${target} HTTP/1.1`,
      'Host: broker',
      'Connection: close',
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    socket.write(`${[...head, ...lines].join('\r\n')}\r\n\r\n${body}`);
  });
}

const FORM = 'Content-Type: application/x-www-form-urlencoded';

/** The header lines of a good request. */
async function good(job?: BrokerJob) {
  const one = job ?? (await BrokerJob.start(test));
  return { authorization: `Authorization: Bearer ${one.identity}`, dpop: `DPoP: ${await one.proof()}`, job: one };
}

describe('RFC 9449 §4.3 check 1: exactly one DPoP header', () => {
  it('a good one is good, whatever the case of its name', async () => {
    const { authorization, job } = await good();
    for (const name of ['DPoP', 'dpop', 'DPOP']) {
      const answer = await send([authorization, `${name}: ${await job.proof()}`, FORM], 'scope=projects:read');
      expect(answer.status).toBe(200);
    }
  });

  it.each([
    ['none', () => []],
    ['two', (proof: string) => [`DPoP: ${proof}`, `DPoP: ${proof}`]],
    ['two that differ', (proof: string, other: string) => [`DPoP: ${proof}`, `DPoP: ${other}`]],
    ['two of other cases', (proof: string, other: string) => [`DPoP: ${proof}`, `dpop: ${other}`]],
    ['one and an empty one', (proof: string) => [`DPoP: ${proof}`, 'DPoP:']],
    ['fifty', (proof: string) => Array.from({ length: 50 }, () => `DPoP: ${proof.slice(0, 20)}`)],
  ])('%s: 400 broker.proof_missing, and nothing is asked of the server', async (_name, lines) => {
    const { authorization, job } = await good();
    const answer = await send(
      [authorization, FORM, ...lines(await job.proof(), await job.proof())],
      'scope=projects:read',
    );
    expect([answer.status, answer.reason]).toEqual([400, 'broker.proof_missing']);
    expect(answer.text).not.toContain('access_token');
  });

  it.each([
    ['two in one line', (proof: string, other: string) => `${proof}, ${other}`],
    ['two in one line, the same', (proof: string) => `${proof},${proof}`],
    ['with a parameter', (proof: string) => `${proof};a=b`],
    ['in quotes', (proof: string) => `"${proof}"`],
    ['with a scheme', (proof: string) => `DPoP ${proof}`],
    ['empty', () => ''],
    ['text', () => 'proof'],
    ['of 9 kB', (proof: string) => proof + 'a'.repeat(9000)],
    ['without its signature', (proof: string) => proof.slice(0, proof.lastIndexOf('.') + 1)],
    [
      'with another signature',
      (proof: string, other: string) => proof.slice(0, proof.lastIndexOf('.')) + other.slice(other.lastIndexOf('.')),
    ],
  ])('one that is %s: 400 broker.proof_refused', async (_name, value) => {
    const { authorization, job } = await good();
    const line = `DPoP: ${value(await job.proof(), await job.proof())}`;
    const answer = await send([authorization, FORM, line], 'scope=projects:read');
    expect([answer.status, answer.reason]).toEqual([400, 'broker.proof_refused']);
  });

  it('for another URL, another method, of another day, by an algorithm that the server does not take', async () => {
    const job = await BrokerJob.start(test);
    const { privateKey, publicJwk, alg } = job.key;
    const made = { privateKey, publicJwk, alg, method: 'POST', url: test.tokenEndpoint, clock: Date.now };
    const proofs = await Promise.all([
      makeProof({ ...made, url: `${test.broker.origin}/token` }),
      makeProof({ ...made, url: `${test.tokenEndpoint}/` }),
      makeProof({ ...made, url: test.tokenEndpoint.replace('/token', '/TOKEN') }),
      makeProof({ ...made, method: 'GET' }),
      makeProof({ ...made, method: 'post' }),
      makeProof({ ...made, clock: () => Date.now() - 86_400_000 }),
      makeProof({ ...made, clock: () => Date.now() + 86_400_000 }),
    ]);
    for (const proof of proofs) {
      expect((await job.ask(undefined, { dpop: proof })).body['reason']).toBe('broker.proof_refused');
    }
    expect((await job.ask()).status).toBe(200);
  });

  it('property: no text in DPoP is anything but refused, and none breaks the broker', async () => {
    const job = await BrokerJob.start(test);
    const text = fc.string({ unit: fc.constantFrom(...'eyJ.-_ ,"{}=aA0'), maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        const { status, body } = await job.ask(undefined, { dpop: value });
        expect([status, body['error']]).toEqual([400, 'invalid_dpop_proof']);
      }),
      { numRuns: 60 },
    );
  });
});

describe('RFC 6750 §2: exactly one Authorization header, of the scheme Bearer', () => {
  it.each([
    ['two', (a: string) => [a, a], 'authorization_repeated'],
    ['two of which one is good', (a: string) => [a, 'Authorization: Bearer x'], 'authorization_repeated'],
    ['two tokens in one', (a: string) => [`${a}, Bearer x`], 'identity_missing'],
    ['a token with a space in it', (a: string) => [`${a} x`], 'identity_missing'],
    ['DPoP', (a: string) => [a.replace('Bearer', 'DPoP')], 'identity_missing'],
    ['no scheme', (a: string) => [a.replace('Bearer ', '')], 'identity_missing'],
    ['an empty token', () => ['Authorization: Bearer '], 'identity_missing'],
    ['none', () => [], 'identity_missing'],
  ])('%s: refused', async (_name, lines, reason) => {
    const { authorization, dpop } = await good();
    const answer = await send([...lines(authorization), dpop, FORM], 'scope=projects:read');
    expect(answer.reason).toBe(`broker.${reason}`);
  });

  it('RFC 6750 §2.2, §2.3: a token in the form or in the query is none', async () => {
    const { dpop, job } = await good();
    const body = `access_token=${job.identity}&identity_token=${job.identity}`;
    expect((await send([dpop, FORM], body)).reason).toBe('broker.identity_missing');
    expect((await send([dpop, FORM], '', `POST /token?access_token=${job.identity}`)).reason).toBe(
      'broker.identity_missing',
    );
  });

  it('the case of the scheme does not matter (RFC 9110 §11.1)', async () => {
    const { authorization, dpop } = await good();
    expect((await send([authorization.replace('Bearer', 'bEaReR'), dpop, FORM], 'scope=projects:read')).status).toBe(
      200,
    );
  });
});

describe('the form', () => {
  const DETAIL = '{"type":"cloud_api","actions":["projects.get"],"identifier":"projects/p1"}';
  it.each([
    ['scope twice', 'scope=projects:read&scope=builds:write', 'parameter_repeated'],
    ['scope twice, the same', 'scope=projects:read&scope=projects:read', 'parameter_repeated'],
    ['scope twice, once in escapes', 'scope=projects:read&%73cope=builds:write', 'parameter_repeated'],
    ['scope twice, once empty', 'scope=projects:read&scope=', 'parameter_repeated'],
    ['workflow twice', 'workflow=deploy&workflow=other', 'parameter_repeated'],
    ['environment twice', 'environment=a&environment=b', 'parameter_repeated'],
    ['authorization_details twice', `authorization_details=[${DETAIL}]&authorization_details=[]`, 'parameter_repeated'],
    ['grant_type twice', 'grant_type=client_credentials&grant_type=client_credentials', 'parameter_repeated'],
    ['another grant', 'grant_type=urn:ietf:params:oauth:grant-type:token-exchange', 'grant_type_other'],
    ['a client of its own', 'client_id=admin', 'parameter_not_taken'],
    ['a secret', 'client_secret=x', 'parameter_not_taken'],
    ['an assertion', 'client_assertion=x&client_assertion_type=y', 'parameter_not_taken'],
    ['a subject', 'subject_token=x', 'parameter_not_taken'],
    ['bytes that are no UTF-8', 'scope=%ff%fe', 'form_malformed'],
    ['an overlong encoding', 'scope=%c0%af', 'form_malformed'],
    ['a surrogate', 'scope=%ed%a0%80', 'form_malformed'],
    ['a scope with a line break', 'scope=projects:read%0d%0aadmin', 'scope_malformed'],
    ['a scope with a tab', 'scope=projects:read%09admin', 'scope_malformed'],
    ['a scope with a NUL', 'scope=projects:read%00', 'scope_malformed'],
    ['a scope with a quote', 'scope=%22', 'scope_malformed'],
    ['a scope with two spaces', 'scope=projects:read++builds:write', 'scope_malformed'],
    ['a scope of 300 characters', `scope=${'a'.repeat(300)}`, 'scope_malformed'],
    ['501 scopes', `scope=${Array.from({ length: 501 }, (_, n) => `s${n}`).join('+')}`, 'scope_malformed'],
    ['a resource that is no URI', 'resource=cloud', 'resource_malformed'],
    ['a resource with a fragment', `resource=${RESOURCE}%23x`, 'resource_malformed'],
    [
      '21 resources',
      Array.from({ length: 21 }, (_, n) => `resource=https://r${n}.example`).join('&'),
      'resource_malformed',
    ],
    ['a workflow of 3,000 characters', `workflow=${'w'.repeat(3000)}`, 'parameter_too_long'],
    ['details that are an object', `authorization_details=${DETAIL}`, 'details_malformed'],
    ['details that are a text', 'authorization_details="all"', 'details_malformed'],
    ['details that are null', 'authorization_details=null', 'details_malformed'],
    ['details with a null', 'authorization_details=[null]', 'details_malformed'],
    ['details with a list', 'authorization_details=[[]]', 'details_malformed'],
    ['details with a type that is a list', 'authorization_details=[{"type":["cloud_api"]}]', 'details_malformed'],
    ['details with an empty type', 'authorization_details=[{"type":""}]', 'details_malformed'],
    ['details with a repeated member', 'authorization_details=[{"type":"x","type":"cloud_api"}]', 'details_malformed'],
    [
      'details with actions that are a text',
      'authorization_details=[{"type":"cloud_api","actions":"projects.get"}]',
      'details_malformed',
    ],
    ['details with no actions', 'authorization_details=[{"type":"cloud_api","actions":[]}]', 'details_malformed'],
    [
      'details that climb',
      'authorization_details=[{"type":"cloud_api","identifier":"projects/../admin"}]',
      'details_malformed',
    ],
    ['details with *', 'authorization_details=[{"type":"cloud_api","identifier":"projects/*"}]', 'details_malformed'],
    [
      'details with an empty segment',
      'authorization_details=[{"type":"cloud_api","identifier":"projects//p1"}]',
      'details_malformed',
    ],
    [
      'details that nest deeply',
      `authorization_details=[{"type":"x","a":${'['.repeat(50)}${']'.repeat(50)}}]`,
      'details_malformed',
    ],
    [
      '51 items',
      `authorization_details=[${Array.from({ length: 51 }, () => '{"type":"x"}').join()}]`,
      'details_malformed',
    ],
    ['details of 17 kB', `authorization_details=[{"type":"${'x'.repeat(17_000)}"}]`, 'details_malformed'],
    ['details with a byte order mark', `authorization_details=%EF%BB%BF[${DETAIL}]`, 'details_malformed'],
  ])('%s: 4xx broker.%s', async (_name, body, reason) => {
    const { authorization, dpop } = await good();
    const answer = await send([authorization, dpop, FORM], body);
    expect(answer.reason).toBe(`broker.${reason}`);
    expect(answer.status).toBe(400);
    expect(answer.text.toLowerCase()).not.toContain('access_token');
  });

  it.each([
    ['JSON', 'Content-Type: application/json'],
    ['multipart', 'Content-Type: multipart/form-data; boundary=x'],
    ['text', 'Content-Type: text/plain'],
    ['a type that begins alike', 'Content-Type: application/x-www-form-urlencoded-x'],
    ['none', 'X-Nothing: 1'],
  ])('another type (%s): 400 broker.form_expected', async (_name, type) => {
    const { authorization, dpop } = await good();
    expect(await send([authorization, dpop, type], 'scope=projects:read')).toMatchObject({
      status: 400,
      reason: 'broker.form_expected',
    });
  });

  it('413 for more than 65,536 bytes, and the connection ends', async () => {
    const { authorization, dpop } = await good();
    const answer = await send([authorization, dpop, FORM], `scope=${'a'.repeat(70_000)}`);
    expect([answer.status, answer.reason]).toEqual([413, 'broker.body_too_large']);
  });

  it('what the query says is not read', async () => {
    const { authorization, dpop } = await good();
    const answer = await send(
      [authorization, dpop, FORM],
      'scope=projects:read',
      'POST /token?scope=builds:write&workflow=other',
    );
    expect([answer.status, /"scope":"([^"]*)"/.exec(answer.text)?.[1]]).toEqual([200, 'projects:read']);
  });

  it('property: no bytes break it; what is refused is one of the closed list, what is read keeps to the bounds', () => {
    const names = fc.constantFrom(
      'scope',
      'resource',
      'authorization_details',
      'workflow',
      'environment',
      'grant_type',
      '__proto__',
      'x',
    );
    const values = fc.oneof(
      fc.string(),
      fc.constantFrom(
        'client_credentials',
        'a b',
        'a  b',
        RESOURCE,
        '[]',
        `[${DETAIL}]`,
        '{}',
        'null',
        '%ff',
        '\u0000',
      ),
      fc.json(),
    );
    const form = fc
      .array(fc.tuple(names, values), { maxLength: 6 })
      .map((pairs) => new TextEncoder().encode(new URLSearchParams(pairs).toString()));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), form), (bytes) => {
        const read = readTokenRequest(bytes);
        if (!read.ok) {
          expect(Object.keys(BROKER_REASONS)).toContain(read.reason);
          expect(read.description).toMatch(/^[\x20\x21\x23-\x5B\x5D-\x7E]+$/);
          return;
        }
        const { scopes, details, resources, workflow } = read.value;
        for (const scope of scopes ?? []) expect(scope).toMatch(/^[\x21\x23-\x5B\x5D-\x7E]+$/);
        for (const item of details ?? []) expect(typeof item.type).toBe('string');
        for (const one of resources) expect(URL.canParse(one)).toBe(true);
        expect((workflow ?? '').length).toBeLessThanOrEqual(2048);
      }),
      { numRuns: 1000 },
    );
  });

  it('property: what was asked for is what is read, whatever the order of the parameters', () => {
    const scope = fc.stringMatching(/^[\x21\x23-\x5B\x5D-\x7E]{1,20}$/);
    fc.assert(
      fc.property(
        fc.uniqueArray(scope, { minLength: 1, maxLength: 10 }),
        fc.string({ maxLength: 50 }),
        fc.boolean(),
        (scopes, workflow, turned) => {
          const pairs: [string, string][] = [
            ['scope', scopes.join(' ')],
            ['workflow', workflow],
            ['resource', RESOURCE],
          ];
          const form = new URLSearchParams(turned ? pairs.reverse() : pairs);
          const read = readTokenRequest(new TextEncoder().encode(form.toString()));
          expect(read).toMatchObject({ ok: !workflow.includes('\uFFFD') && workflow.isWellFormed() });
          if (read.ok) expect(read.value).toMatchObject({ scopes, workflow, resources: [RESOURCE] });
        },
      ),
    );
  });
});

describe('a job ends itself, and no other', () => {
  async function started() {
    const [job, other] = [await BrokerJob.start(test), await BrokerJob.start(test, { run_id: 'other' })];
    return {
      job,
      other,
      id: String((await job.ask()).body['job_id']),
      otherId: String((await other.ask()).body['job_id']),
    };
  }

  it('401 broker.end_unproven for whoever has not its key: the key of another job, its identity token, a proof for another job', async () => {
    const { job, other, id, otherId } = await started();
    const url = `${test.broker.origin}/jobs/${id}/end`;
    const attempts: [string, Record<string, string>][] = [
      ['the key of another job', { dpop: await other.proof(url) }],
      ['a proof for the end of another job', { dpop: await job.proof(`${test.broker.origin}/jobs/${otherId}/end`) }],
      ['a proof for a token', { dpop: await job.proof() }],
      ['a new key', { dpop: await (await BrokerJob.start(test, {}, await makeKey())).proof(url) }],
      ['the identity token alone', { authorization: `Bearer ${job.identity}` }],
      ['nothing', {}],
    ];
    for (const [name, headers] of attempts) {
      const answer = await fetch(url, { method: 'POST', headers });
      const body = (await answer.json()) as { reason: string };
      expect([name, answer.status], name).toEqual([name, 401]);
      expect(['broker.end_unproven', 'broker.engine_token_wrong']).toContain(body.reason);
      expect(answer.headers.get('www-authenticate')).toMatch(/^(DPoP|Bearer) /);
    }
    expect((await job.ask()).status).toBe(200);
    expect((await other.end(otherId)).status).toBe(204);
    expect((await job.ask()).status).toBe(200);
    expect((await job.end(id)).status).toBe(204);
  });

  it('Host and X-Forwarded-* do not move the URL that must be signed', async () => {
    const { job, id } = await started();
    const elsewhere = await job.proof(`http://evil.example.com/jobs/${id}/end`);
    const answer = await send(
      [`DPoP: ${elsewhere}`, 'X-Forwarded-Host: evil.example.com', 'X-Forwarded-Proto: http'],
      '',
      `POST /jobs/${id}/end`,
    );
    expect([answer.status, answer.reason]).toEqual([401, 'broker.end_unproven']);
  });

  it.each([
    ['a longer one', `Bearer ${API_TOKEN}x`],
    ['a shorter one', `Bearer ${API_TOKEN.slice(0, -1)}`],
    ['in capitals', `Bearer ${API_TOKEN.toUpperCase()}`],
    ['with something behind', `Bearer ${API_TOKEN} x`],
    ['of another scheme', `Basic ${API_TOKEN}`],
    ['an empty one', 'Bearer '],
    ['its prefix in another scheme', `DPoP ${API_TOKEN}`],
  ])(
    'the API token of the engine, %s: 401, here and on the admin port, and the job goes on',
    async (_name, authorization) => {
      const { job, id } = await started();
      const end = await fetch(`${test.broker.origin}/jobs/${id}/end`, { method: 'POST', headers: { authorization } });
      expect(end.status).toBe(401);
      for (const [path, method] of [
        ['/jobs', 'GET'],
        [`/jobs/${id}`, 'DELETE'],
      ]) {
        const answer = await fetch(`${test.broker.adminOrigin}${path}`, {
          method: String(method),
          headers: { authorization },
        });
        expect([path, answer.status]).toEqual([path, 401]);
        expect(await answer.text()).not.toContain(id);
      }
      expect((await job.ask()).status).toBe(200);
    },
  );

  it('without it the admin port lists and ends nothing; with it, 404 for a job that is none, whatever its name', async () => {
    const { id } = await started();
    expect((await fetch(`${test.broker.adminOrigin}/jobs`)).status).toBe(401);
    expect((await fetch(`${test.broker.adminOrigin}/jobs/${id}`, { method: 'DELETE' })).status).toBe(401);
    const headers = { authorization: `Bearer ${API_TOKEN}` };
    for (const name of ['__proto__', 'constructor', 'a'.repeat(43), '%2e%2e', `${id}/`, `${id}%00`]) {
      const answer = await fetch(`${test.broker.adminOrigin}/jobs/${name}`, { method: 'DELETE', headers });
      expect([name, answer.status]).toEqual([name, 404]);
    }
    expect((await fetch(`${test.broker.adminOrigin}/jobs/${id}`, { method: 'DELETE', headers })).status).toBe(204);
  });
});
