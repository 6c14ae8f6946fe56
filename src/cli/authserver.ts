import { Command } from 'commander';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import { loadAuthServerConfig } from '../config/load_authserver.ts';
import { ConfigError } from '../config/problems.ts';
import { createLog, type Log } from '../telemetry/log.ts';
import { untilStopped } from './until_stopped.ts';

/** `sallyport authserver --config FILE`: issues tokens that are bound to a key. */
export function authserverCommand(version: string): Command {
  return new Command('authserver')
    .description('issue tokens that are bound to a key, to clients that authenticate with a key, until SIGTERM')
    .requiredOption('--config <file>', 'configuration file')
    .action(async (options: { config: string }) => {
      const config = loadAuthServerConfig(options.config);
      const log = createLog({ level: config.log.level });
      const { startAuthServer } = await import('../authserver/authserver.ts');
      const policy = await startPolicy(config, log);
      const starting = startAuthServer({ config, log, version, issuancePolicy: policy?.evaluate ?? null });
      const server = await starting.catch((error: unknown) => {
        policy?.close();
        throw inFile(error, options.config);
      });
      const { issuer, address, adminOrigin: admin } = server;
      log.info({ issuer, address, admin }, `ready: ${issuer}${admin === null ? '' : ` (admin ${admin})`}`);
      const signal = await untilStopped();
      log.info({ signal }, 'stopping');
      await server.close();
      policy?.close();
      log.info('stopped');
    });
}

/** The issuance policy, where the configuration names one. */
async function startPolicy({ issuance_policy: files }: AuthServerConfig, log: Log) {
  if (files === undefined) return null;
  const { startIssuancePolicy } = await import('../issuance/issuance_policy.ts');
  return startIssuancePolicy(files, log);
}

/** What was found wrong once the file had been read stands in that file too. */
function inFile(error: unknown, file: string): unknown {
  if (!(error instanceof ConfigError)) return error;
  return new ConfigError(error.problems.map((one) => (one.file === 'authserver' ? { ...one, file } : one)));
}
