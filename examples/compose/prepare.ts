/**
 * Makes the keys of one workflow and one job for docker-compose.yml: `npm run compose:keys`, once, before `docker compose up`. An argument
 * names another folder than state/ beside this file.
 */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { prepareFolder, saveSession } from '../../src/demo/session.ts';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';

const folder = process.argv[2] ?? fileURLToPath(new URL('state', import.meta.url));
const clientKey = await generatePrivateJwk();
const { publicJwk } = await importSigningKey(clientKey);
await prepareFolder(folder);
await writeFile(`${folder}/client.jwks.json`, JSON.stringify({ keys: [publicJwk] }), { mode: 0o644 });
await saveSession(folder, {
  gateway: 'http://127.0.0.1:8080',
  issuer: 'http://127.0.0.1:9100',
  clientId: 'acme-infra-deploy',
  resource: 'http://127.0.0.1:8080/v1',
  scopes: ['projects:read', 'builds:read', 'builds:write'],
  authorizationDetails: [
    {
      type: 'cloud_api',
      actions: ['projects.get', 'builds.list', 'builds.get', 'builds.create'],
      identifier: 'projects/p1',
    },
  ],
  job: { ref: 'refs/heads/main', ref_protected: true, environment: 'production', event: 'push', run_id: '1001' },
  clientKey,
  jobKey: await generatePrivateJwk(),
});
console.log(`wrote ${folder}; next: docker compose up -d`);
