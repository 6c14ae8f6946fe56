import { afterEach, describe, expect, it } from 'vitest';
import { makeClientAssertion } from '../../src/oauth/client_assertion.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { BrokerJob, RESOURCE, TestBroker } from './fixture.ts';
import { drop, json, ServerFront } from './front.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A broker before a server at which a gateway can ask whether tokens are active. */
async function start() {
  const gatewayKey = await importSigningKey(await generatePrivateJwk());
  const front = await ServerFront.start();
  closing.push(() => front.close());
  const test = await TestBroker.start({
    front,
    server: {
      resource_servers: [
        { client_id: 'gateway', jwks: { keys: [gatewayKey.publicJwk] }, resources: [RESOURCE], token_format: 'opaque' },
      ],
    },
  });
  closing.push(() => test.close());
  const isActive = (token: unknown) => introspect(front.origin, gatewayKey, String(token));
  return { test, front, isActive };
}

async function introspect(issuer: string, key: SigningKey, token: string): Promise<boolean> {
  const assertion = await makeClientAssertion({ clientId: 'gateway', issuer, key, clock: Date.now });
  const body = new URLSearchParams({
    token,
    client_id: 'gateway',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  });
  const answer = await fetch(`${issuer}/introspect`, { method: 'POST', body });
  return ((await answer.json()) as { active: boolean }).active;
}

describe('RFC 7009: tokens that a job hands over when it ends', () => {
  it('are revoked at the authorization server; the record says how many', async () => {
    const { test, front, isActive } = await start();
    const job = await BrokerJob.start(test);
    const [first, second] = [await job.ask(), await job.ask()];
    expect([await isActive(first.body['access_token']), await isActive(second.body['access_token'])]).toEqual([
      true,
      true,
    ]);
    const form = new URLSearchParams(
      [first, second].map(({ body }): [string, string] => ['token', String(body['access_token'])]),
    );
    expect((await job.end(first.body['job_id'], {}, form)).status).toBe(204);
    expect([await isActive(first.body['access_token']), await isActive(second.body['access_token'])]).toEqual([
      false,
      false,
    ]);
    expect(front.seen('POST', '/revoke')).toHaveLength(2);
    expect(test.records().at(-1)).toMatchObject({ event: 'job_ended', revoked: 2 });
    expect(JSON.stringify([test.records(), test.lines])).not.toContain(String(first.body['access_token']));
  });

  it('a token of another client, or one that is bound to the key of another job, stays', async () => {
    const { test, front, isActive } = await start();
    const [job, other] = [await BrokerJob.start(test), await BrokerJob.start(test, { run_id: '2' })];
    const mine = await job.ask();
    const theirs = String((await other.ask()).body['access_token']);
    // What the server says to the token of another client.
    front.interfere = ({ path }) => (path === '/revoke' ? json(400, { error: 'unauthorized_client' }) : null);
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const bound = `${part({ alg: 'ES256' })}.${part({ cnf: { jkt: other.key.thumbprint } })}.c2ln`;
    const form = new URLSearchParams([
      ['token', theirs],
      ['token', bound],
    ]);
    expect((await job.end(mine.body['job_id'], {}, form)).status).toBe(204);
    expect(test.records().at(-1)).toMatchObject({ event: 'job_ended', revoked: 0 });
    expect(front.seen('POST', '/revoke')).toHaveLength(1);
    expect(await isActive(theirs)).toBe(true);
  });

  it.each([
    ['is away', drop],
    ['answers 503', json(503, {})],
  ])('a server that %s does not keep the job from ending', async (_name, interference) => {
    const { test, front } = await start();
    const job = await BrokerJob.start(test);
    const { body } = await job.ask();
    front.interfere = ({ path }) => (path === '/revoke' ? interference : null);
    expect(
      (await job.end(body['job_id'], {}, new URLSearchParams({ token: String(body['access_token']) }))).status,
    ).toBe(204);
    expect(test.records().at(-1)).toMatchObject({ event: 'job_ended', revoked: 0 });
    expect((await job.ask()).body['reason']).toBe('broker.job_ended');
  });

  it('ten at most are looked at, and a body that is no form ends the job all the same or is refused', async () => {
    const { test, front } = await start();
    const job = await BrokerJob.start(test);
    const { body } = await job.ask();
    const id = body['job_id'];
    expect((await job.end(id, { 'content-type': 'application/json' }, new URLSearchParams('token=x'))).status).toBe(
      400,
    );
    expect((await job.end(id, {}, new URLSearchParams(`token=${'x'.repeat(70_000)}`))).status).toBe(413);
    const many = new URLSearchParams(
      Array.from({ length: 50 }, (_, count): [string, string] => ['token', `t${count}`]),
    );
    expect((await job.end(id, {}, many)).status).toBe(204);
    expect(front.seen('POST', '/revoke')).toHaveLength(10);
  });

  it('a token that came after the job had ended is not handed out, and is revoked', async () => {
    const { test, front, isActive } = await start();
    const job = await BrokerJob.start(test);
    const { body } = await job.ask();
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const issued = Promise.withResolvers<string>();
    front.alter = async ({ path, answer }) => {
      if (path !== '/token') return answer;
      issued.resolve((JSON.parse(answer) as { access_token: string }).access_token);
      await held;
      return answer;
    };
    const late = job.ask();
    const token = await issued.promise;
    expect(await isActive(token)).toBe(true);
    expect((await job.end(body['job_id'])).status).toBe(204);
    release();
    const refused = await late;
    expect([refused.status, refused.body['reason']]).toEqual([403, 'broker.job_ended']);
    await expect.poll(() => isActive(token)).toBe(false);
  });
});
