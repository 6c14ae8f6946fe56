import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { CEILING, RESOURCE, TestBroker } from './fixture.ts';
import { ServerFront } from './front.ts';

const TOKEN = 'initial-0123456789abcdef0123456789abcdef';

/** One client as the broker keeps it. */
export interface KeptClient {
  workflow: string;
  clientId: string;
  management: { uri: string; token: string } | null;
  keys: { kid: string; d: string }[];
  signs: string;
  registered: string;
}

/** A broker whose workflow is registered at this project's authorization server, behind a front. The broker is not started. */
export async function prepareRegistering(
  closing: (() => Promise<unknown>)[],
  config: Record<string, unknown> = {},
): Promise<{ test: TestBroker; front: ServerFront }> {
  const front = await ServerFront.start();
  closing.push(() => front.close());
  const test = await TestBroker.prepare({
    front,
    workflow: { client: undefined },
    server: {
      registration: {
        initial_access_tokens: [{ name: 'ci', token_file: 'registration.token', resources: [RESOURCE], ...CEILING }],
      },
    },
    before: (folder) => writeFileSync(join(folder, 'registration.token'), TOKEN, { mode: 0o600 }),
    config: {
      authorization_server: {
        issuer: front.origin,
        timeout_ms: 2000,
        registration: { initial_access_token_file: 'registration.token' },
      },
      ...config,
    },
  });
  closing.push(() => test.close());
  return { test, front };
}

/** The clients in the state folder. */
export function keptClients(test: TestBroker): KeptClient[] {
  const text = readFileSync(join(test.folder, 'state/clients.json'), 'utf8');
  return (JSON.parse(text) as { clients: KeptClient[] }).clients;
}

/** Waits until the workflow has a client. */
export async function registered(test: TestBroker): Promise<KeptClient> {
  await eventually('a client is registered', () => (keptClients(test)[0]?.registered ?? '') !== '');
  return keptClients(test)[0] as KeptClient;
}

/** Everything that is written anywhere in the folder of a broker. */
export function everythingWritten(test: TestBroker): string {
  return readdirSync(test.folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');
}

/** What /readyz says of the clients. */
export async function clientsCheck(test: TestBroker): Promise<string> {
  const answer = await fetch(`${test.broker.adminOrigin}/readyz`);
  const { checks } = (await answer.json()) as { checks: { name: string; detail?: string }[] };
  return checks.find(({ name }) => name === 'clients')?.detail ?? '';
}
