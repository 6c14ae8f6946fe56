import { z } from 'zod';
import { INPUT_LIMIT_BYTES, SHOWN_HEADERS } from '../../src/policy/input.ts';
import { policyInputSchema } from '../../src/policy/input_schema.ts';
import { NESTING_LIMIT } from '../../src/policy/nesting.ts';
import { SAMPLE_INPUT } from '../../src/policy/sample.ts';

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

/** docs/reference/policy_input.md: what a policy sees. */
export function policyInputPage(): string {
  return `<!-- Generated from src/policy/input_schema.ts by scripts/generate/policy_input.ts: npm run generate. -->
# What a policy sees

The document \`input\`, once for each request, after token and proof were found good. What a policy answers is in [policy.md](policy.md).

Version 1, never with a token, a proof, \`Authorization\`, \`DPoP\` or \`Cookie\`. JSON Schema: \`policies/schema/input.schema.json\`. At most
${INPUT_LIMIT_BYTES} bytes and, in token and body, ${NESTING_LIMIT} levels: more is refused with \`policy.input_too_large\`, and the policy is not asked. Numbers beyond 2^53 have
lost digits: compare ids as strings. Half a surrogate pair in a text is U+FFFD. What can be null is asked with \`is_null\`: the type checker of OPA knows one type
for each path, and with the schema it finds misspelt ones.

| path | type | meaning |
|---|---|---|
${rows(inputSchema() as Node, '').join('\n')}

\`request.headers\` holds ${[...SHOWN_HEADERS].map((name) => `\`${name}\``).join(', ')}, where the caller sent them and \`Connection\` does not name them.

## An example

\`\`\`json
${JSON.stringify(SAMPLE_INPUT, null, 2)}
\`\`\`

\`sallyport policy eval --method … --path … --catalogue … --json\` prints the document of any request that you describe, and every record holds that of its request.
\`sallyport policy deps\` tells which of these paths a policy reads.
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
