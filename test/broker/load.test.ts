import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { QueueBusy, TokenQueue } from '../../src/broker/token_queue.ts';
import { makeKey } from '../support/issuer.ts';
import { BrokerJob, TestBroker } from './fixture.ts';

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
