import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { readRecords } from '../support/gateway.ts';
import { TestIssuer, TestJob } from '../support/issuer.ts';
import { type Program, runSallyport } from '../support/program.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PATH = '/v1/projects/p1';
const COPIES = 24;

let folder: string;
let upstream: RecordingUpstream;
let program: Program;
let origin: string;
let job: TestJob;
let token: string;

interface Reply {
  readonly status: number;
  readonly reason: string | undefined;
  readonly nonce: string | undefined;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-node-nonce-'));
  const issuer = await TestIssuer.create();
  issuer.writeJwks(join(folder, 'jwks.json'));
  job = await TestJob.create();
  token = await issuer.token(job.key.thumbprint);
  upstream = await startRecordingUpstream();
  const config = {
    version: 1,
    listen: { port: 0 },
    admin: { port: 0 },
    issuers: [{ issuer: issuer.issuer, jwks_file: 'jwks.json' }],
    dpop: { nonce: 'required' },
    policy: { path: join(ROOT, 'policies'), watch: false },
    routes: [
      {
        name: 'projects',
        path_prefix: '/v1',
        upstream: { url: upstream.origin },
        resource: 'https://cloud.example.com/v1',
        operations: join(ROOT, 'catalogs/demo_cloud.yaml'),
        replay: 'node_nonce',
      },
    ],
    audit: { sinks: [{ type: 'file', path: 'records.jsonl' }] },
    processes: 2,
  };
  writeFileSync(join(folder, 'gateway.yaml'), JSON.stringify(config));
  program = runSallyport(folder, 'gateway', '--config', 'gateway.yaml');
  await program.says('ready: http');
  origin = /ready: (http:\/\/127\.0\.0\.1:\d+)/.exec(program.text() + program.errors())?.[1] as string;
});

afterAll(async () => {
  program?.child.kill('SIGTERM');
  await program?.ended;
  await upstream?.close();
  rmSync(folder, { recursive: true, force: true });
});

function proofWith(nonce?: string): Promise<string> {
  const { privateKey, publicJwk, alg } = job.key;
  const url = origin + PATH;
  const parts = { privateKey, publicJwk, alg, method: 'GET', url, accessToken: token, clock: Date.now };
  return makeProof({ ...parts, ...(nonce !== undefined && { nonce }) });
}

/** Sends a proof: on a connection of its own, or on that of an agent. */
function send(proof: string, agent: Agent | false = false): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `DPoP ${token}`, dpop: proof };
    request(origin + PATH, { agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const problem = response.headers['content-type'] === 'application/problem+json';
        const reason = problem ? (JSON.parse(text) as { reason: string }).reason : undefined;
        const nonce = response.headers['dpop-nonce'] as string | undefined;
        resolve({ status: response.statusCode ?? 0, reason, nonce });
      });
    })
      .on('error', reject)
      .end();
  });
}

describe('RFC 9449 §11.1: single use at the node of the nonce, in two processes without Redis', () => {
  it(`of ${COPIES} copies of one proof, spread over both processes, exactly one passes`, async () => {
    const { nonce } = await send(await proofWith());
    const proof = await proofWith(nonce);
    const before = upstream.requests.length;
    const replies = await Promise.all(Array.from({ length: COPIES }, () => send(proof)));
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    const refused = new Set(
      replies.filter(({ status }) => status !== 200).map(({ status, reason }) => `${status} ${reason}`),
    );
    expect(refused).toEqual(new Set(['401 proof.replayed', '401 proof.nonce_stale']));
    expect(upstream.requests.length - before).toBe(1);
  });

  it('RFC 9449 §9: a client that keeps its connection is asked once', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      const asked = await send(await proofWith(), agent);
      expect(asked).toMatchObject({ status: 401, reason: 'proof.nonce_missing' });
      for (let i = 0; i < 5; i++) {
        expect(await send(await proofWith(asked.nonce), agent)).toMatchObject({ status: 200, nonce: undefined });
      }
    } finally {
      agent.destroy();
    }
  });

  it('every record says how', async () => {
    const records = await readRecords(join(folder, 'records.jsonl'), 1 + COPIES + 6);
    for (const record of records) expect(record).toMatchObject({ custom: { sallyport: { replay: 'node_nonce' } } });
  });
});
