import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Contender, Setting } from '../../bench/contenders/contender.ts';
import { startGateway } from '../../bench/contenders/gateway.ts';
import { startNodeProxy } from '../../bench/contenders/node_proxies.ts';
import { readGarbage } from '../../bench/garbage.ts';
import { expectRefusals, measure } from '../../bench/measure.ts';
import { freePort, Place } from '../../bench/place.ts';
import { median } from '../../bench/report.ts';
import { makeCaller, makeRequests } from '../../bench/requests.ts';

/** A usual run shows about 4; what doubles the cost of a request is seen, what a busy machine does is not. */
const BOUND = 8;
const ROUNDS = 3;
const REQUESTS = 1000;
/** Bounds a machine on which everything takes long; nothing is judged by it. */
const PATIENCE_MS = 120_000;
/** Bytes that a request may leave to the collector of the old generation. A usual run shows about 400, and 10,000 with a Set of what is under way. */
const LEFT_BOUND = 2500;
const LEFT_REQUESTS = 2000;
const STREAM_PART = Buffer.alloc(65_536, 'x');
/** 512 MB: without care 8 collections of the whole heap, and some of them remain where sweeping is late. */
const STREAM_PARTS = 8192;

describe('cost of a request, by the processor time of whole processes in one run', () => {
  const place = new Place();
  let upstream: Server;
  let setting: Setting;
  let gateway: Contender;
  let proxy: Contender;

  beforeAll(async () => {
    const body = JSON.stringify({ data: 'x'.repeat(1013) });
    upstream = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
    }).listen(0, '127.0.0.1');
    await once(upstream, 'listening');
    const { port: upstreamPort } = upstream.address() as AddressInfo;
    setting = { place, caller: makeCaller(await freePort()), upstreamPort, cpus: undefined };
    gateway = await startGateway(setting, { processes: 1, redisCpus: undefined });
    proxy = await startNodeProxy('undici', setting);
  });

  afterAll(async () => {
    await place.close();
    upstream.close();
  });

  it(
    `the whole chain costs at most ${BOUND} times what a bare undici proxy costs, and lets nothing through for it`,
    async () => {
      const ratios: number[] = [];
      for (let round = 0; round <= ROUNDS; round++) {
        const requests = await makeRequests(setting.caller, 'get', REQUESTS);
        const bare = await measure(proxy, requests, { connections: 16, status: 200 });
        const whole = await measure(gateway, requests, { connections: 16, status: 200 });
        await expectRefusals(gateway, setting.caller, requests);
        if (round > 0) ratios.push(whole.cpuUs / bare.cpuUs); // The first round warms both up.
      }
      expect(median(ratios)).toBeLessThan(BOUND);
    },
    PATIENCE_MS,
  );

  it(
    `a request leaves at most ${LEFT_BOUND} bytes behind that only a full collection frees`,
    async () => {
      const name = 'traced';
      const traced = await startGateway(setting, {
        processes: 1,
        redisCpus: undefined,
        name,
        nodeFlags: ['--trace-gc'],
      });
      const printed = () => readFileSync(join(place.folder, `${name}.log`), 'latin1');
      const send = async () =>
        measure(traced, await makeRequests(setting.caller, 'get', LEFT_REQUESTS), { connections: 32, status: 200 });
      await send();
      const { length } = printed();
      await send();
      const { collections, kept } = readGarbage(printed().slice(length));
      expect(collections).toBeGreaterThan(5);
      expect(kept / LEFT_REQUESTS).toBeLessThan(LEFT_BOUND);
    },
    PATIENCE_MS,
  );

  it(
    'a long answer passes without one collection of the whole heap for each 64 MB of it',
    async () => {
      const name = 'traced-stream';
      const long = createServer((_request, response) => {
        response.writeHead(200, { 'content-length': STREAM_PARTS * STREAM_PART.length });
        Readable.from(Array.from({ length: STREAM_PARTS }, () => STREAM_PART)).pipe(response);
      }).listen(0, '127.0.0.1');
      await once(long, 'listening');
      const { port: upstreamPort } = long.address() as AddressInfo;
      const run = { processes: 1, redisCpus: undefined, name, nodeFlags: ['--trace-gc'] } as const;
      const traced = await startGateway({ ...setting, upstreamPort }, run);
      const printed = () => readFileSync(join(place.folder, 'traced_stream.log'), 'latin1');
      const send = async () => {
        const requests = await makeRequests(setting.caller, 'get', 1);
        await measure(traced, requests, { connections: 1, status: 200 });
      };
      await send();
      const { length } = printed();
      await send();
      const { collections, full } = readGarbage(printed().slice(length));
      // One for each 8 MB.
      expect(collections).toBeGreaterThanOrEqual(60);
      expect(full).toBeLessThan(6);
      long.close();
    },
    PATIENCE_MS,
  );
});
