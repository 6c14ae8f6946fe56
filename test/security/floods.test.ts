import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generatePrivateJwk } from '../../src/oauth/signing_key.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { TestIssuer, TestJob } from '../support/issuer.ts';
import { KeyServer, sendJson } from '../support/key_server.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

/**
 * What a flood may cost others, in counts: every honest request beside it passes, the issuer is asked a bounded number of times, the upstream
 * hears of honest requests only, every request has its record. How long honest requests take beside floods: docs/benchmarks_floods.md.
 */

const PATH = '/v1/projects/p1';
const FLOOD = 600;
const CONNECTIONS = 48;
const HONEST = 40;

let server: KeyServer;
let upstream: RecordingUpstream;
let gateway: TestGateway;
let issuer: TestIssuer;
let job: TestJob;
/** A JWT of the job, and opaque tokens, which the issuer is asked about each time. */
let tokens: string[];
let questions = 0;
let records = 0;
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
const honestAgent = new Agent({ keepAlive: true, maxSockets: 4 });

beforeAll(async () => {
  server = await KeyServer.start();
  issuer = await TestIssuer.create(server.issuer);
  job = await TestJob.create();
  server.keys = issuer.jwks().keys;
  upstream = await startRecordingUpstream();
  const clientKey = await generatePrivateJwk();
  gateway = await startTestGateway({
    upstream: upstream.origin,
    config: (folder) => {
      writeFileSync(join(folder, 'client.jwk.json'), JSON.stringify({ ...clientKey, kid: 'gw' }), { mode: 0o600 });
      const introspection = {
        endpoint: `${server.issuer}/introspect`,
        client_id: 'gateway',
        private_key_file: 'client.jwk.json',
        cache_seconds: 0,
        connections: 8,
        timeout_ms: 10_000,
      };
      return { issuers: [{ issuer: server.issuer, introspection, keys: { cooldown_seconds: 3600 } }] };
    },
  });
  const jwt = await issuer.token(job.key.thumbprint);
  const opaque: string[] = Array.from({ length: 3 }, () => randomUUID());
  const answer = {
    active: true,
    token_type: 'DPoP',
    ...JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()),
  };
  server.answers.set('/introspect', async (message, response) => {
    questions++;
    let form = '';
    for await (const chunk of message) form += String(chunk);
    const token = new URLSearchParams(form).get('token') ?? '';
    setTimeout(sendJson, 2, response, opaque.includes(token) ? answer : { active: false });
  });
  tokens = [jwt, ...opaque];
});

afterAll(async () => {
  agent.destroy();
  honestAgent.destroy();
  await gateway.close();
  await upstream.close();
  await server.stop();
});

interface Answer {
  readonly status: number;
  readonly reason: string | null;
  readonly headers: IncomingHttpHeaders;
}

function send(headers: Record<string, string>, path: string, through: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(gateway.origin + path, { agent: through, headers }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += String(chunk);
      });
      response.on('end', () => {
        const refused = response.headers['content-type'] === 'application/problem+json';
        const reason = refused ? (JSON.parse(body) as { reason: string }).reason : null;
        resolve({ status: response.statusCode ?? 0, reason, headers: response.headers });
      });
    });
    call.on('error', reject);
    call.end();
  });
}

const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const junk = () => randomBytes(64).toString('base64url');
const withProof = (token: string, proof: string) => ({ authorization: `DPoP ${token}`, dpop: proof });

interface Flood {
  readonly reason: string;
  /** The headers of one request, and its path where it is another. */
  make(): Promise<{ headers: Record<string, string>; path?: string }>;
  /** Questions about tokens that it may cause, beside one for each honest opaque one. */
  readonly questions: number;
}

const floods: Readonly<Record<string, Flood>> = {
  'tokens with invented kids': {
    reason: 'token.key_unknown',
    questions: 0,
    make: async () => {
      const [, payload] = (tokens[0] ?? '').split('.');
      const token = `${segment({ typ: 'at+jwt', alg: 'ES256', kid: randomUUID() })}.${payload}.${junk()}`;
      return { headers: withProof(token, await job.proof('GET', gateway.origin + PATH, token)) };
    },
  },
  'tokens with forged signatures': {
    reason: 'token.signature',
    questions: 0,
    make: async () => {
      const token = `${(tokens[0] ?? '').split('.').slice(0, 2).join('.')}.${junk()}`;
      return { headers: withProof(token, await job.proof('GET', gateway.origin + PATH, token)) };
    },
  },
  'invented opaque tokens': {
    reason: 'token.inactive',
    questions: FLOOD,
    make: async () => ({ headers: withProof(randomUUID(), 'x') }),
  },
  'one invented opaque token': {
    reason: 'token.inactive',
    // Without a cache each is asked about; those that come together share a question.
    questions: FLOOD,
    make: async () => ({ headers: withProof('the-same', 'x') }),
  },
  'malformed proofs with a stolen token': {
    reason: 'proof.malformed',
    questions: 0,
    make: async () => ({ headers: withProof(tokens[0] ?? '', `${randomUUID()}.x.y`) }),
  },
  'proofs with forged signatures and a stolen token': {
    reason: 'proof.signature',
    questions: 0,
    make: async () => {
      const proof = await job.proof('GET', gateway.origin + PATH, tokens[0] ?? '');
      return { headers: withProof(tokens[0] ?? '', `${proof.split('.').slice(0, 2).join('.')}.${junk()}`) };
    },
  },
  'proofs by keys of the thief, with a stolen token': {
    reason: 'proof.key_mismatch',
    questions: 0,
    make: async () => {
      const thief = await TestJob.create();
      return { headers: withProof(tokens[0] ?? '', await thief.proof('GET', gateway.origin + PATH, tokens[0] ?? '')) };
    },
  },
  'a job that the policy refuses and that goes on': {
    reason: 'policy.insufficient_authorization_details',
    questions: 0,
    make: async () => {
      const path = '/v1/projects/p2';
      return { headers: await job.headers('GET', gateway.origin + path, tokens[0] ?? ''), path };
    },
  },
  'requests without credentials': {
    reason: 'request.credentials_missing',
    questions: 0,
    make: async () => ({ headers: {} }),
  },
};

describe('a flood', () => {
  it.each(Object.entries(floods))('of %s keeps no honest request from passing', async (_, flood) => {
    const before = { upstream: upstream.requests.length, keys: server.jwksRequests, questions };
    const requests = await Promise.all(Array.from({ length: FLOOD }, () => flood.make()));
    const flooding = Promise.all(requests.map(({ headers, path = PATH }) => send(headers, path, agent)));
    const honest: (number | string)[] = [];
    for (let sent = 0; sent < HONEST; sent++) {
      const token = tokens[sent % tokens.length] ?? '';
      const { status, reason } = await send(await job.headers('GET', gateway.origin + PATH, token), PATH, honestAgent);
      honest.push(reason ?? status);
    }
    expect(honest).toEqual(honest.map(() => 200));
    const answers = await flooding;
    expect(new Set(answers.map(({ reason }) => reason))).toEqual(new Set([flood.reason]));
    expect(upstream.requests.length - before.upstream).toBe(HONEST);
    // One look for a kid that is not known, in the cool-down of an hour; invented ones may not be the first to cause it.
    expect(server.jwksRequests - before.keys).toBeLessThanOrEqual(1);
    const asked = questions - before.questions;
    expect(asked).toBeLessThanOrEqual(flood.questions + (HONEST * 3) / 4);
    records += FLOOD + HONEST;
    expect(await gateway.records(records)).toHaveLength(records);
  });

  it('all the floods have caused one look for an unknown key', () => {
    expect(server.jwksRequests).toBe(2);
  });
});

describe('one question for two callers', () => {
  it('RFC 7662 §4: the same opaque token at the same moment: who holds its key passes, who only has the token does not', async () => {
    const [, token = ''] = tokens;
    const thief = await TestJob.create();
    const before = { questions, upstream: upstream.requests.length };
    const calls = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const caller = index % 2 === 0 ? job : thief;
        return { caller, headers: await caller.headers('GET', gateway.origin + PATH, token) };
      }),
    );
    const answers = await Promise.all(
      calls.map(async ({ caller, headers }) => ({ caller, answer: await send(headers, PATH, agent) })),
    );
    for (const { caller, answer } of answers) {
      expect(answer.reason).toBe(caller === job ? null : 'proof.key_mismatch');
    }
    expect(questions - before.questions).toBeLessThan(20);
    expect(upstream.requests.length - before.upstream).toBe(10);
    records += 20;
    expect(await gateway.records(records)).toHaveLength(records);
  });
});
