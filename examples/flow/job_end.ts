import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runnerVariables } from './issue.ts';
import { type ApiName, isProven, type Play } from './job.ts';
import { sallyport } from './program.ts';
import { sendRaw } from './raw.ts';
import { duration } from './story.ts';
import { withOwnKey } from './theft.ts';

/** Milliseconds in which the gateway must refuse what the job got. */
const WITHIN_MS = 1000;
const APIS: readonly ApiName[] = ['cloud', 'dynamodb', 'kubernetes'];

/** The CI engine ends the job while its tools could go on; every token of it is refused within a second. */
export async function endJob(play: Play): Promise<void> {
  const { story, stage, broker, job } = play;
  const url = `${broker.origin}/jobs/${job.id}/end`;
  const token = await readFile(join(stage.folder, 'state/engine.token'), 'utf8');
  story.row('sent', `POST ${url}, with the token of the CI engine`);
  const sent = performance.now();
  const { status } = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
  const answered = performance.now();
  story.good('came back', `${status}, after ${duration(answered - sent)}: every gateway knows`);
  story.expect('the answer of the broker', status, 204);
  for (const api of APIS) await waitForRefusal(play, api, answered);
}

/** Sends a copied token until it is refused as that of an ended job; `ended` is when the job had ended. */
async function waitForRefusal({ story, stage, records, overheard }: Play, api: ApiName, ended: number): Promise<void> {
  for (;;) {
    const { status, reason } = await sendRaw(stage.gateway.port, await withOwnKey(stage, overheard.get(api)));
    const after = performance.now() - ended;
    const refused = reason === 'token.job_ended';
    if (refused) story.bad('refused', `the token for ${api}: ${status} ${reason}, ${duration(after)} after the end`);
    story.ensure(
      `the token for ${api} is refused within ${WITHIN_MS} ms of the end (${reason})`,
      refused || after < WITHIN_MS,
    );
    await records.tell([`refused: ${refused ? reason : 'proof.key_mismatch'}`]);
    if (refused) return;
    await sleep(10);
  }
}

/** The agent ends, and with it everything that the tools could reach. */
export async function endAgent({ story, stage, job }: Play): Promise<void> {
  const { code, errors } = await sallyport(stage.folder, ['agent', 'end'], job.env);
  const [first = ''] = errors.split('\n');
  story.row('ran', 'sallyport agent end');
  story.good('printed', first);
  story.expect('its exit code', code, 0);
  story.expect(
    'what the agent counted',
    first,
    'sallyport agent: the job has ended; 13 requests, 7 refused by the gateway',
  );
  const gone = await fetch(String(job.env['CLOUD_URL'])).then(
    () => false,
    () => true,
  );
  story.ensure('nobody answers at $CLOUD_URL any more', gone);
}

/** A job as a CI system runs it: the agent around one command, which ends the job with it. */
export async function execJob(play: Play): Promise<void> {
  const { story, stage, records, overheard } = play;
  overheard.clear();
  const argv = ['agent', 'exec', '--config', 'agent.yaml', '--', 'sh', '-c', 'curl -sS -m 30 "$CLOUD_URL/projects/p1"'];
  story.row('ran', "sallyport agent exec --config agent.yaml -- sh -c 'curl -sS $CLOUD_URL/projects/p1'");
  const { code, text, errors } = await sallyport(stage.folder, argv, runnerVariables(stage.ci));
  const ended = performance.now();
  story.good('printed', text.trim());
  story.expect(
    'exit code, output, and words of the agent',
    [code, text, errors],
    [0, '{"id":"p1","name":"shop"}\n', ''],
  );
  await records.tell(['allowed']);
  const [copied] = stage.front.take();
  story.ensure('its token is another one', copied !== undefined && isProven(copied));
  if (copied !== undefined) overheard.set('cloud', copied);
  stage.behind.cloud.take();
  await waitForRefusal(play, 'cloud', ended);
}
