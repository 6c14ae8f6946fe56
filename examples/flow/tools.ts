import { fileURLToPath } from 'node:url';
import type { Play, Tool } from './job.ts';
import { runTool } from './job.ts';

const TOOLS = fileURLToPath(new URL('../first_job/tools/', import.meta.url));

/** curl, as it is installed. */
export function curl(
  play: Play,
  path: string,
  expected: Pick<Tool, 'prints' | 'code' | 'outcomes'>,
  ...flags: string[]
) {
  const format = ['-w', ' HTTP %{http_code}\n'];
  const argv = ['curl', '-sS', '-m', '30', ...format, ...flags, `${play.job.env['CLOUD_URL']}${path}`];
  return runTool(play, { api: 'cloud', argv, typed: ['curl', ...flags, `$CLOUD_URL${path}`].join(' '), ...expected });
}

/** A script with the AWS SDK or the client of Kubernetes. */
function script(name: 'dynamodb' | 'kubernetes', typed: string) {
  return (play: Play, expected: Pick<Tool, 'prints' | 'code' | 'outcomes'>, ...flags: string[]) => {
    const argv = [process.execPath, `${TOOLS}${name}.mjs`, ...flags];
    return runTool(play, { api: name, argv, typed: [`node ${name}.mjs`, ...flags, typed].join(' '), ...expected });
  };
}

/** The AWS SDK. */
export const dynamodb = script('dynamodb', '(@aws-sdk/client-dynamodb)');
/** The client of Kubernetes. */
export const kubernetes = script('kubernetes', '(@kubernetes/client-node)');

/** Three tools do the work of the job. */
export async function work(play: Play): Promise<void> {
  const { story } = play;
  await story.step('curl calls the cloud. It knows nothing of tokens or proofs.', () =>
    curl(play, '/projects/p1', { prints: /^\{"id":"p1","name":"shop"\}\s+HTTP 200$/, code: 0, outcomes: ['allowed'] }),
  );
  await story.step('The AWS SDK writes to a table of DynamoDB, and reads it again.', () =>
    dynamodb(play, { prints: '{"id":{"S":"d1"},"ref":{"S":"main"}}', code: 0, outcomes: ['allowed', 'allowed'] }),
  );
  await story.step('The client of Kubernetes lists pods, and creates a config map.', () =>
    kubernetes(play, { prints: '{"pods":["web-1"],"data":{"ref":"main"}}', code: 0, outcomes: ['allowed', 'allowed'] }),
  );
}

/** Each wants something that the narrowed token does not cover; the agent says so in words. */
export async function reachTooFar(play: Play): Promise<void> {
  const { story } = play;
  const scope = { code: 1, outcomes: ['refused: policy.insufficient_scope'] };
  await story.step(
    'It reaches too far: the job asked for the deletion of projects, and the workflow may not have it.',
    () =>
      curl(
        play,
        '/projects/p1',
        { ...scope, code: 0, prints: /"policy\.insufficient_scope".* HTTP 403$/s },
        '-X',
        'DELETE',
      ),
  );
  await story.step('Right scope, wrong place: the authorization_details were narrowed to project p1.', () =>
    curl(play, '/projects/p2', {
      code: 0,
      outcomes: ['refused: policy.insufficient_authorization_details'],
      prints: /HTTP 403$/,
    }),
  );
  await story.step(
    'A table is not read whole: the table of the policy lets this workflow do less than its token.',
    () => dynamodb(play, { code: 1, outcomes: ['refused: policy.denied'], prints: 'HTTP 403' }, 'scan'),
  );
  await story.step('Secrets of the cluster are not listed.', () =>
    kubernetes(play, { ...scope, prints: 'HTTP 403' }, 'secrets'),
  );
}

/** What all three are told once their job has ended. */
export async function workOn(play: Play): Promise<void> {
  const refused = { outcomes: ['refused: token.job_ended'] };
  await curl(play, '/projects/p1', { ...refused, code: 0, prints: /"token\.job_ended".* HTTP 401$/s });
  await dynamodb(play, { ...refused, code: 1, prints: 'HTTP 401' });
  await kubernetes(play, { ...refused, code: 1, prints: 'HTTP 401' });
}
