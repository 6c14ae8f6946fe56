import { shortened } from '../../src/demo/words.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { generateSigningKey } from '../../src/oauth/signing_key.ts';
import type { Overheard } from './eavesdropper.ts';
import type { Play } from './job.ts';
import { sendRaw } from './raw.ts';
import type { Stage } from './stage.ts';

/** A copied token, without its scheme. */
export function tokenOf(overheard: Overheard | undefined): string {
  return (overheard?.field('authorization') ?? '').replace(/^DPoP /, '');
}

/** A copied request with a proof by the thief's own key. */
export async function withOwnKey(stage: Stage, copied: Overheard | undefined): Promise<string> {
  const { method = '', target = '', field } = copied ?? {};
  const { privateKey, publicJwk, alg } = await generateSigningKey('ES256');
  const [accessToken, url] = [tokenOf(copied), stage.front.origin + target];
  const proof = await makeProof({ privateKey, publicJwk, alg, method, url, accessToken, clock: Date.now });
  const host = field?.('host') ?? '';
  return requestOf(method, target, [
    ['Host', host],
    ['Authorization', `DPoP ${accessToken}`],
    ['DPoP', proof],
  ]);
}

/** Somebody read the traffic between agent and gateway, and uses what he read. */
export async function steal(play: Play): Promise<void> {
  const { story, stage, overheard } = play;
  const copied = overheard.get('cloud');
  story.ensure('the traffic was read', copied !== undefined);
  const { method = '', target = '', head = '', field } = copied ?? {};
  const token = tokenOf(copied);
  const host = field?.('host') ?? '';
  story.row(
    'copied',
    `${method} ${target}, Authorization: DPoP ${shortened(token)}, DPoP: ${shortened(field?.('dpop') ?? '')}`,
  );
  await attempt(play, 'byte for byte, again', head, 'proof.replayed');
  await attempt(play, 'token and proof for another path', head.replace(target, `${target}/builds`), 'proof.target');
  await attempt(
    play,
    'the token with a proof by a key of his own',
    await withOwnKey(stage, copied),
    'proof.key_mismatch',
  );
  const bearer = requestOf(method, target, [
    ['Host', host],
    ['Authorization', `Bearer ${token}`],
  ]);
  await attempt(play, 'the token as a bearer token', bearer, 'proof.bound_token_as_bearer');
  const around = await sendRaw(new URL(stage.apis.origins.cloud).port, bearer);
  story.bad('tried', `around the gateway, at the cloud itself: ${around.status}`);
  story.expect('what the cloud says to the token', [around.status, around.reason], [401, undefined]);
}

async function attempt({ story, stage, records }: Play, what: string, message: string, reason: string): Promise<void> {
  const { status, reason: seen } = await sendRaw(stage.gateway.port, message);
  story.bad('tried', `${what}: ${status} ${seen}`);
  story.expect(`the answer to ${what}`, [status, seen], [401, reason]);
  await records.tell([`refused: ${reason}`]);
}

function requestOf(method: string, target: string, fields: readonly (readonly [string, string])[]): string {
  return [
    `${method} ${target} HTTP/1.1`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n');
}
