import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import type { IdentityConfig } from '../config/agent_schema.ts';
import { fetchJson } from '../oauth/fetch_json.ts';
import { isSecureUrl } from '../oauth/secure_url.ts';
import { isJsonObject } from '../oauth/strict_json.ts';

/** Environment variables of a process. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** What an identity token is asked for with. */
export interface IdentityRequest {
  readonly variables: Variables;
  readonly timeoutMs: number;
}

const MAXIMUM_BYTES = 65_536;
/** RFC 7515 §3.1: three parts; what is in them the broker judges. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const GITHUB_URL = 'ACTIONS_ID_TOKEN_REQUEST_URL';
const GITHUB_TOKEN = 'ACTIONS_ID_TOKEN_REQUEST_TOKEN';
/** What buildkite-agent shows to get anything of its job, identity tokens for any audience among it. */
const BUILDKITE_TOKEN = 'BUILDKITE_AGENT_ACCESS_TOKEN';

/**
 * Gets the CI system's own token that says which job this is. It is asked for anew each time, since most live for minutes.
 * @throws Error that says where it was looked for and what to do, never with anything of the token
 */
export async function fetchIdentityToken(source: IdentityConfig, request: IdentityRequest): Promise<string> {
  const token = (await read(source, request)).trim();
  if (token.length > MAXIMUM_BYTES || !COMPACT.test(token)) {
    throw new Error(`identity token (${source.source}): what was found is not a JWT`);
  }
  return token;
}

/** The variables by which whoever has them can get an identity token of this job: they are kept from the command. */
export function identityVariables(source: IdentityConfig): readonly string[] {
  switch (source.source) {
    case 'github':
      return [GITHUB_URL, GITHUB_TOKEN];
    case 'gitlab':
    case 'environment':
      return [source.variable];
    case 'circleci':
      return [source.variable, 'CIRCLE_OIDC_TOKEN', 'CIRCLE_OIDC_TOKEN_V2'];
    case 'buildkite':
      return [BUILDKITE_TOKEN];
    default:
      return [];
  }
}

function read(source: IdentityConfig, request: IdentityRequest): Promise<string> {
  switch (source.source) {
    case 'github':
      return askGitHub(source.audience, request);
    case 'buildkite':
      return askBuildkite(source.audience, request);
    case 'file':
      return readTokenFile(source.token_file);
    default:
      return fromVariable(source, request.variables);
  }
}

async function fromVariable(
  source: Extract<IdentityConfig, { variable: string }>,
  variables: Variables,
): Promise<string> {
  const value = variables[source.variable];
  if (value !== undefined && value !== '') return value;
  const hint =
    source.source === 'gitlab'
      ? `add id_tokens: { ${source.variable}: { aud: … } } to the job`
      : source.source === 'circleci'
        ? 'CircleCI sets it in jobs with at least one context'
        : 'set it to the identity token';
  throw new Error(`identity token: the environment variable ${source.variable} is not set; ${hint}`);
}

/** GitHub's "OpenID Connect" reference: GET with the request token as bearer, the answer has the JWT in `value`. */
async function askGitHub(audience: string, { variables, timeoutMs }: IdentityRequest): Promise<string> {
  const url = variables[GITHUB_URL];
  const requestToken = variables[GITHUB_TOKEN];
  if (!url || !requestToken) {
    throw new Error(
      `identity token: ${GITHUB_URL} and ${GITHUB_TOKEN} are not set; give the job permissions: { id-token: write }`,
    );
  }
  if (!isSecureUrl(url, false)) throw new Error(`identity token: ${GITHUB_URL} is not an https URL`);
  const asked = new URL(url);
  asked.searchParams.set('audience', audience);
  const headers = { authorization: `Bearer ${requestToken}` };
  const answer = await fetchJson({ url: asked.href, headers, timeoutMs, maxBytes: MAXIMUM_BYTES * 2 });
  if (!answer.ok) throw new Error(`identity token: GitHub ${answer.problem}`);
  const value = isJsonObject(answer.value) ? answer.value['value'] : undefined;
  if (typeof value !== 'string') throw new Error('identity token: GitHub answered without a value');
  return value;
}

/** Without a shell; what the program says on standard error is for the person. */
function askBuildkite(audience: string, { variables, timeoutMs }: IdentityRequest): Promise<string> {
  const argv = ['oidc', 'request-token', '--audience', audience];
  const options = { timeout: timeoutMs, maxBuffer: MAXIMUM_BYTES * 2, env: { ...variables } };
  return new Promise((resolve, reject) => {
    execFile('buildkite-agent', argv, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const why = error.code === 'ENOENT' ? 'is not on PATH' : `failed: ${stderr.trim().slice(0, 300)}`;
      reject(new Error(`identity token: buildkite-agent ${why}`));
    });
  });
}

async function readTokenFile(file: string): Promise<string> {
  try {
    if ((await stat(file)).size > MAXIMUM_BYTES) throw new Error(`it has more than ${MAXIMUM_BYTES} bytes`);
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new Error(
      `identity token: ${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'it is too large'}`,
    );
  }
}
