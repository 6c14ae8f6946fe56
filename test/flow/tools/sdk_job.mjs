// What a job does with two SDKs that know nothing of tokens or proofs: everything they need is in the environment.
import {
  CreateTableCommand,
  DynamoDBClient,
  GetItemCommand,
  ListTablesCommand,
  PutItemCommand,
} from '@aws-sdk/client-dynamodb';
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';

const results = {};
const dynamo = new DynamoDBClient({ region: 'eu-central-1', maxAttempts: 1 });
await dynamo.send(
  new CreateTableCommand({
    TableName: 'deployments',
    KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
    ProvisionedThroughput: { ReadCapacityUnits: 1, WriteCapacityUnits: 1 },
  }),
);
// A table of dynalite becomes active after some time.
for (let tries = 0; tries < 100; tries++) {
  try {
    await dynamo.send(new PutItemCommand({ TableName: 'deployments', Item: { id: { S: 'd1' }, ref: { S: 'main' } } }));
    break;
  } catch (error) {
    if (tries === 99) throw error;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
const { Item } = await dynamo.send(new GetItemCommand({ TableName: 'deployments', Key: { id: { S: 'd1' } } }));
results.item = Item;
results.tables = (await dynamo.send(new ListTablesCommand({}))).TableNames;

const config = new KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(CoreV1Api);
results.pods = (await core.listNamespacedPod({ namespace: 'shop' })).items.map((pod) => pod.metadata.name);
const created = await core.createNamespacedConfigMap({
  namespace: 'shop',
  body: { metadata: { name: 'settings' }, data: { a: 'b' } },
});
results.configMap = created.data;
results.secrets = await core.listNamespacedSecret({ namespace: 'shop' }).then(
  () => 'allowed',
  (error) => error.code,
);
console.log(JSON.stringify(results));
