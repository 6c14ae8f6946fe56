import { Command } from 'commander';
import { untilStopped } from './until_stopped.ts';

/** `sallyport gateway --config FILE`: the main job. */
export function gatewayCommand(): Command {
  return new Command('gateway')
    .description('check and forward requests as a configuration file says, until SIGTERM')
    .requiredOption('--config <file>', 'configuration file (docs/reference/configuration.md)')
    .action(async (options: { config: string }) => {
      // From the beginning: the first process of a container does not even hear of signals that it does not listen to.
      const told = untilStopped();
      const { loadGatewayConfig } = await import('../config/load.ts');
      const { runGateway } = await import('../gateway/processes.ts');
      process.exitCode = await runGateway(loadGatewayConfig(options.config), told);
      endSoon();
    });
}

/** Milliseconds that the last records may take on their way through standard output. */
const OUTPUT_MS = 2000;

/** A gateway that was told to stop does not wait for whoever does not read its output; but what is lost with that is a failure. */
function endSoon(): void {
  setTimeout(() => process.exit(process.stdout.writableLength > 0 ? 1 : undefined), OUTPUT_MS).unref();
}
