// A step of a job with the AWS SDK, which knows nothing of tokens or proofs: everything it needs is in the environment.
//   node dynamodb.mjs          notes a deployment in the table, and reads it again
//   node dynamodb.mjs scan     reads the whole table
import { DynamoDBClient, GetItemCommand, PutItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';

const client = new DynamoDBClient({ region: 'eu-central-1', maxAttempts: 1 });
const TableName = 'deployments';
try {
  if (process.argv[2] === 'scan')
    console.log(JSON.stringify((await client.send(new ScanCommand({ TableName }))).Items));
  else {
    await client.send(new PutItemCommand({ TableName, Item: { id: { S: 'd1' }, ref: { S: 'main' } } }));
    const { Item } = await client.send(new GetItemCommand({ TableName, Key: { id: { S: 'd1' } } }));
    console.log(JSON.stringify(Item));
  }
} catch (error) {
  console.log(`HTTP ${error.$metadata?.httpStatusCode ?? error.message}`);
  process.exitCode = 1;
}
