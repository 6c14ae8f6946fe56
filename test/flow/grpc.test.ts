import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { HOST, Http2Front } from '../support/http2_front.ts';

/** gRPC end to end: a real client, the gateway with TLS, a real server that speaks HTTP/2 without TLS. */

const SERVICE = '/deploy.v1.Deployments';
const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `${SERVICE}/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const CATALOGUE = `service: deployments
operations:
  - { name: deployments.get, request: "POST ${SERVICE}/Get", resource: deployments, access: read, scopes: [a] }
  - { name: deployments.watch, request: "POST ${SERVICE}/Watch", resource: deployments, access: read, scopes: [a] }
  - { name: deployments.collect, request: "POST ${SERVICE}/Collect", resource: deployments, access: write, scopes: [a] }
  - { name: deployments.chat, request: "POST ${SERVICE}/Chat", resource: deployments, access: write, scopes: [a] }
`;
const POLICY = `package sallyport

default decision := {"allow": false}

decision := {"allow": true} if input.operation.service == "deployments"
`;

const folder = mkdtempSync(join(tmpdir(), 'sallyport-grpc-'));
const server = new grpc.Server();
const cancelled: string[] = [];
let seen: grpc.Metadata | null = null;
let front: Http2Front;
let client: grpc.Client;

const fail = (code: grpc.status, details: string): Partial<grpc.StatusObject> => {
  const metadata = new grpc.Metadata();
  metadata.set('x-secret', 'not-for-callers');
  metadata.set('retry-info', 'later');
  return { code, details, metadata };
};

beforeAll(async () => {
  server.addService(
    {
      Get: method('Get', false, false),
      Watch: method('Watch', false, true),
      Collect: method('Collect', true, false),
      Chat: method('Chat', true, true),
    } as grpc.ServiceDefinition,
    {
      Get: (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
        seen = call.metadata;
        const text = call.request.toString();
        // Without this, an error comes as one header section and no trailers.
        if (text === 'fail') call.sendMetadata(new grpc.Metadata());
        if (text === 'fail') answer(fail(grpc.status.NOT_FOUND, 'no such deployment: ä'));
        else answer(null, Buffer.from(`got ${text}`));
      },
      Watch: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        call.on('cancelled', () => cancelled.push('Watch'));
        const count = Number(call.request.toString());
        for (let n = 0; n < count; n++) call.write(Buffer.from(`event ${n}`));
        if (count > 0) call.end();
        else call.write(Buffer.from('first'));
      },
      Collect: (call: grpc.ServerReadableStream<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
        let bytes = 0;
        call.on('data', (part: Buffer) => {
          bytes += part.length;
        });
        call.on('end', () => answer(null, Buffer.from(String(bytes))));
      },
      Chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (part: Buffer) => call.write(Buffer.from(`echo ${part.toString()}`)));
        call.on('end', () => call.end());
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  writeFileSync(join(folder, 'grpc.yaml'), CATALOGUE);
  const url = `http://127.0.0.1:${port}`;
  front = await Http2Front.start({
    upstream: url,
    artifact: await compilePolicy(POLICY),
    config: { limits: { request_timeout_ms: 1000 } },
    route: {
      path_prefix: SERVICE,
      operations: join(folder, 'grpc.yaml'),
      upstream: { url, protocol: 'http2', timeout_ms: 3000 },
      methods: ['POST'],
      streaming: true,
      trailers: { response: ['grpc-status', 'grpc-message', 'grpc-status-details-bin', 'retry-info'] },
    },
  });
  client = new grpc.Client(`127.0.0.1:${front.port}`, grpc.credentials.createSsl(Buffer.from(front.ca)), {
    'grpc.ssl_target_name_override': HOST,
    'grpc.default_authority': HOST,
  });
});
afterAll(async () => {
  client.close();
  await front.close();
  server.forceShutdown();
  rmSync(folder, { recursive: true, force: true });
});

async function metadata(name: string, claims: Record<string, unknown> = {}): Promise<grpc.Metadata> {
  const fields = new grpc.Metadata();
  const token = await front.gateway.token(claims);
  for (const [key, value] of await front.credentials('POST', `${SERVICE}/${name}`, token)) fields.set(key, value);
  return fields;
}

function unary(fields: grpc.Metadata, text: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(`${SERVICE}/Get`, same, same, Buffer.from(text), fields, (error, value) =>
      error ? reject(error) : resolve(value as Buffer),
    );
  });
}

async function collect(stream: AsyncIterable<Buffer>): Promise<string[]> {
  const parts: string[] = [];
  for await (const part of stream) parts.push(part.toString());
  return parts;
}

const lastRecord = async () => {
  await front.skipRecords();
  return (await front.gateway.records(1)).at(-1)?.['custom'] as { sallyport: Record<string, unknown> };
};

describe('gRPC through the gateway', () => {
  it('unary: the answer, its status, and no credential upstream', async () => {
    expect((await unary(await metadata('Get'), 'one')).toString()).toBe('got one');
    expect(seen?.get('authorization')).toEqual([]);
    expect(seen?.get('dpop')).toEqual([]);
    expect(seen?.get('sallyport-operation')).toEqual(['deployments/deployments.get']);
    await eventually('the record', async () => (await lastRecord()).sallyport['outcome'] === 'allowed');
    expect((await lastRecord()).sallyport).toMatchObject({
      protocol: 'HTTP/2',
      upstream: { complete: true, status: 200 },
    });
  });

  it('trailers: status and message of the server reach the client, others only by name', async () => {
    const error = (await unary(await metadata('Get'), 'fail').catch((problem) => problem)) as grpc.ServiceError;
    expect([error.code, error.details]).toEqual([grpc.status.NOT_FOUND, 'no such deployment: ä']);
    expect(error.metadata.get('retry-info')).toEqual(['later']);
    expect(error.metadata.get('x-secret')).toEqual([]);
  });

  it('server streaming: every message, in order', async () => {
    const stream = client.makeServerStreamRequest(
      `${SERVICE}/Watch`,
      same,
      same,
      Buffer.from('500'),
      await metadata('Watch'),
    );
    expect(await collect(stream)).toEqual(Array.from({ length: 500 }, (_, n) => `event ${n}`));
  });

  it('server streaming: what was sent is there at once, and a client that cancels ends the call upstream', async () => {
    const stream = client.makeServerStreamRequest(
      `${SERVICE}/Watch`,
      same,
      same,
      Buffer.from('0'),
      await metadata('Watch'),
    );
    stream.on('error', () => undefined);
    const [first] = (await new Promise((resolve) => stream.once('data', (part) => resolve([part])))) as [Buffer];
    expect(first.toString()).toBe('first');
    stream.cancel();
    await eventually('the server is told', () => cancelled.includes('Watch'));
  });

  it('client streaming: two megabytes', async () => {
    const fields = await metadata('Collect');
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const stream = client.makeClientStreamRequest(`${SERVICE}/Collect`, same, same, fields, (error, value) =>
        error ? reject(error) : resolve(value as Buffer),
      );
      for (let n = 0; n < 40; n++) stream.write(Buffer.alloc(50_000));
      stream.end();
    });
    expect(answer.toString()).toBe('2000000');
  });

  it('bidirectional: lasts longer than a whole request may, as long as its pauses are short', async () => {
    const stream = client.makeBidiStreamRequest(`${SERVICE}/Chat`, same, same, await metadata('Chat'));
    const parts: string[] = [];
    const ended = new Promise<void>((resolve, reject) => stream.once('end', resolve).once('error', reject));
    stream.on('data', (part: Buffer) => parts.push(part.toString()));
    for (let n = 0; n < 6; n++) {
      stream.write(Buffer.from(String(n)));
      await eventually('the echo', () => parts.length === n + 1);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    stream.end();
    await ended;
    expect(parts).toEqual(['0', '1', '2', '3', '4', '5'].map((n) => `echo ${n}`));
  });

  it('a refusal has the gRPC status of its HTTP status', async () => {
    const without = (await unary(new grpc.Metadata(), 'one').catch((problem) => problem)) as grpc.ServiceError;
    expect(without.code).toBe(grpc.status.UNAUTHENTICATED);
    const other = (await unary(await metadata('Watch'), 'one').catch((problem) => problem)) as grpc.ServiceError;
    expect(other.code).toBe(grpc.status.UNAUTHENTICATED);
    const denied = (await new Promise<unknown>((resolve) => {
      void metadata('Nothing').then((fields) =>
        client.makeUnaryRequest(`${SERVICE}/Nothing`, same, same, Buffer.from('x'), fields, (error) => resolve(error)),
      );
    })) as grpc.ServiceError;
    expect(denied.code).toBe(grpc.status.PERMISSION_DENIED);
  });

  it('forward.upstream_broken: a server that goes away in the middle is told as an error', async () => {
    const stream = client.makeServerStreamRequest(
      `${SERVICE}/Watch`,
      same,
      same,
      Buffer.from('0'),
      await metadata('Watch'),
    );
    await new Promise((resolve) => stream.once('data', resolve));
    const failed = new Promise<grpc.ServiceError>((resolve) => stream.once('error', resolve));
    server.forceShutdown();
    expect((await failed).code).not.toBe(grpc.status.OK);
    await eventually('the record', async () => (await lastRecord()).sallyport['reason'] === 'forward.upstream_broken');
    const late = (await unary(await metadata('Get'), 'one').catch((problem) => problem)) as grpc.ServiceError;
    expect(late.code).toBe(grpc.status.UNAVAILABLE);
  });
});
