import { Command } from 'commander';
import { loadGatewayConfig } from '../config/load.ts';
import { runGateway } from '../gateway/processes.ts';

/** `sallyport gateway --config FILE`: the main job. */
export function gatewayCommand(): Command {
  return new Command('gateway')
    .description('check and forward requests as a configuration file says, until SIGTERM')
    .requiredOption('--config <file>', 'configuration file (docs/reference/configuration.md)')
    .action(async (options: { config: string }) => {
      process.exitCode = await runGateway(loadGatewayConfig(options.config));
    });
}
