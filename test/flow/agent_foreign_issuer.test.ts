import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { ScriptedGateway, setAgentScene } from '../agent/scene.ts';
import { startForeignAuthServer } from '../support/foreign_authserver.ts';

it.each(['ES256', 'EdDSA'])(
  'a job with an %s key gets its token from an authorization server that is not ours',
  async (key) => {
    const clientJwk = await generatePrivateJwk();
    const { publicJwk } = await importSigningKey(clientJwk);
    const foreign = await startForeignAuthServer({ clientJwk: { ...publicJwk }, alg: 'PS256', path: '/tenants/a' });
    const scene = await setAgentScene();
    const gateway = await ScriptedGateway.start();
    const file = join(scene.folder, 'foreign.jwk.json');
    writeFileSync(file, JSON.stringify(clientJwk), { mode: 0o600 });
    const server = { issuer: foreign.issuer, client_id: 'foreign-ci', private_key_file: file };
    const agent = await scene.start(gateway.origin, {
      config: { key, authorization_server: server },
      api: { scopes: ['projects:read'] },
    });
    expect((await fetch(`${agent.url}/x`)).status).toBe(200);
    const token = String(gateway.received[0]?.headers.authorization).replace('DPoP ', '');
    expect(decodeJwt(token)).toMatchObject({ iss: foreign.issuer, cnf: { jkt: agent.thumbprint } });
    await agent.end();
    await gateway.close();
    await foreign.close();
    await scene.close();
  },
);
