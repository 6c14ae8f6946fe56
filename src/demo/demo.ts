import { relative } from 'node:path';
import type { Clock } from '../kernel/clock.ts';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import { detailsText } from '../oauth/refusal_text.ts';
import type { Log } from '../telemetry/log.ts';
import { fetchToken } from './job.ts';
import { recordLines } from './records.ts';
import { type DemoPorts, type Scene, setScene } from './scene.ts';
import { tellStory } from './story.ts';
import { type Output, shortened, styled } from './words.ts';

/** Where `sallyport call` and `sallyport explain` look for what the demo keeps. */
const DEFAULT_DIRECTORY = '.sallyport';

/** How the demo is run. */
export interface DemoOptions {
  /** End after the story, instead of going on until `stopped`. */
  readonly once: boolean;
  /** Folder for keys, settings and records. */
  readonly directory: string;
  readonly output: Output;
  readonly log: Log;
  readonly clock: Clock;
  /** Settles when the demo is to end. */
  readonly stopped: Promise<unknown>;
  readonly ports?: DemoPorts;
  /** Folder of Rego; absent: the one that the project brings. */
  readonly policies?: string;
}

const PORTS: DemoPorts = { gateway: 8080, admin: 9901, cloud: 9000, authserver: 9100 };

/**
 * Starts an authorization server, a small cloud and the gateway on this machine, plays one job through them, and goes on so that one can
 * try more.
 * @returns 0 when every call of the story went as it must, else 1
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  const { once, directory, output, log, clock, stopped, ports = PORTS } = options;
  output.line('One CI job, one cloud, and the gateway between them. Starting, the policy is being compiled …');
  const gatewayLog = log.child({});
  const policies = options.policies === undefined ? {} : { policies: options.policies };
  const scene = await setScene({ directory, ports, log, gatewayLog, ...policies });
  try {
    introduce(scene, output);
    const token = await fetchToken(scene.session, clock);
    tellToken(scene, token, output);
    const good = await tellStory({ scene, token, output, clock });
    output.line('');
    output.line(
      good ? 'Every call went as it must.' : styled(output, 'red', 'Not every call went as it must; see above.'),
    );
    if (!once) {
      // From here on somebody may change the policy, and wants to see what becomes of it.
      gatewayLog.level = 'info';
      await goOn(scene, { output, stopped, directory });
    }
    return good ? 0 : 1;
  } finally {
    await scene.close();
  }
}

function introduce(scene: Scene, output: Output): void {
  output.line('');
  const row = (name: string, where: string, what: string) =>
    output.line(`  ${name.padEnd(21)} ${styled(output, 'cyan', where.padEnd(23))} ${styled(output, 'dim', what)}`);
  row('gateway', scene.session.gateway, 'checks token, proof, single use and policy, then forwards');
  row('authorization server', scene.session.issuer, "issues tokens that are bound to the job's key");
  row('cloud', scene.cloud, 'what is protected; takes calls from its gateway only');
  if (scene.admin !== null) row('admin', scene.admin, '/livez /readyz /metrics');
}

function tellToken({ session }: Scene, token: IssuedToken, output: Output): void {
  const row = (name: string, text: string) => output.line(`   ${styled(output, 'dim', name.padEnd(8))} ${text}`);
  output.line('');
  output.line(styled(output, 'bold', '0. The job gets a token: client credentials, a key instead of a secret, DPoP.'));
  row('client', `${session.clientId}, for job ${String(session.job['run_id'])} on ${String(session.job['ref'])}`);
  row('may', `${token.scopes.join(' ')}`);
  row('', detailsText(token.authorizationDetails));
  row(
    'token',
    `${shortened(token.accessToken)}, for ${session.resource}, until ${new Date(token.expiresAt * 1000).toISOString()}`,
  );
}

type Going = Pick<DemoOptions, 'output' | 'stopped' | 'directory'>;

/** Shows each record as it is written, until the demo is to end. */
async function goOn(scene: Scene, { output, stopped, directory }: Going): Promise<void> {
  const elsewhere = here(directory) === DEFAULT_DIRECTORY ? '' : ` --state ${here(directory)}`;
  const call = (text: string, what: string) =>
    output.line(`  npm run sallyport -- call ${`${text}${elsewhere}`.padEnd(70)} ${styled(output, 'dim', what)}`);
  output.line('');
  output.line(styled(output, 'bold', 'It keeps running. Go on in another terminal, in this folder:'));
  call(`POST ${scene.session.gateway}/v1/projects/p1/builds`, 'allowed');
  call(`GET ${scene.session.gateway}/v1/projects/p1/builds`, 'allowed');
  call(`GET ${scene.session.gateway}/v1/projects/p2/secrets/bank-password`, 'refused');
  call(`POST ${scene.session.gateway}/v1/projects/p1/builds --repeat-proof`, 'the second is refused');
  output.line('Or with any tool, through the agent of a job:');
  output.line(
    `  npm run sallyport -- agent exec --config ${here(scene.agentFile)} -- sh -c 'curl -i $CLOUD_URL/projects/p1'`,
  );
  output.line(`Change the policy in ${here(scene.policies)}: it takes effect when the file is saved.`);
  output.line(`Records: ${here(scene.recordsFile)}. Stop with Ctrl-C.`);
  output.line('');
  let going = true;
  const end = stopped.then(() => {
    going = false;
  });
  while (going) {
    const record = await scene.records.next(500);
    if (record !== null) output.line(recordLines(record).join(', '));
  }
  await end;
}

/** A path as one would type it. */
function here(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' || short.startsWith('..') ? path : short;
}
