import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { Notices } from '../../src/agent/notices.ts';
import { parseAgentConfig } from '../../src/config/load_agent.ts';
import { BrokerJob, CEILING, claimsOf, RESOURCE, TestBroker } from './fixture.ts';
import { ServerFront } from './front.ts';

let front: ServerFront;
let test: TestBroker;

beforeAll(async () => {
  front = await ServerFront.start();
  test = await TestBroker.start({ front, server: { dpop: { nonce: 'required' } } });
});
afterAll(async () => {
  await test.close();
  await front.close();
});

describe('RFC 9449 §8: an authorization server that demands nonces, behind the broker', () => {
  it('400 use_dpop_nonce with DPoP-Nonce; the same identity token with a new proof gets the token, and the next nonce', async () => {
    const job = await BrokerJob.start(test);
    const first = await job.ask();
    expect([first.status, first.body['error'], first.body['reason']]).toEqual([
      400,
      'use_dpop_nonce',
      'broker.server_refused',
    ]);
    const nonce = first.headers.get('dpop-nonce') ?? '';
    expect(nonce).toMatch(/^[\x21\x23-\x5B\x5D-\x7E]+$/);
    expect(test.records().at(-1)).toMatchObject({ event: 'token_refused', error: 'use_dpop_nonce', status: 400 });
    const second = await job.ask(undefined, { dpop: await job.proof(undefined, nonce) });
    expect([second.status, second.body['error_description']]).toEqual([200, undefined]);
    expect(claimsOf(second.body['access_token'])).toMatchObject({ cnf: { jkt: job.key.thumbprint } });
    expect(test.records().at(-1)).toMatchObject({ event: 'token_issued', jkt: job.key.thumbprint });
  });

  it('a proof that was passed on once is refused by the server the second time: the broker never repeats one', async () => {
    const job = await BrokerJob.start(test);
    const nonce = (await job.ask()).headers.get('dpop-nonce') ?? '';
    const proof = await job.proof(undefined, nonce);
    const before = front.seen('POST', '/token').length;
    expect((await job.ask(undefined, { dpop: proof })).status).toBe(200);
    const again = await job.ask(undefined, { dpop: proof });
    expect([again.status, again.body['error'], again.body['reason']]).toEqual([
      400,
      'invalid_dpop_proof',
      'broker.server_refused',
    ]);
    expect(front.seen('POST', '/token')).toHaveLength(before + 2);
  });

  it('a nonce that somebody made up: the server gives another', async () => {
    const job = await BrokerJob.start(test);
    const { status, body, headers } = await job.ask(undefined, { dpop: await job.proof(undefined, 'made-up') });
    expect([status, body['error']]).toEqual([400, 'use_dpop_nonce']);
    expect(headers.get('dpop-nonce')).not.toBeNull();
  });

  it('what the broker passes on is the proof as the job made it, with its own client assertion, and nothing of the identity token', async () => {
    const job = await BrokerJob.start(test);
    const proof = await job.proof();
    await job.ask(undefined, { dpop: proof });
    const passed = front.seen('POST', '/token').at(-1);
    expect(passed?.headers['dpop']).toBe(proof);
    expect(passed?.headers.authorization).toBeUndefined();
    const form = new URLSearchParams(passed?.body);
    expect([...form.keys()].sort()).toEqual([
      'client_assertion',
      'client_assertion_type',
      'client_id',
      'grant_type',
      'resource',
      'scope',
    ]);
    expect(claimsOf(form.get('client_assertion'))).toMatchObject({
      iss: 'deploy',
      sub: 'deploy',
      aud: front.origin,
      job: { run_id: '1001' },
    });
    expect(JSON.stringify(passed)).not.toContain(job.identity);
  });

  it('the agent of a job: asks, gets the nonce, asks again with another proof, has its token', async () => {
    const said: string[] = [];
    const before = front.seen('POST', '/token').length;
    const agent = await startAgent({
      config: parseAgentConfig(
        {
          version: 1,
          broker: { url: test.broker.origin, identity: { source: 'gitlab' } },
          apis: [{ name: 'cloud', url: RESOURCE, scopes: CEILING.scopes }],
        },
        'test',
      ),
      variables: { SALLYPORT_ID_TOKEN: await test.ci.token({ run_id: 'agent' }) },
      notices: new Notices((line) => void said.push(line)),
      clock: Date.now,
      user: null,
    });
    expect(
      front
        .seen('POST', '/token')
        .slice(before)
        .map(({ status }) => status),
    ).toEqual([400, 200]);
    const issued = test.records().filter(({ event, run_id }) => event === 'token_issued' && run_id === 'agent');
    expect(issued).toMatchObject([{ jkt: agent.thumbprint, granted: { scope: CEILING.scopes.join(' ') } }]);
    await agent.end();
    expect(test.records().at(-1)).toMatchObject({ event: 'job_ended', by: 'job', run_id: 'agent' });
    expect(said).toEqual([]);
  });
});
