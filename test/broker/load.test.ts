import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { QueueBusy, TokenQueue } from '../../src/broker/token_queue.ts';
import { eventually } from '../support/eventually.ts';
import { makeKey } from '../support/issuer.ts';
import { BrokerJob, claimsOf, TestBroker } from './fixture.ts';
import { ServerFront } from './front.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

describe('many jobs at once', () => {
  it('1,000: each gets a token of its own, bound to its key', { timeout: 120_000 }, async () => {
    const test = await TestBroker.start({ config: { limits: { queue_timeout_ms: 30_000 } } });
    closing.push(() => test.close());
    const jobs = await Promise.all(
      Array.from({ length: 1000 }, (_, run) => BrokerJob.start(test, { run_id: String(run) })),
    );
    const answers = await Promise.all(jobs.map((job) => job.ask()));
    expect(answers.filter(({ status }) => status !== 200).map(({ status, body }) => [status, body])).toEqual([]);
    expect(new Set(answers.map(({ body }) => body['access_token'])).size).toBe(1000);
    expect(new Set(answers.map(({ body }) => body['job_id'])).size).toBe(1000);
    // No token of one job came to another.
    for (const [index, { body }] of answers.entries()) {
      expect(claimsOf(body['access_token'])).toMatchObject({
        cnf: { jkt: jobs[index]?.key.thumbprint },
        job: { run_id: String(index) },
      });
    }
  });

  /** A broker whose server answers token requests only when the test says so. */
  async function startHeld(config: Record<string, unknown>) {
    const front = await ServerFront.start();
    closing.push(() => front.close());
    const { connections, ...limits } = config;
    const test = await TestBroker.start({
      front,
      config: { authorization_server: { issuer: front.origin, connections, timeout_ms: 60_000 }, limits },
    });
    closing.push(() => test.close());
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    front.alter = async ({ path, answer }) => {
      if (path === '/token') await held;
      return answer;
    };
    const underWay = async (count: number) =>
      eventually(`${count} are under way`, async () => {
        const text = await (await fetch(`${test.broker.adminOrigin}/metrics`)).text();
        return text.includes(`sallyport_broker_requests_under_way ${count}\n`);
      });
    return { test, front, release, underWay };
  }

  it('one flight for each distinct request: copies of one get the same answer, everything else asks for itself', async () => {
    const { test, front, release, underWay } = await startHeld({ connections: 64 });
    const job = await BrokerJob.start(test);
    const proof = await job.proof();
    const copy = () => job.ask({ scope: 'projects:read' }, { dpop: proof });
    const copies = Array.from({ length: 20 }, copy);
    const distinct = [
      job.ask({ scope: 'builds:write' }), // Another body and proof.
      job.ask({ scope: 'projects:read' }), // Another proof.
      (await BrokerJob.start(test, {}, job.key)).ask({ scope: 'projects:read' }), // Another identity token.
    ];
    await underWay(4);
    release();
    const same = await Promise.all(copies);
    expect(same.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
    expect(new Set(same.map(({ body }) => body['access_token'])).size).toBe(1);
    const others = await Promise.all(distinct);
    expect(new Set([...same, ...others].map(({ body }) => body['access_token'])).size).toBe(4);
    expect(front.seen('POST', '/token')).toHaveLength(4);
    // The flight is over: the same again is another request, whose proof the server has seen.
    expect((await copy()).body['error']).toBe('invalid_dpop_proof');
  });

  it('a copy with another key, in the same moment, is not the same flight and gets nothing', async () => {
    const { test, release, underWay } = await startHeld({ connections: 64 });
    const job = await BrokerJob.start(test);
    const thief = await BrokerJob.start(test, {}, await makeKey());
    const good = job.ask();
    await underWay(1);
    const stolen = await thief.ask(undefined, { authorization: `Bearer ${job.identity}` });
    expect([stolen.status, stolen.body['reason']]).toEqual([401, 'broker.identity_used']);
    release();
    expect((await good).status).toBe(200);
  });

  it('1,000 jobs before a queue of 100: who has no place is told at once with Retry-After, everybody else is served, nobody waits for ever', {
    timeout: 120_000,
  }, async () => {
    const { test, front, release, underWay } = await startHeld({
      connections: 4,
      queue: 100,
      queue_timeout_ms: 30_000,
    });
    const jobs = await Promise.all(
      Array.from({ length: 1000 }, (_, run) => BrokerJob.start(test, { run_id: String(run) })),
    );
    let refused = 0;
    const answers = jobs.map(async (job) => {
      const answer = await job.ask();
      if (answer.status === 503) refused++;
      return answer;
    });
    await eventually('896 are refused while nothing moves', () => refused === 896, 90);
    await underWay(104);
    expect(front.seen('POST', '/token').length).toBe(4);
    release();
    const all = await Promise.all(answers);
    const served = all.filter(({ status }) => status === 200);
    expect(served).toHaveLength(104);
    expect(new Set(served.map(({ body }) => body['access_token'])).size).toBe(104);
    for (const { status, body, headers } of all.filter((one) => !served.includes(one))) {
      expect([status, body['reason'], Number(headers.get('retry-after')) > 0]).toEqual([
        503,
        'broker.queue_busy',
        true,
      ]);
    }
    await underWay(0);
    expect((await (await BrokerJob.start(test, { run_id: '0' }, jobs[0]?.key)).ask()).status).toBe(200);
  });

  it('one job has so many requests at the same time, and no more', async () => {
    const { test, release, underWay } = await startHeld({ connections: 64, requests_per_job: 3 });
    const job = await BrokerJob.start(test);
    const answers = [job.ask(), job.ask(), job.ask()];
    await underWay(3);
    const fourth = await job.ask();
    expect([fourth.status, fourth.body['reason'], fourth.headers.get('retry-after')]).toEqual([
      503,
      'broker.requests_of_job',
      '1',
    ]);
    release();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect((await job.ask()).status).toBe(200);
  });

  it('more than wait: 503 with Retry-After; the Retry-After of the server is honoured', async () => {
    let asked = 0;
    const server = createServer((request, response) => {
      if (request.url?.startsWith('/.well-known/oauth') === true) {
        const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ issuer, token_endpoint: `${issuer}/token` }));
        return;
      }
      asked++;
      response.writeHead(503, { 'retry-after': '77' }).end();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    closing.push(async () => void server.close());
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const test = await TestBroker.start({ issuer });
    closing.push(() => test.close());
    const first = await (await BrokerJob.start(test)).ask();
    expect([first.status, first.body['error'], first.headers.get('retry-after')]).toEqual([
      503,
      'temporarily_unavailable',
      '77',
    ]);
    const second = await (await BrokerJob.start(test, {}, await makeKey())).ask();
    expect(second.status).toBe(503);
    expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(60);
    expect(asked).toBe(1);
  });

  it('the queue is bounded in length and time', async () => {
    const queue = new TokenQueue({ connections: 1, limit: 1, timeoutMs: 50 });
    const { promise, resolve } = Promise.withResolvers<string>();
    const running = queue.run(() => promise);
    const waiting = queue.run(() => Promise.resolve('late'));
    await expect(queue.run(() => Promise.resolve('x'))).rejects.toThrow(QueueBusy);
    await expect(waiting).rejects.toThrow('waited for too long');
    resolve('done');
    expect(await running).toBe('done');
    expect(await queue.run(() => Promise.resolve('next'))).toBe('next');
    queue.close();
  });
});
