import { z } from 'zod';
import { algorithm, file, httpUrl, identifier, isLoopback } from './values.ts';

/**
 * The issuers of workload identity tokens that are trusted: one piece of configuration, the same for the authorization server and the broker.
 */

/** CI systems whose issuer, algorithm and names of claims are known. `issuer: null`: it differs from customer to customer. */
const PRESETS = {
  github: { issuer: 'https://token.actions.githubusercontent.com' },
  gitlab: { issuer: 'https://gitlab.com' },
  buildkite: { issuer: 'https://agent.buildkite.com' },
  circleci: { issuer: null },
} as const;

/** Members of `job` that claims may be mapped to. */
const JOB_TEXTS = [
  'repository',
  'repository_id',
  'workflow',
  'ref',
  'environment',
  'event',
  'run_id',
  'actor',
  'runner',
] as const;

const text = z.string().min(1).max(1024);
const oneOrMore = z.union([text, z.array(text).min(1).max(100)]).transform((value) => [value].flat());

const workloadIssuer = z
  .strictObject({
    preset: z
      .enum(['github', 'gitlab', 'buildkite', 'circleci'])
      .optional()
      .describe('CI system that issues the tokens: sets issuer, algorithms and how its claims become job.'),
    provider: text.optional().describe('What job.provider is for an issuer without preset.'),
    issuer: identifier
      .optional()
      .describe(
        'Issuer identifier, compared byte for byte with iss. Absent: that of the preset. CircleCI: https://oidc.circleci.com/org/ and the identifier of the organization.',
      ),
    audience: oneOrMore.describe('What aud of a token must contain; of several, one of them.'),
    jwks_uri: httpUrl.optional().describe('Where the keys are; absent together with jwks_file: discovered (RFC 8414).'),
    jwks_file: file.optional().describe('A JWK Set file with the public keys.'),
    algorithms: z
      .array(algorithm)
      .min(1)
      .optional()
      .describe('Signature algorithms. Absent: RS256 with a preset, else RS256, ES256, PS256, EdDSA.'),
    conditions: z
      .record(text, oneOrMore)
      .default({})
      .describe(
        'Claims that every token must have, with the value or one of the values. Prefer identifiers that never change hands, such as repository_owner_id.',
      ),
    job_claims: z
      .partialRecord(z.enum(JOB_TEXTS), text)
      .default({})
      .describe('Which claim gives which member of job, where there is no preset or the preset does not know it.'),
    use: z
      .enum(['once', 'one_key'])
      .default('once')
      .describe(
        'once: a token is taken once. one_key: again, but only with the key of its first use, for systems that give a job one token for its whole life (GitLab).',
      ),
    max_lifetime_seconds: z
      .int()
      .min(60)
      .max(604_800)
      .default(86_400)
      .describe('A token that is valid for longer is refused.'),
    allow_insecure: z
      .boolean()
      .default(false)
      .describe('Allow http for the metadata and keys of an issuer that is not on loopback.'),
  })
  .superRefine((entry, context) => {
    const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    const issuer = issuerOf(entry);
    if (issuer === null) issue('issuer', 'is missing: this issuer has no preset that knows it');
    if (entry.preset !== undefined && entry.provider !== undefined)
      issue('provider', 'the preset says who the provider is');
    if (entry.jwks_uri !== undefined && entry.jwks_file !== undefined)
      issue('jwks_file', 'give jwks_uri or jwks_file, not both');
    const url = entry.jwks_uri ?? (entry.jwks_file === undefined ? issuer : undefined);
    if (url?.startsWith('http://') === true && !isLoopback(new URL(url).hostname) && !entry.allow_insecure)
      issue(entry.jwks_uri === undefined ? 'issuer' : 'jwks_uri', 'metadata and keys must come over https');
  })
  .transform((entry) => ({
    ...entry,
    issuer: issuerOf(entry) ?? '',
    provider: entry.preset ?? entry.provider ?? null,
    algorithms: entry.algorithms ?? (entry.preset === undefined ? ['RS256', 'ES256', 'PS256', 'EdDSA'] : ['RS256']),
  }));

/** `workload_issuers` of a configuration: each issuer once. */
export const workloadIssuers = z
  .array(workloadIssuer)
  .max(100)
  .default([])
  .superRefine((entries, context) => {
    entries.forEach((entry, index) => {
      if (entries.findIndex((other) => other.issuer === entry.issuer) === index) return;
      context.addIssue({ code: 'custom', path: [index, 'issuer'], message: 'this issuer is listed twice' });
    });
  });

/** One trusted issuer of workload identity tokens, with what its preset says filled in. */
export type WorkloadIssuerConfig = z.output<typeof workloadIssuers>[number];

/** Whether anybody can get tokens of this issuer for a repository of their own: then only conditions keep strangers out. */
export function isPublicIssuer(issuer: string): boolean {
  return Object.values(PRESETS).some((preset) => preset.issuer === issuer);
}

function issuerOf(entry: { preset?: keyof typeof PRESETS | undefined; issuer?: string | undefined }): string | null {
  return entry.issuer ?? (entry.preset === undefined ? null : PRESETS[entry.preset].issuer);
}
