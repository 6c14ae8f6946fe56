import { Command } from 'commander';
import { loadBrokerConfig } from '../config/load_broker.ts';
import { createLog } from '../telemetry/log.ts';
import { untilStopped } from './until_stopped.ts';

/** `sallyport broker --config FILE`: the CI engine's side. */
export function brokerCommand(version: string): Command {
  return new Command('broker')
    .description(
      "get tokens for the jobs of a CI engine, each within its workflow's ceiling and bound to the job's own key, until SIGTERM",
    )
    .requiredOption('--config <file>', 'configuration file')
    .action(async (options: { config: string }) => {
      const config = loadBrokerConfig(options.config);
      const log = createLog({ level: config.log.level });
      const { startBroker } = await import('../broker/broker.ts');
      const told = untilStopped();
      const broker = await startBroker({ config, log, version });
      const reload = () => {
        broker.reload().catch((error: unknown) => log.error({ err: error }, 'the reload failed'));
      };
      process.on('SIGHUP', reload);
      const { origin, listening, adminOrigin } = broker;
      log.info(
        { origin, listening, admin: adminOrigin },
        `ready: ${origin} (listens on ${listening}, admin ${adminOrigin})`,
      );
      log.info({ signal: await told }, 'stopping');
      const whole = await broker.close();
      process.off('SIGHUP', reload);
      log.info({ whole }, 'stopped');
      process.exitCode = whole ? 0 : 1;
    });
}
