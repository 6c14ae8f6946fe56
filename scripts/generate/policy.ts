import { z } from 'zod';
import { REASONS } from '../../src/kernel/denial.ts';
import { INPUT_LIMIT_BYTES, SHOWN_HEADERS } from '../../src/policy/input.ts';
import { policyInputSchema } from '../../src/policy/input_schema.ts';
import { NESTING_LIMIT } from '../../src/policy/nesting.ts';

interface Node {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: Node | boolean;
  readonly items?: Node;
}

/** policies/schema/input.schema.json: the JSON Schema of the policy input, in the dialect that OPA's type checker reads. */
export function policyInputJsonSchema(): string {
  const { $schema, ...schema } = inputSchema();
  return `${JSON.stringify({ $schema, title: 'Sallyport policy input, version 1', ...schema }, null, 2)}\n`;
}

/** docs/reference/policy.md: what a policy sees, what it may answer, and what becomes of it. */
export function policyPage(): string {
  return `<!-- Generated from src/policy/ by scripts/generate/policy.ts: npm run generate. -->
# What a policy sees and answers

The gateway asks one rule, \`policy.entrypoint\` of its configuration (\`sallyport/decision\` is \`data.sallyport.decision\`), once for each request, after
token and proof were found good. The policy is Rego v1, compiled to WASM; what it may use is listed in \`engine/capabilities.json\`.

## Input

Version 1, never with a token, a proof, \`Authorization\`, \`DPoP\` or \`Cookie\`. JSON Schema: \`policies/schema/input.schema.json\`. At most
${INPUT_LIMIT_BYTES} bytes and, in token and body, ${NESTING_LIMIT} levels: more is refused with \`policy.input_too_large\`, and the policy is not asked. Numbers beyond 2^53 have
lost digits: compare ids as strings. Half a surrogate pair in a text is U+FFFD. What can be null is asked with \`is_null\`: the type checker of OPA knows one type
for each path, and with the schema it finds misspelt ones.

| path | type | meaning |
|---|---|---|
${rows(inputSchema() as Node, '').join('\n')}

\`request.headers\` holds ${[...SHOWN_HEADERS].map((name) => `\`${name}\``).join(', ')}, where the caller sent them and \`Connection\` does not name them.

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
| \`maximum_body_bytes\` | \`bytes\` | The request body may be no larger. Of several the smallest counts. |
| \`deadline_ms\` | \`milliseconds\` | The upstream may take no longer, from the start of forwarding; at most an hour. Of several the smallest counts. |
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

/** OPA takes a choice between an object and null for anything at all, and finds no misspelt member of it; one object that may be null it reads. */
function inputSchema() {
  return z.toJSONSchema(policyInputSchema, {
    target: 'draft-7',
    override: ({ jsonSchema }) => {
      const [first, second, ...others] = jsonSchema.anyOf ?? [];
      if (first?.type !== 'object' || second?.type !== 'null' || others.length > 0) return;
      delete jsonSchema.anyOf;
      // Draft 7 allows a list of types; the type declaration is for a later one.
      Object.assign(jsonSchema, first, { type: ['object', 'null'] });
    },
  });
}

function rows(node: Node, prefix: string): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    return [`| \`${path}\` | ${typeOf(child)} | ${child.description ?? ''} |`, ...rows(child, path)];
  });
}

function typeOf(node: Node): string {
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (node.type === 'array') return `list of ${node.items === undefined ? 'anything' : typeOf(node.items)}`;
  const values = node.additionalProperties;
  if (typeof values === 'object' && node.properties === undefined) return `object of ${typeOf(values)}`;
  return [node.type ?? 'anything'].flat().join(' or ');
}

function refusals(): string[] {
  return Object.entries(REASONS)
    .filter(([reason]) => reason.startsWith('policy.'))
    .map(([reason, { title }]) => `| \`${reason}\` | ${title} |`);
}
