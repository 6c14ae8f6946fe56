import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningDemoCloud, startDemoCloud } from '../../src/demo/cloud.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { type AgentScene, setAgentScene, type TestAgent } from '../agent/scene.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { makeKey } from '../support/issuer.ts';
import { exchange } from '../support/raw_client.ts';

/** Somebody reads the traffic between agent and gateway, byte for byte, and uses what he read. Everything here is real but the thief. */

let scene: AgentScene;
let cloud: RunningDemoCloud;
let gateway: TestGateway;
let agent: TestAgent;
let wire: Server;
let read = '';

beforeAll(async () => {
  scene = await setAgentScene();
  cloud = await startDemoCloud({ port: 0 });
  wire = createServer((socket) => {
    const other = connect(gateway.port, '127.0.0.1');
    socket.on('data', (chunk) => {
      read += chunk.toString('latin1');
    });
    socket.pipe(other).pipe(socket);
    for (const end of [socket, other]) end.on('error', () => undefined);
  });
  await new Promise<void>((done) => wire.listen(0, '127.0.0.1', done));
  const origin = `http://127.0.0.1:${(wire.address() as AddressInfo).port}`;
  gateway = await startTestGateway({
    upstream: cloud.origin,
    config: { issuers: [{ issuer: scene.authserver.issuer }], public_origin: origin },
  });
  agent = await scene.start(origin);
});
afterAll(async () => {
  await agent.end();
  await gateway.close();
  await cloud.close();
  await scene.close();
  wire.close();
});

const reasonOf = (body: string | undefined) => (JSON.parse(body ?? '{}') as { reason?: string }).reason;

describe("a token that was copied out of the agent's traffic", () => {
  it('worked for the job, and for nobody else', async () => {
    expect((await fetch(`${agent.url}/projects/p1`)).status).toBe(200);
    const message = read;
    const token = /^authorization: DPoP (\S+)\r$/im.exec(message)?.[1] ?? '';
    const host = /^host: (\S+)\r$/im.exec(message)?.[1] ?? '';
    expect(token).toMatch(/^eyJ/);

    const [replayed] = await exchange(gateway.port, message);
    expect([replayed?.status, reasonOf(replayed?.body)]).toEqual([401, 'proof.replayed']);

    const [elsewhere] = await exchange(gateway.port, message.replace('/v1/projects/p1', '/v1/projects/p1/builds'));
    expect(elsewhere?.status).toBe(401);

    const thief = await makeKey();
    const { privateKey, publicJwk } = thief;
    const url = `http://${host}/v1/projects/p1`;
    const proof = await makeProof({ privateKey, publicJwk, method: 'GET', url, accessToken: token, clock: Date.now });
    const own = `GET /v1/projects/p1 HTTP/1.1\r\nHost: ${host}\r\nAuthorization: DPoP ${token}\r\nDPoP: ${proof}\r\n\r\n`;
    const [stranger] = await exchange(gateway.port, own);
    expect([stranger?.status, reasonOf(stranger?.body)]).toEqual([401, 'proof.key_mismatch']);

    const bearer = `GET /v1/projects/p1 HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    const [bare] = await exchange(gateway.port, bearer);
    expect([bare?.status, reasonOf(bare?.body)]).toEqual([401, 'proof.bound_token_as_bearer']);

    expect((await fetch(`${agent.url}/projects/p1`)).status).toBe(200);
  });
});
