import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateTableCommand, DynamoDBClient, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import { startDemoCloud } from '../../src/demo/cloud.ts';
import { listen } from '../../src/net/listen.ts';
import { createKubernetesApi } from './kubernetes_api.ts';

/** Ports of loopback; 0: any free one. */
export interface ApiPorts {
  readonly cloud: number;
  readonly dynamodb: number;
  readonly kubernetes: number;
}

/** The three APIs that stand behind the gateway. */
export interface RunningApis {
  readonly origins: Readonly<Record<keyof ApiPorts, string>>;
  /** What each takes calls with, and its gateway alone knows. */
  readonly credentials: Readonly<Record<keyof ApiPorts, string>>;
  close(): Promise<void>;
}

/**
 * Starts what is to be protected: the cloud of the demo, a server of DynamoDB's protocol with one table, and a small Kubernetes API. Their
 * credentials, which the gateway alone sends, are written to `folder`, with mode 0600.
 */
export async function startApis(folder: string, ports: ApiPorts): Promise<RunningApis> {
  const bearer = () => `Bearer ${randomBytes(24).toString('base64url')}`;
  const credentials = {
    cloud: bearer(),
    // Of the right form; dynalite does not look further, as it is no real cloud.
    dynamodb:
      'AWS4-HMAC-SHA256 Credential=gateway/20261128/eu-central-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=00',
    kubernetes: bearer(),
  };
  const cloud = await startDemoCloud({ port: ports.cloud, credential: credentials.cloud });
  const servers = [dynalite({ createTableMs: 0 }), createKubernetesApi(credentials.kubernetes)] as const;
  const dynamodb = `http://127.0.0.1:${await listen(servers[0], '127.0.0.1', ports.dynamodb)}`;
  const kubernetes = `http://127.0.0.1:${await listen(servers[1], '127.0.0.1', ports.kubernetes)}`;
  await createTable(dynamodb);
  // Not before: where the ports are taken, the files are those of whoever has them.
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [name, value] of Object.entries(credentials))
    await writeFile(join(folder, `${name}.credential`), value, { mode: 0o600 });
  return {
    origins: { cloud: cloud.origin, dynamodb, kubernetes },
    credentials,
    close: async () => {
      await cloud.close();
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

/** The table `deployments`, made by its owner, not by a job. */
async function createTable(endpoint: string): Promise<void> {
  const credentials = { accessKeyId: 'owner', secretAccessKey: 'owner' };
  const client = new DynamoDBClient({ endpoint, region: 'eu-central-1', credentials });
  await client.send(
    new CreateTableCommand({
      TableName: 'deployments',
      KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
      AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
      BillingMode: 'PAY_PER_REQUEST',
    }),
  );
  await waitUntilTableExists({ client, maxWaitTime: 10, minDelay: 0.05, maxDelay: 0.1 }, { TableName: 'deployments' });
  client.destroy();
}
