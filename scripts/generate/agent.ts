import { AGENT_REASONS } from '../../src/agent/refusal.ts';
import { agentEditorSchema } from '../../src/config/agent_schema.ts';
import { type Node, table } from './configuration.ts';

/** docs/reference/agent.schema.json: the same for the agent's file. */
export function agentSchema(): string {
  return `${JSON.stringify(agentEditorSchema(), null, 2)}\n`;
}

/** docs/reference/agent.md: every key of the agent's file, and its own refusals. */
export function agentPage(): string {
  const reasons = Object.entries(AGENT_REASONS).map(
    ([name, { status, title, advice }]) => `| \`agent.${name}\` | ${status} | ${title} | ${advice} |`,
  );
  return `<!-- Generated from src/config/agent_schema.ts and src/agent/refusal.ts by npm run generate. -->
# The agent

\`sallyport agent exec --config FILE -- COMMAND …\` runs a command whose tools reach the gateway through the agent, and ends the job with it. The exit code is the command's; 128 + n when signal n
ended it, 127 when there is no such command, 1 when the job got no token (then the command does not run), 2 when the command line is wrong.
\`sallyport agent start --print-env sh|github|json\` leaves an agent in the background and prints its variables, \`sallyport agent end\` ends it. For one API, flags do instead of a file
(\`sallyport agent exec --help\`), each with a variable named \`SALLYPORT_AGENT_…\`. Guide: [first_job.md](../guides/first_job.md).
\`sallyport config check FILE\` says what an agent would do, reads the files that it names, and the identity of the job where it lies in a file or a variable; \`sallyport config schema --of agent\` prints the schema for editors.

## What the command finds in its environment

| variable | when | what |
|---|---|---|
| \`SALLYPORT_<NAME>_URL\`, and what \`apis[].variables\` names | \`listen: port\` | local base URL of the API, with the secret of the job in its path |
| \`SALLYPORT_<NAME>_SOCKET\` | \`listen: socket\` | Unix socket of the API, for this user only: \`curl --unix-socket "$SALLYPORT_X_SOCKET" http://x/…\` |
| \`HTTPS_PROXY\`, \`https_proxy\`, \`NODE_USE_ENV_PROXY\`; \`HTTP_PROXY\` where a URL is http | \`proxy\` | forward mode, with the secret of the job as password; entries of \`NO_PROXY\` that name an API are taken out |
| \`NO_PROXY\`, \`no_proxy\` | a proxy, here or on the machine | local ports are reached without one: other proxies never see a local URL |
| \`SSL_CERT_FILE\`, \`AWS_CA_BUNDLE\`, \`REQUESTS_CA_BUNDLE\`, \`CURL_CA_BUNDLE\`, \`GIT_SSL_CAINFO\`, \`CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE\` | \`proxy\` | the CAs of the system, whatever the variable named before, and the CA of this job |
| \`NODE_EXTRA_CA_CERTS\`, \`DENO_CERT\` | \`proxy\` | the CA of this job, and whatever the variable named before |
| \`KUBECONFIG\` | \`kubeconfig: true\` | contexts named after the APIs |
| \`AWS_ACCESS_KEY_ID\` and its kin, \`CLOUDSDK_AUTH_ACCESS_TOKEN\`, \`GOOGLE_OAUTH_ACCESS_TOKEN\` | \`placeholders\` | credentials without worth; real ones and profiles are taken out |
| \`SALLYPORT_AGENT\` | always | socket for \`sallyport agent end\` |

The variables that the identity token comes from (\`ACTIONS_ID_TOKEN_REQUEST_*\`, the variable of \`id_tokens\`, \`CIRCLE_OIDC_TOKEN*\`, \`BUILDKITE_AGENT_ACCESS_TOKEN\`) are taken out, unless \`keep_identity\` says otherwise.

## Configuration

One YAML file, strict and read like [that of the gateway](configuration.md).

${table(agentEditorSchema() as Node)}
## Refusals of the agent itself

Answers of the gateway pass through unchanged; a refusal of the gateway is also told on standard error. These are the agent's own, as problem documents with \`Proxy-Status: sallyport-agent\`:

| reason | status | meaning | what to do |
|---|---|---|---|
${reasons.join('\n')}
`;
}
