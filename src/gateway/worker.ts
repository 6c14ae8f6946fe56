/**
 * A worker process: one gateway without an admin port, started and stopped by the primary process (primary.ts). Run by node:cluster.
 */
import process from 'node:process';
import { createLog } from '../telemetry/log.ts';
import { type RunningGateway, startGateway } from './gateway.ts';
import type { ToPrimary, ToWorker } from './messages.ts';

let gateway: RunningGateway | null = null;

function say(message: ToPrimary): void {
  if (process.connected) process.send?.(message);
}

async function obey(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case 'start': {
      const { config, artifact } = message;
      gateway = await startGateway(config, { log: createLog({ level: config.log.level }), artifact, admin: false });
      say({ kind: 'ready', origin: gateway.origin, listening: gateway.listening });
      return;
    }
    case 'policy':
      await gateway?.replacePolicy(message.artifact);
      return;
    case 'reopen':
      gateway?.reopenRecords();
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
  const whole = (await gateway?.close()) ?? true;
  process.exit(whole ? 0 : 1);
}

process.on('message', (message: ToWorker) => {
  obey(message).catch((error: unknown) => {
    say({ kind: 'failed', message: (error as Error).message });
    process.exitCode = 1;
    setImmediate(() => process.exit());
  });
});
// Signals reach the whole group; only the primary decides when to stop. Without it a worker has nobody to report to and ends.
process
  .on('SIGTERM', () => undefined)
  .on('SIGINT', () => undefined)
  .on('SIGHUP', () => undefined);
process.on('disconnect', () => void stop());
say({ kind: 'hello' });
