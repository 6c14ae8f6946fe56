import { BROKER_REASONS } from '../../src/broker/reasons.ts';
import { authServerEditorSchema } from '../../src/config/authserver_schema.ts';
import { brokerEditorSchema } from '../../src/config/broker_schema.ts';
import { editorSchema } from '../../src/config/schema.ts';
import { workflowsEditorSchema } from '../../src/config/workflows_schema.ts';

/** The part of a JSON Schema that is printed. */
export interface Node {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
}

/** docs/reference/configuration.schema.json: for editors, `# yaml-language-server: $schema=…`. */
export function configurationSchema(): string {
  return `${JSON.stringify(editorSchema(), null, 2)}\n`;
}

/** docs/reference/authserver.schema.json: the same for the authorization server's file. */
export function authServerSchema(): string {
  return `${JSON.stringify(authServerEditorSchema(), null, 2)}\n`;
}

/** docs/reference/configuration.md: every key with its type, default and meaning. */
export function configurationPage(): string {
  return `<!-- Generated from src/config/schema.ts by npm run generate. -->
# Configuration

One YAML file, strict: an unknown key is an error that names file, line and the nearest known key. \`\${NAME}\` takes an environment variable
(\`$\${\` stands for a plain \`\${\`); keys ending in \`_file\` read a file. Relative paths are relative to the configuration file.
\`sallyport config check FILE\` says what a file would serve, and everything that is wrong with what it names; it asks nobody but the services that bundles come from, and writes nothing.
It knows the files of [authorization server](authserver.md), [broker](broker.md) and [agent](agent.md) by their keys, too. \`sallyport config schema --of PROGRAM\` prints the JSON Schema for editors.

${table(editorSchema() as Node)}`;
}

/** docs/reference/authserver.md: every key of the authorization server's file. */
export function authServerPage(): string {
  return `<!-- Generated from src/config/authserver_schema.ts by npm run generate. -->
# Configuration of the authorization server

One YAML file for \`sallyport authserver --config FILE\`, strict and read like [that of the gateway](configuration.md). How to run it, with examples:
[the guide](../guides/authorization_server.md). A client authenticates with its key (\`private_key_jwt\`, RFC 7523; the audience of its assertion is the issuer identifier alone), with a certificate
(RFC 8705), or is known by the workload identity token in its request (\`none\`); every token is bound to a key or a certificate. There are no shared secrets and no bearer tokens.
A request names one \`resource\` and asks for scopes, \`authorization_details\` or both; it gets what it asks for and may have, and the answer says what that is.
\`sallyport config check FILE\` reads it and whatever it names, as a start would, without asking anybody or writing anything; \`sallyport config schema --of authserver\` prints the schema for editors.

${table(authServerEditorSchema() as Node)}`;
}

/** docs/reference/broker.schema.json: for editors. */
export function brokerSchemaFile(): string {
  return `${JSON.stringify(brokerEditorSchema(), null, 2)}\n`;
}

/** docs/reference/workflows.schema.json: for editors. */
export function workflowsSchemaFile(): string {
  return `${JSON.stringify(workflowsEditorSchema(), null, 2)}\n`;
}

/** docs/reference/broker.md: every key of the broker's two files, and its refusals. */
export function brokerPage(): string {
  const reasons = Object.entries(BROKER_REASONS).map(
    ([name, { status, error, title, specification, advice }]) =>
      `| \`broker.${name}\` | ${status} \`${error}\` | ${title} | ${advice} | ${specification} |`,
  );
  return `<!-- Generated from src/config/broker_schema.ts, src/config/workflows_schema.ts and src/broker/reasons.ts by npm run generate. -->
# Configuration of the broker

One YAML file for \`sallyport broker --config FILE\`, strict and read like [that of the gateway](configuration.md). How the parts fit together:
[the guide](../guides/broker.md). \`sallyport config check FILE\` reads it, the workflows and whatever they name; \`sallyport config schema --of broker\` and \`--of workflows\` print the schemas.

${table(brokerEditorSchema() as Node)}
## The file of workflows

\`workflows_file\`, read again when it changes. A file that cannot be used is refused with file, line and key in the log, and the one before stays.

${table(workflowsEditorSchema() as Node)}
## Refusals

The answer is JSON with \`error\` and \`error_description\` (RFC 6749 §5.2) and \`reason\`; the record of the request holds the same reason. Each with 503 or 429 says \`Retry-After\`.
What the authorization server says of a request or its proof is passed on with its own \`error\`, as \`broker.server_refused\`.

| reason | answer | meaning | what to do | specification |
|---|---|---|---|---|
${reasons.join('\n')}
`;
}

/** A schema as a table of its keys. */
export function table(schema: Node): string {
  return `| key | type | default | meaning |
|---|---|---|---|
${rows(schema, '').join('\n')}
`;
}

function rows(node: Node, prefix: string): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const key = prefix === '' ? name : `${prefix}.${name}`;
    const required = node.required?.includes(name) === true;
    const inner = child.type === 'array' ? alternatives(child.items) : alternatives(child);
    const below = inner.flatMap((part) => rows(part, child.type === 'array' ? `${key}[]` : key));
    const fallback =
      child.default === undefined || (typeof child.default === 'object' && below.length > 0)
        ? ''
        : `\`${JSON.stringify(child.default)}\``;
    return [
      `| \`${key}\`${required ? ' (required)' : ''} | ${typeOf(child)} | ${fallback} | ${child.description ?? ''} |`,
      ...new Set(below),
    ];
  });
}

function alternatives(node: Node | undefined): readonly Node[] {
  return node === undefined ? [] : (node.oneOf ?? node.anyOf ?? [node]);
}

function typeOf(node: Node): string {
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(', ');
  const options = node.oneOf ?? node.anyOf;
  if (options !== undefined) return options.map(typeOf).join(' or ');
  if (node.type === 'array') return `list of ${node.items === undefined ? 'anything' : typeOf(node.items)}`;
  return node.type ?? 'anything';
}
