import { z } from 'zod';
import { file, identifier } from './values.ts';

/**
 * The workflows of a CI engine: what each may ask for at most, and by which job it is recognised. Strict, like every file of this product.
 */

const text = z.string().min(1).max(1024);
const oneOrMore = z.union([text, z.array(text).min(1).max(100)]).transform((value) => [value].flat());
const scope = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/, 'expected one scope: no space, no quote, no backslash');

/** A resource of a cloud API by its path: segments parted by `/`, none empty, none `.` or `..`, no `*`. */
export const RESOURCE_IDENTIFIER = /^(?!\.{1,2}(\/|$))[^/*\s\p{C}]+(\/(?!\.{1,2}(\/|$))[^/*\s\p{C}]+)*$/u;

/** Members of `job` that an assertion can state. */
const JOB_CLAIMS = [
  'provider',
  'repository',
  'repository_id',
  'workflow',
  'ref',
  'ref_protected',
  'environment',
  'event',
  'run_id',
  'actor',
  'runner',
] as const;

const match = z
  .strictObject({
    issuer: text.describe('Issuer of the identity token; one of workload_issuers of the broker.'),
    subject: oneOrMore.optional().describe('sub of the identity token.'),
    repository_id: oneOrMore.optional().describe('Identifier of the repository, which never changes hands.'),
    repository: oneOrMore
      .optional()
      .describe('Name of the repository, which may change hands: give repository_id beside it.'),
    workflow: oneOrMore.optional().describe('Definition of the pipeline, such as deploy.yml.'),
    ref: oneOrMore.optional().describe('Full ref, such as refs/heads/main; a * at the end stands for the rest.'),
    ref_protected: z.boolean().optional().describe('Whether the ref is protected.'),
    event: oneOrMore.optional().describe('What started the run.'),
    runner: oneOrMore.optional().describe('Kind of machine it runs on.'),
    claims: z
      .record(text, oneOrMore)
      .optional()
      .describe('Further claims of the identity token, by their own names, such as repository_owner_id.'),
  })
  .refine((entry) => Object.values(entry).filter((value) => value !== undefined).length > 1, {
    error:
      'expected more than the issuer: it lets in whoever the issuer gives tokens to; say repository_id, or subject',
  });

/** One item of authorization_details: what a token may be granted at most. */
const detail = z
  .looseObject({
    type: text.describe('Type, as the authorization server knows it (RFC 9396 §2), such as cloud_api.'),
    actions: z.array(text).min(1).max(100).optional().describe('Operations.'),
    identifier: z
      .string()
      .max(1024)
      .regex(RESOURCE_IDENTIFIER, 'expected a resource such as projects/p1: segments parted by /, none empty, no *')
      .optional()
      .describe('The resource and everything below it, by segment.'),
    locations: z.array(text).min(1).max(20).optional().describe('Where; absent: anywhere.'),
    datatypes: z.array(text).min(1).max(100).optional().describe('Kinds of data.'),
    privileges: z.array(text).min(1).max(100).optional().describe('Levels of privilege.'),
  })
  .superRefine((item, context) => {
    if (item.type !== 'cloud_api') return;
    for (const name of ['actions', 'identifier'] as const) {
      if (item[name] !== undefined) continue;
      context.addIssue({
        code: 'custom',
        path: [name],
        message: `is missing: a cloud_api item says what may be done to what`,
      });
    }
  });

const workflow = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'expected letters, digits, ., _ and -')
    .describe('Names the workflow; also in the client at the authorization server, in records and metrics.'),
  match: match.describe('Which jobs are of this workflow: every member must hold.'),
  resources: z.array(identifier).min(1).max(100).describe('What its tokens may be for (RFC 8707).'),
  scopes: z.array(scope).max(500).default([]).describe('Scopes it may ask for at most.'),
  authorization_details: z
    .array(detail)
    .max(200)
    .default([])
    .describe('What it may ask for at most (RFC 9396): what a job asks for is narrowed to this, item by item.'),
  environments: z
    .array(text)
    .min(1)
    .max(100)
    .optional()
    .describe('Deployment environments that its jobs may run in, as the identity token says. Absent: any, and none.'),
  job_lifetime_seconds: z
    .int()
    .min(60)
    .max(604_800)
    .optional()
    .describe('How long after its first token a job ends by itself. Absent: jobs.lifetime_seconds of the broker.'),
  job_claims: z
    .array(z.enum(JOB_CLAIMS))
    .default([...JOB_CLAIMS])
    .describe(
      'What the client assertion says of the job, from its identity token. The authorization server must allow the client to state it (job.from_assertion there).',
    ),
  client: z
    .strictObject({
      client_id: z
        .string()
        .regex(/^[\x20-\x7e]{1,1024}$/, 'expected a client identifier')
        .describe('Its identifier there.'),
      private_key_file: file.describe('Private JWK that it authenticates with (RFC 7523); read again when it changes.'),
    })
    .optional()
    .describe('A client that was set up at the authorization server by hand. Absent: one is registered (RFC 7591).'),
});

/** The whole file of workflows. */
export const workflowsSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this format.'),
    workflows: z
      .array(workflow)
      .max(10_000)
      .describe('The workflows; a job is of the first one that matches, or of the one it names.'),
  })
  .superRefine(({ workflows }, context) => {
    const seen = new Set<string>();
    workflows.forEach(({ name, scopes, authorization_details: details }, index) => {
      const issue = (key: string, message: string) =>
        context.addIssue({ code: 'custom', path: ['workflows', index, key], message });
      if (seen.has(name)) issue('name', 'this name is used twice');
      seen.add(name);
      if (scopes.length === 0 && details.length === 0)
        issue('scopes', 'expected scopes, authorization_details or both');
    });
  });

/** One workflow. */
export type WorkflowConfig = z.output<typeof workflowsSchema>['workflows'][number];
/** One item of a ceiling. */
export type DetailConfig = WorkflowConfig['authorization_details'][number];

/** The JSON Schema of the file of workflows, for editors. */
export function workflowsEditorSchema(): Record<string, unknown> {
  return z.toJSONSchema(workflowsSchema, { io: 'input', unrepresentable: 'any' });
}
