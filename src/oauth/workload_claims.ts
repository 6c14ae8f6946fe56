import type { Job } from '../kernel/context.ts';
import type { JsonObject } from './strict_json.ts';

/** What the claims of a workload-identity token say of the job. */
export type JobMembers = Omit<Job, 'provider' | 'claims'>;

/** Claims whose issuer stands for one provider. Self-hosted providers have other issuers; there the authorization server names the provider. */
const ISSUERS: readonly (readonly [RegExp, string])[] = [
  [/^https:\/\/token\.actions\.githubusercontent\.com(\/|$)/, 'github'],
  [/^https:\/\/gitlab\.com$/, 'gitlab'],
  [/^https:\/\/agent\.buildkite\.com$/, 'buildkite'],
  [/^https:\/\/oidc\.circleci\.com\/org\//, 'circleci'],
];

const MAPPINGS: ReadonlyMap<string, (claims: JsonObject) => JobMembers> = new Map([
  ['github', github],
  ['gitlab', gitlab],
  ['buildkite', buildkite],
  ['circleci', circleci],
]);

const NOTHING: JobMembers = {
  repository: null,
  repository_id: null,
  workflow: null,
  ref: null,
  ref_protected: null,
  environment: null,
  event: null,
  run_id: null,
  actor: null,
  runner: null,
};

/** The provider that issued these claims, where their `iss` tells. */
export function providerOf(claims: JsonObject): string | null {
  const iss = claims['iss'];
  if (typeof iss !== 'string') return null;
  return ISSUERS.find(([pattern]) => pattern.test(iss))?.[1] ?? null;
}

/** Maps the names of a provider's claims to those of `Job`. A claim that is missing or of an unexpected type is null: the provider does not say. */
export function mapWorkloadClaims(provider: string | null, claims: JsonObject): JobMembers {
  return MAPPINGS.get(provider ?? '')?.(claims) ?? NOTHING;
}

function github(claims: JsonObject): JobMembers {
  const repository = text(claims, 'repository');
  return {
    repository,
    repository_id: text(claims, 'repository_id'),
    // `workflow_ref` names the file. `workflow` never stands in for it: that is a display name, which any file may choose.
    workflow: fileWithin(`${repository}/.github/workflows/`, text(claims, 'workflow_ref')),
    ref: text(claims, 'ref'),
    ref_protected: flag(claims, 'ref_protected'),
    environment: text(claims, 'environment'),
    event: text(claims, 'event_name'),
    run_id: text(claims, 'run_id'),
    actor: text(claims, 'actor'),
    runner: text(claims, 'runner_environment'),
  };
}

function gitlab(claims: JsonObject): JobMembers {
  const repository = text(claims, 'project_path');
  const configuration = text(claims, 'ci_config_ref_uri');
  const host = configuration?.slice(0, configuration.indexOf('/'));
  return {
    repository,
    repository_id: text(claims, 'project_id'),
    workflow: fileWithin(`${host}/${repository}//`, configuration),
    // `ref` lacks refs/heads/ or refs/tags/, so that a tag could pass for a branch of the same name.
    ref: text(claims, 'ref_path') ?? fullRef(text(claims, 'ref_type'), text(claims, 'ref')),
    ref_protected: flag(claims, 'ref_protected'),
    environment: text(claims, 'environment'),
    event: text(claims, 'pipeline_source'),
    run_id: text(claims, 'pipeline_id'),
    actor: text(claims, 'user_login'),
    runner: text(claims, 'runner_environment'),
  };
}

function buildkite(claims: JsonObject): JobMembers {
  const tag = text(claims, 'build_tag');
  const organization = text(claims, 'organization_slug');
  const pipeline = text(claims, 'pipeline_slug');
  return {
    ...NOTHING, // Buildkite does not say which repository was built.
    // All organizations share one issuer: the slug of a pipeline means nothing without that of the organization.
    workflow: organization === null || pipeline === null ? null : `${organization}/${pipeline}`,
    ref: tag === null ? fullRef('branch', text(claims, 'build_branch')) : fullRef('tag', tag),
    event: text(claims, 'build_source'),
    run_id: text(claims, 'build_id') ?? text(claims, 'build_number'),
    runner: text(claims, 'runner_environment'),
  };
}

function circleci(claims: JsonObject): JobMembers {
  return {
    ...NOTHING,
    repository: text(claims, 'oidc.circleci.com/vcs-origin'),
    repository_id: text(claims, 'oidc.circleci.com/project-id'),
    workflow: text(claims, 'oidc.circleci.com/pipeline-definition-id'),
    ref: text(claims, 'oidc.circleci.com/vcs-ref'),
    run_id: text(claims, 'oidc.circleci.com/pipeline-id'),
    actor: /(?:^|\/)user\/([^/]+)/.exec(text(claims, 'sub') ?? '')?.[1] ?? null,
  };
}

/** The file of a reference such as acme/infra/.github/workflows/deploy.yml@refs/heads/main; the whole reference when it lies elsewhere. */
function fileWithin(folder: string, reference: string | null): string | null {
  if (reference === null) return null;
  // Both parts may contain an @ of their own; the last @refs/ is one that the name of a file alone cannot forge.
  const end = reference.lastIndexOf('@refs/');
  if (!reference.startsWith(folder) || end <= folder.length) return reference;
  return reference.slice(folder.length, end);
}

function fullRef(type: string | null, name: string | null): string | null {
  if (name === null) return null;
  return type === 'branch' ? `refs/heads/${name}` : type === 'tag' ? `refs/tags/${name}` : null;
}

function text(claims: JsonObject, name: string): string | null {
  const value = claims[name];
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  return typeof value === 'string' && value.length > 0 && value.length <= 1024 ? value : null;
}

function flag(claims: JsonObject, name: string): boolean | null {
  const value = claims[name];
  return value === true || value === 'true' ? true : value === false || value === 'false' ? false : null;
}

/** A claim as a text; null when it is missing or no single value. Providers spell the same values as texts and as plain values. */
export function plainClaim(claims: JsonObject, name: string): string | null {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isSafeInteger(value))) return String(value);
  return typeof value === 'string' && value !== '' && value.length <= 1024 ? value : null;
}
