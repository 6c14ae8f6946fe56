import { readFileSync } from 'node:fs';
import { REASONS } from '../../src/kernel/denial.ts';
import { BUILTINS } from '../../src/policy/builtins.ts';

const CAPABILITIES = new URL('../../engine/capabilities.json', import.meta.url);

/** docs/reference/policy.md: what a policy may answer, what becomes of it, and what it is made of. */
export function policyPage(): string {
  return `<!-- Generated from src/policy/ by scripts/generate/policy.ts: npm run generate. -->
# What a policy answers

The gateway asks one rule, \`policy.entrypoint\` of its configuration (\`sallyport/decision\` is \`data.sallyport.decision\`), once for each request, after
token and proof were found good. The policy is Rego v1, compiled to WASM.

What it sees is in [policy_input.md](policy_input.md).

## Answer

An object with these members and no other:

| member | type | meaning |
|---|---|---|
| \`allow\` (required) | boolean | Only \`true\` allows. |
| \`reasons\` | list of \`{code, message}\` | Why; goes to the record and, for a refusal, to the caller. \`code\`: letters, digits, \`_.:-\`; \`message\`: optional, at most 512 characters. |
| \`requires\` | \`{scopes, authorization_details}\` | What a token would need; feeds the challenge and the answer of a refusal. Both members are optional. |
| \`obligations\` | list | What the gateway must do with an allowed request. |

| obligation | members | meaning |
|---|---|---|
| \`set_header\` | \`name\`, \`value\` | Sets a header field of the upstream request. Not for credentials, hop-by-hop and framing fields, \`Host\`, \`Forwarded\` and its kin, and \`Sallyport-*\`. |
| \`remove_response_header\` | \`name\` | Removes a header field from the upstream's answer. |
| \`maximum_body_bytes\` | \`bytes\` | The request body may be no larger, however it is framed: 413, and of a larger one that came in parts the upstream sees no end. Of several the smallest counts. What passes over a WebSocket is no body. |
| \`deadline_ms\` | \`milliseconds\` | The upstream may take no longer, from the start of forwarding to the end of the answer: 504, and an answer that has begun is cut; a WebSocket is closed. At most an hour. Of several the smallest counts. |
| \`rate_class\` | \`name\`, optional \`key\` | The request counts in a rate class of the configuration (\`rate_classes\`), together with others of the same key; without a key, those of the same job, or client where the token names no job. At most 8, each name once. Refusals: \`rate.*\`. |
| \`user_authentication\` | \`acr_values\`, \`max_age\` | The gateway allows the call only when \`acr\` of the token is one of \`acr_values\` and \`auth_time\` is no more than \`max_age\` seconds ago (RFC 9470); either may be null: no demand. At most once. |

## Requires

\`requires\` of an answer that says no: what a token would need. It makes the challenge, and stands in the answer as \`required\`.

| member | type | in the challenge |
|---|---|---|
| \`scopes\` | list of scopes | \`scope\` (RFC 6750 §3) |
| \`authorization_details\` | list of objects with a type | \`authorization_remediation\` (draft-ietf-oauth-rar-metadata-remediation §4) |
| \`acr_values\` | list of authentication context classes, in order of preference | \`acr_values\` (RFC 9470 §3) |
| \`max_age\` | seconds since the authentication | \`max_age\` (RFC 9470 §3) |

## Refusals

| reason | when |
|---|---|
${refusals().join('\n')}

Of a policy that says no, the code \`insufficient_user_authentication\` among its reasons makes \`policy.insufficient_user_authentication\`, else
\`insufficient_scope\` makes \`policy.insufficient_scope\`, else \`not_covered_by_authorization_details\`
makes \`policy.insufficient_authorization_details\`, else it is \`policy.denied\`.

## Files

A policy is a folder: all \`*.rego\` below it but \`*_test.rego\`, and \`data.json\` or \`data.yaml\` of each folder, which stands in \`data\` under the folder's
path (\`starter/data.json\` is \`data.starter\`). \`policy.data\` names further files, merged in at the top; they win over what is there. Names that begin with a
dot are passed over; links are followed to files inside the folder only. Before a policy is used it judges two sample requests in a thread of its own: one that fails, or
takes more than 50 ms, is refused, and the old one stays.

## Functions

What a policy may call (\`engine/capabilities.json\`); any other function is a mistake that \`policy check\` finds, and a WASM bundle that needs one is refused by the function's name.
\`time.now_ns\` is the time of the request. Those that WASM does not have itself, and the gateway supplies: ${[
    ...BUILTINS.keys(),
  ]
    .sort()
    .map((name) => `\`${name}\``)
    .join(', ')}.

${functions()}

## The table of the starter policy

\`policies/starter/data.json\`; what is missing, empty or of another type allows nothing, and \`"any"\` must be written out.

| path | meaning |
|---|---|
| \`tokens_without_job\` | \`"allow"\`: a token that names no job is judged by scopes and authorization_details alone. Anything else: it is refused. |
| \`jobs.PROVIDER.REPOSITORY.repository_id\` | The id that the token must carry, so that a repository that took over the name has no rights; \`"none"\` where the provider has no ids. |
| \`jobs.PROVIDER.REPOSITORY.rules\` | Names of rules; one that holds suffices. |
| \`rules.NAME.workflows\`, \`rules.NAME.environments\` | List of names, or \`"any"\`. |
| \`rules.NAME.refs\` | \`"protected"\` or \`"any"\`. |
| \`rules.NAME.operations.SERVICE\` | List of operations, or \`"any"\`. |
`;
}

/** The functions by the part of their names before the dot, without operators and what the compiler makes of the language. */
function functions(): string {
  const { builtins } = JSON.parse(readFileSync(CAPABILITIES, 'utf8')) as {
    builtins: { name: string; infix?: string }[];
  };
  const named = builtins.filter(({ name, infix }) => infix === undefined && !name.startsWith('internal.'));
  const groups = Map.groupBy(named.map(({ name }) => name).sort(), (name) =>
    name.includes('.') ? name.slice(0, name.indexOf('.')) : '',
  );
  const lines = [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, names]) => `- ${names.map((name) => `\`${name}\``).join(', ')}`);
  return lines.join('\n');
}

function refusals(): string[] {
  return Object.entries(REASONS)
    .filter(([reason]) => reason.startsWith('policy.'))
    .map(([reason, { title }]) => `| \`${reason}\` | ${title} |`);
}
