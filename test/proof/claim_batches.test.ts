import { expect, it } from 'vitest';
import { ClaimBatches, type QueuedClaim } from '../../src/proof/claim_batches.ts';

/** What was sent, each with its answer to come. */
interface Sent {
  readonly keys: readonly string[];
  readonly args: readonly string[];
  answer(reply: unknown): void;
  fail(error: Error): void;
}

function recording(): { batches: ClaimBatches; sent: Sent[] } {
  const sent: Sent[] = [];
  const batches = new ClaimBatches((_script, keys, ...rest) => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    sent.push({ keys: rest.slice(0, keys), args: rest.slice(keys), answer: resolve, fail: reject });
    return promise;
  });
  return { batches, sent };
}

const claim = (key: string, changes: Partial<QueuedClaim> = {}): QueuedClaim => ({
  bucket: '',
  epoch: 'e1',
  epochKey: 'epoch',
  key,
  lifeMs: 1000,
  ...changes,
});
const turn = () => new Promise((resolve) => setImmediate(resolve));

it('the claims of one turn leave in one command, and each gets its own answer', async () => {
  const { batches, sent } = recording();
  const claims = ['a', 'b', 'c'].map((key, index) => batches.add(claim(key, { lifeMs: index + 1 })));
  expect(sent).toEqual([]);
  await turn();
  expect(sent).toHaveLength(1);
  expect(sent[0]).toMatchObject({ keys: ['epoch', 'a', 'b', 'c'], args: ['e1', '1', '2', '3'] });
  sent[0]?.answer([1, 0, 1]);
  expect(await Promise.all(claims)).toEqual([1, 0, 1]);
});

it('a claim of the next turn does not wait for the answer to those before', async () => {
  const { batches, sent } = recording();
  void batches.add(claim('a'));
  await turn();
  const second = batches.add(claim('b'));
  await turn();
  expect(sent.map(({ keys }) => keys)).toEqual([
    ['epoch', 'a'],
    ['epoch', 'b'],
  ]);
  sent[1]?.answer(1);
  expect(await second).toBe(1);
});

it('another epoch, and another bucket, never share a command', async () => {
  const { batches, sent } = recording();
  void batches.add(claim('a'));
  void batches.add(claim('b', { epoch: 'e2' }));
  void batches.add(claim('c', { bucket: 'x', epochKey: '{x}epoch' }));
  await turn();
  expect(sent.map(({ keys, args }) => [keys, args[0]])).toEqual([
    [['epoch', 'a'], 'e1'],
    [['epoch', 'b'], 'e2'],
    [['{x}epoch', 'c'], 'e1'],
  ]);
});

it('a command has at most 64 claims, and none is lost', async () => {
  const { batches, sent } = recording();
  const keys = Array.from({ length: 150 }, (_, index) => `k${index}`);
  const claims = keys.map((key) => batches.add(claim(key)));
  await turn();
  expect(sent.map((command) => command.keys.length - 1)).toEqual([64, 64, 22]);
  for (const command of sent) command.answer(command.keys.slice(1));
  expect(await Promise.all(claims)).toEqual(keys);
});

it('one answer for all (another epoch), and one failure for all', async () => {
  const { batches, sent } = recording();
  const replaced = [batches.add(claim('a')), batches.add(claim('b'))];
  await turn();
  sent[0]?.answer(-1);
  expect(await Promise.all(replaced)).toEqual([-1, -1]);
  const cut = [batches.add(claim('c')), batches.add(claim('d'))];
  await turn();
  sent[1]?.fail(new Error('cut'));
  expect((await Promise.allSettled(cut)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});
