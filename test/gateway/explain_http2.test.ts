import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { HOST, Http2Front, pseudo, reasonOf } from '../support/http2_front.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';

/** What the gateway answers itself, over HTTP/2: explanations and the doctor's questions. */

const TOKEN = 'a-doctors-token-of-more-than-32-characters';
let front: Http2Front;
beforeAll(async () => {
  front = await Http2Front.start({
    config: { doctor: { token_file: 'doctor.token' } },
    prepare: (folder) => writeFileSync(join(folder, 'doctor.token'), TOKEN, { mode: 0o600 }),
  });
});
afterAll(() => front.close());

async function ask(id: string, { privateKey, publicJwk, alg }: TestKey) {
  const path = `/.well-known/sallyport/decisions/${id}`;
  const url = `https://${HOST}${path}`;
  const proof = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, clock: Date.now });
  return (await front.send([...pseudo({ path }), ['dpop', proof]])).answer;
}

describe('over HTTP/2', () => {
  it('a decision is explained to the holder of the key, and to nobody else', async () => {
    const refused = await front.send(await front.good('GET', '/v1/projects/p2'));
    const { decision_id: id } = JSON.parse(refused.answer.body) as { decision_id: string };
    const mine = await ask(id, front.gateway.job.key);
    expect(mine.statuses).toEqual([200]);
    expect(JSON.parse(mine.body)).toMatchObject({
      decision_id: id,
      reason: 'policy.insufficient_authorization_details',
    });
    const theirs = await ask(id, await makeKey());
    expect([theirs.statuses, reasonOf(theirs)]).toEqual([[404], 'request.route_unknown']);
  });

  it('the operator is told how a request arrives, and nobody else', async () => {
    const path = '/.well-known/sallyport/doctor';
    const { answer, forwarded } = await front.send([
      ...pseudo({ path }),
      ['sallyport-doctor', TOKEN],
      ['dpop', 'x.y.z'],
    ]);
    expect([answer.statuses, forwarded]).toEqual([[200], 0]);
    expect(JSON.parse(answer.body)).toMatchObject({
      received: { target: path, credentials: { authorization: [], dpop: [{ length: 5 }] } },
      connection: { tls: true },
    });
    const other = await front.send([...pseudo({ path }), ['sallyport-doctor', `${TOKEN}x`]]);
    expect([other.answer.statuses, other.reason]).toEqual([[404], 'request.route_unknown']);
  });
});
