import { Command } from 'commander';
import { loadAuthServerConfig } from '../config/load_authserver.ts';
import { createLog } from '../telemetry/log.ts';
import { untilStopped } from './until_stopped.ts';

/** `sallyport authserver --config FILE`: issues tokens that are bound to a key. */
export function authserverCommand(): Command {
  return new Command('authserver')
    .description('issue tokens that are bound to a key, to clients that authenticate with a key, until SIGTERM')
    .requiredOption('--config <file>', 'configuration file')
    .action(async (options: { config: string }) => {
      const config = loadAuthServerConfig(options.config);
      const log = createLog({ level: config.log.level });
      const { startAuthServer } = await import('../authserver/authserver.ts');
      const server = await startAuthServer({ config, log });
      log.info({ issuer: server.issuer, address: server.address }, `ready: ${server.issuer}`);
      const signal = await untilStopped();
      log.info({ signal }, 'stopping');
      await server.close();
      log.info('stopped');
    });
}
