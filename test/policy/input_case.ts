import {
  type Job,
  type RequestContext,
  sealToken,
  type TokenFacts,
  type VerifiedToken,
} from '../../src/kernel/context.ts';
import { buildInput } from '../../src/policy/input.ts';
import { policyInputSchema } from '../../src/policy/input_schema.ts';
import { makeAuthorized } from '../support/authorized.ts';

/** A job with every claim. */
export const JOB: Job = {
  provider: 'github',
  repository: 'acme/infra',
  repository_id: '456789',
  workflow: 'deploy.yml',
  ref: 'refs/heads/main',
  ref_protected: true,
  environment: null,
  event: 'push',
  run_id: '1',
  actor: 'octocat',
  runner: 'github-hosted',
  claims: { ref_type: 'branch' },
};

const OPERATION = {
  service: 'projects',
  name: 'builds.create',
  resource: 'projects/p1/builds',
  params: { project: 'p1' },
  access: 'write',
  scopes: ['builds:write'],
  authorizationDetailsType: 'cloud_api',
} as const;

/** A POST of builds.create, its token and its proof. */
export const {
  context: plain,
  token: plainToken,
  proof,
} = makeAuthorized({
  id: 'r1',
  method: 'POST',
  path: '/v1/projects/p1/builds',
  operation: OPERATION,
  rawHeaders: ['Host', 'cloud.example.com', 'Content-Type', 'application/json'],
});

/** The same request with changes. */
export function contextWith(changes: Partial<RequestContext>): RequestContext {
  return { ...plain, ...changes };
}

/** The same token with changes. */
export function tokenWith(changes: Partial<TokenFacts>): VerifiedToken {
  return sealToken({ ...plainToken, ...changes });
}

/** The document, read again; the input must not be refused. */
export function documentOf(context: RequestContext, token: VerifiedToken = plainToken, sender = proof) {
  const input = buildInput(context, token, sender);
  if (!input.ok) throw new Error(input.denial.reason);
  const document: unknown = JSON.parse(input.value);
  policyInputSchema.parse(document);
  // As it stands in the text: the parsed copy has no member named __proto__.
  return document as ReturnType<typeof policyInputSchema.parse>;
}

/** The reason of the refusal, or null. */
export function refusalOf(context: RequestContext, token: VerifiedToken = plainToken): string | null {
  const input = buildInput(context, token, proof);
  return input.ok ? null : input.denial.reason;
}
