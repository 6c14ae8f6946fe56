import { Command, InvalidArgumentError } from 'commander';
import { createLog } from '../telemetry/log.ts';
import { terminalOutput } from './output.ts';
import { untilStopped } from './until_stopped.ts';

interface DemoFlags {
  readonly once?: boolean;
  readonly policies?: string;
  readonly state: string;
}

/** `sallyport demo`: the whole system on this machine, one job's calls as a story, then open for more. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('start authorization server, cloud and gateway on loopback and play one job through them')
    .option('--once', 'end after the story: 0 when every call went as it must')
    .option('--policies <folder>', 'folder of Rego to decide by, instead of the one that the project brings')
    .option('--state <folder>', 'folder for keys, settings and records', '.sallyport')
    .action(async ({ once = false, state, policies }: DemoFlags) => {
      const { runDemo } = await import('../demo/demo.ts');
      const stopped = once ? Promise.resolve() : untilStopped();
      const log = createLog({ level: 'warn' });
      process.exitCode = await runDemo({
        once,
        directory: state,
        output: terminalOutput(),
        log,
        clock: Date.now,
        stopped,
        ...(policies === undefined ? {} : { policies }),
      });
    });
}

interface CloudFlags {
  readonly address: string;
  readonly port: number;
}

/** `sallyport demo-cloud`: the demo's cloud API alone, for compositions. The environment variable DEMO_CLOUD_CREDENTIAL guards it. */
export function demoCloudCommand(): Command {
  return new Command('demo-cloud')
    .description('start the cloud API of the demo alone, until SIGTERM')
    .option('--address <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0: any free one', portOf, 9000)
    .action(async ({ address, port }: CloudFlags) => {
      const log = createLog({ level: 'info' });
      const { startDemoCloud } = await import('../demo/cloud.ts');
      const credential = process.env['DEMO_CLOUD_CREDENTIAL'];
      const cloud = await startDemoCloud({ address, port, ...(credential === undefined ? {} : { credential }) });
      log.info({ origin: cloud.origin, guarded: credential !== undefined }, `ready: ${cloud.origin}`);
      const signal = await untilStopped();
      log.info({ signal }, 'stopping');
      await cloud.close();
    });
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw new InvalidArgumentError('expected a port, 0 to 65535');
}
