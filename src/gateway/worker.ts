/**
 * A worker process: one gateway without an admin port, started and stopped by the primary process (primary.ts). Run by node:cluster.
 */
import cluster from 'node:cluster';
import process from 'node:process';
import { collectAll, tuneV8 } from '../memory/heap.ts';
import { createLog } from '../telemetry/log.ts';
import type { RememberedDecision } from './decisions.ts';
import { type RunningGateway, startGateway } from './gateway.ts';
import type { ToPrimary, ToWorker } from './messages.ts';

tuneV8();

let gateway: RunningGateway | null = null;
let stopping = false;
const early: ((running: RunningGateway) => Promise<void>)[] = [];

function say(message: ToPrimary, then: () => void = () => undefined): void {
  // When the primary is gone, that is noticed (disconnect).
  if (process.connected) process.send?.(message, undefined, undefined, then);
  else then();
}

/** Milliseconds that the other processes may take to say what they remember. */
const SEARCH_MS = 1500;
const searches = new Map<number, (found: RememberedDecision | null) => void>();
let lastSearch = 0;

/** Asks the other processes, through the primary. */
function findElsewhere(decision: string): Promise<RememberedDecision | null> {
  const id = ++lastSearch;
  return new Promise((resolve) => {
    const end = (found: RememberedDecision | null) => {
      clearTimeout(late);
      searches.delete(id);
      resolve(found);
    };
    const late = setTimeout(end, SEARCH_MS, null);
    searches.set(id, end);
    say({ kind: 'find_decision', id, decision });
  });
}

async function obey(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case 'start': {
      const { config, artifact, nonceSecret, endedKeys } = message;
      const log = createLog({ level: config.log.level });
      gateway = await startGateway(config, {
        log,
        artifact,
        admin: false,
        takesShadow: true,
        nonceSecret,
        endedKeys,
        findElsewhere,
      });
      for (const end of early.splice(0)) await end(gateway);
      collectAll();
      say({ kind: 'ready', origin: gateway.origin, listening: gateway.listening });
      return;
    }
    case 'policy':
      await gateway?.replacePolicy(message.artifact);
      return;
    case 'shadow':
      await gateway?.replaceShadow(message.artifact);
      return;
    case 'end_keys': {
      const { id, keys } = message;
      const end = async (running: RunningGateway) => say({ kind: 'answer', id, value: await running.endKeys(keys) });
      // What comes while this process starts is done before it says that it is ready.
      if (gateway === null) early.push(end);
      else await end(gateway);
      return;
    }
    case 'decision':
      say({ kind: 'answer', id: message.id, value: gateway?.decision(message.decision) ?? null });
      return;
    case 'found_decision':
      searches.get(message.id)?.(message.value);
      return;
    case 'reopen':
      gateway?.reopenFiles();
      return;
    case 'ask': {
      const value = message.what === 'metrics' ? await gateway?.metricsSnapshot() : gateway?.readiness();
      say({ kind: 'answer', id: message.id, value: value ?? null });
      return;
    }
    case 'stop':
      await stop();
  }
}

async function stop(): Promise<void> {
  stopping = true;
  const whole = (await gateway?.close()) ?? true;
  process.exit(whole ? 0 : 1);
}

process.on('message', (message: ToWorker) => {
  obey(message).catch((error: unknown) => {
    say({ kind: 'failed', message: (error as Error).message }, () => process.exit(1));
  });
});
// Signals reach the whole group; only the primary decides when to stop.
process
  .on('SIGTERM', () => undefined)
  .on('SIGINT', () => undefined)
  .on('SIGHUP', () => undefined);
// Without the primary no connections come, and nobody would end this process: it finishes what is under way. If the primary was stopping,
// somebody has ended it at once; then so does this process. node:cluster would exit at once in any case, unless it thinks it was asked to.
if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
process.on('disconnect', () => {
  if (stopping) process.exit(1);
  void stop();
});
say({ kind: 'hello' });
