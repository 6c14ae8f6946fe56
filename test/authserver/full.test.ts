import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { makeClients } from '../../src/authserver/clients.ts';
import { makeEndpoints } from '../../src/authserver/endpoints.ts';
import { Issuance } from '../../src/authserver/issuance.ts';
import { makeProvider } from '../../src/authserver/provider.ts';
import { loadSigningKeys } from '../../src/authserver/signing_keys.ts';
import { UsedIds } from '../../src/authserver/used_ids.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import { assertionFor, proofFor, RESOURCE, recordingLog, requestToken, startTestServer } from './fixture.ts';

describe('when no more identifiers can be remembered', () => {
  it.each([
    ['for assertions', 0],
    ['for proofs', 1],
  ])('503 with Retry-After, %s: single use is never given up', async (_what, limit) => {
    const real = await startTestServer();
    const { log } = recordingLog();
    const jwks = { keys: [real.clientKey.publicJwk] };
    const client = { client_id: 'ci', jwks, resources: [RESOURCE], scopes: ['builds:write'] };
    const config = parseAuthServerConfig(
      { version: 1, signing_keys_file: 'keys.json', clients: [client] },
      real.directory,
    );
    const clients = makeClients(config);
    const keys = await loadSigningKeys(config.signing_keys_file, log);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const issuance = new Issuance({ issuer, clients, used: new UsedIds(Date.now, limit), clock: Date.now });
    server.on('request', makeEndpoints(makeProvider({ issuer, clients, keys, issuance, log }), issuer));
    const small = { ...real, issuer, address: issuer };
    const answer = await requestToken(small, { assertion: await assertionFor(small), proof: await proofFor(small) });
    expect(answer).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } });
    expect(answer.headers.get('retry-after')).toBe('5');
    await real.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
