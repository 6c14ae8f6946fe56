/** The thread in which a candidate policy judges what the live one has decided. It is ended from outside when that takes too long. */
import { parentPort, workerData } from 'node:worker_threads';
import { deny } from '../kernel/denial.ts';
import type { PolicyArtifact } from './artifact.ts';
import { MESSAGE_LENGTH } from './decide.ts';
import { PolicyEngine } from './engine.ts';
import { readAnswer } from './output.ts';
import type { ShadowAnswer, ShadowMessage, ShadowQuestion } from './shadow.ts';
import type { Judgement } from './shadow_difference.ts';

const engine = await PolicyEngine.load(workerData as PolicyArtifact);

function judge({ input, nowMs }: ShadowQuestion): Judgement {
  try {
    return readAnswer(engine.evaluate(input, nowMs));
  } catch (error) {
    return deny('policy.failed', (error as Error).message.slice(0, MESSAGE_LENGTH));
  }
}

parentPort?.on('message', (question: ShadowQuestion) => {
  const started = performance.now();
  const judgement = judge(question);
  const answer: ShadowAnswer = { id: question.id, judgement, milliseconds: performance.now() - started };
  parentPort?.postMessage(answer);
});
parentPort?.postMessage('ready' satisfies ShadowMessage);
