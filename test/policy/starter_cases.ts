import type { Job, Operation, TokenFacts } from '../../src/kernel/context.ts';
import { type AuthorizedChanges, makeAuthorized } from '../support/authorized.ts';

/** One call and what the starter policy says to it, with the table of jobs that comes with it. */
export interface StarterCase {
  readonly name: string;
  readonly call: StarterCall;
  /** Codes of the reasons, sorted; none: allowed. */
  readonly codes: readonly string[];
}

/** What differs from a call that is allowed. */
export interface StarterCall {
  readonly path?: string;
  readonly operation?: Partial<Operation> | null;
  readonly token?: Partial<TokenFacts>;
  readonly job?: Partial<Job> | null;
}

const OPERATION: Operation = {
  service: 'projects',
  name: 'builds.create',
  resource: 'projects/p1/builds',
  params: { project: 'p1' },
  access: 'write',
  scopes: ['builds:write'],
  authorizationDetailsType: 'cloud_api',
};

const JOB: Job = {
  provider: 'github',
  repository: 'acme/infra',
  repository_id: '456789',
  workflow: 'deploy.yml',
  ref: 'refs/heads/main',
  ref_protected: true,
  environment: 'production',
  event: 'push',
  run_id: '1',
  actor: 'octocat',
  runner: 'github-hosted',
  claims: {},
};

const ITEM = { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' };

/** The request, token and proof of a call. */
export function requestOf({ path = '/v1/projects/p1/builds', operation = {}, token, job = {} }: StarterCall) {
  const changes: AuthorizedChanges = {
    id: 'case',
    method: 'POST',
    path,
    operation: operation && { ...OPERATION, ...operation },
    token: {
      scopes: ['builds:read', 'builds:write'],
      authorizationDetails: [ITEM],
      job: job && { ...JOB, ...job },
      ...token,
    },
  };
  return makeAuthorized(changes);
}

const SCOPE = ['insufficient_scope'];
const DETAILS = ['not_covered_by_authorization_details'];
const NOT_THE_JOB = ['job_not_allowed'];

const items = (...authorizationDetails: Record<string, unknown>[]): StarterCall => ({
  token: { authorizationDetails },
});
const item = (changes: Record<string, unknown>): StarterCall => items({ ...ITEM, ...changes });
const scopes = (...names: string[]): StarterCall => ({ token: { scopes: names } });
const onResource = (resource: string, path: string): StarterCall => ({ operation: { resource }, path });
const LOOK: StarterCall = {
  operation: { name: 'builds.list', access: 'read', scopes: ['builds:read'] },
  token: { authorizationDetails: [{ ...ITEM, actions: ['builds.list'] }] },
};

const row = (codes: readonly string[]) => (name: string, call: StarterCall) => ({ name, call, codes });
const allowed = row([]);
const noScope = row(SCOPE);
const notCovered = row(DETAILS);
const notTheJob = row(NOT_THE_JOB);

/** The golden decisions. */
export const STARTER_CASES: readonly StarterCase[] = [
  allowed('a call that scope, details and job cover', {}),
  allowed('a token that names no job', { job: null }),
  allowed('an item for the resource itself', item({ identifier: 'projects/p1/builds' })),
  allowed('an item for all projects', item({ identifier: 'projects' })),
  allowed('an identifier with a trailing slash', item({ identifier: 'projects/p1/' })),
  allowed('the second of two items', items({ ...ITEM, identifier: 'projects/p2' }, ITEM)),
  allowed('an item beside one of another type', items({ type: 'payment_initiation' }, ITEM)),
  allowed('one of several actions', item({ actions: ['builds.get', 'builds.create'] })),
  allowed('the location of the resource', item({ locations: ['https://cloud.example.com/v1'] })),
  allowed('the location of the origin', item({ locations: ['https://cloud.example.com'] })),
  allowed(
    'a location below the resource that holds the call',
    item({ locations: ['https://cloud.example.com/v1/projects/p1/'] }),
  ),
  allowed(
    'one of several locations',
    item({ locations: ['https://other.example.com/', 'https://cloud.example.com/v1/'] }),
  ),
  allowed('scopes alone, where the catalogue asks for no details', {
    operation: { authorizationDetailsType: null },
    token: { authorizationDetails: [] },
  }),
  allowed('details alone, where the catalogue asks for no scope', { operation: { scopes: [] }, token: { scopes: [] } }),
  allowed('looking, by any workflow of a listed repository', {
    ...LOOK,
    job: { workflow: 'test.yml', environment: null, ref: 'refs/heads/topic', ref_protected: false },
  }),
  allowed('looking, without a job', { ...LOOK, job: null }),

  row(['operation_unknown'])('an operation that is not known', { operation: null }),
  row(['operation_unknown'])('an operation that is not known, with nothing else right', {
    operation: null,
    token: { scopes: [], authorizationDetails: [] },
    job: { repository: 'acme/other' },
  }),
  row(['operation_unprotected'])('an operation that the catalogue asks nothing for', {
    operation: { scopes: [], authorizationDetailsType: null },
  }),

  noScope('no scope', scopes()),
  noScope('another scope', scopes('builds:read')),
  noScope('a scope that merely begins like it', scopes('builds:writer', 'builds', 'builds:')),
  noScope('a scope in other letters', scopes('Builds:Write')),
  noScope('a star', scopes('*', 'builds:*')),
  noScope('one of two scopes', { operation: { scopes: ['builds:write', 'builds:admin'] } }),

  notCovered('no item', items()),
  notCovered('an item of another type', item({ type: 'other' })),
  notCovered('an item of the type in other letters', item({ type: 'Cloud_api' })),
  notCovered('another action', item({ actions: ['builds.get'] })),
  notCovered(
    'an action that merely begins like it',
    item({ actions: ['builds.creat', 'builds.create2', 'builds', 'builds.*', '*'] }),
  ),
  notCovered('an empty list of actions', item({ actions: [] })),
  notCovered('actions in one text', item({ actions: 'builds.create' })),
  notCovered('actions as an object', item({ actions: { a: 'builds.create' } })),
  notCovered('actions that are null', item({ actions: null })),
  notCovered('an action inside a list', item({ actions: [['builds.create']] })),
  notCovered('no actions', items({ type: 'cloud_api', identifier: 'projects/p1' })),
  notCovered('no identifier', items({ type: 'cloud_api', actions: ['builds.create'] })),
  notCovered('another identifier', item({ identifier: 'projects/p2' })),
  notCovered('p10 with an item for p1', onResource('projects/p10/builds', '/v1/projects/p10/builds')),
  notCovered('p1 with an item for p10', item({ identifier: 'projects/p10' })),
  notCovered('p1 with an item for p', item({ identifier: 'projects/p' })),
  notCovered('p1%2Fx with an item for p1', onResource('projects/p1%2Fx/builds', '/v1/projects/p1%2Fx/builds')),
  notCovered('an item for something below', item({ identifier: 'projects/p1/builds/b1' })),
  notCovered('an empty identifier', item({ identifier: '' })),
  notCovered('a slash for an identifier', item({ identifier: '/' })),
  notCovered('an identifier with a leading slash', item({ identifier: '/projects/p1' })),
  notCovered('a star for an identifier', item({ identifier: '*' })),
  notCovered('dot segments in an identifier', item({ identifier: 'projects/p2/../p1' })),
  notCovered('an identifier that is null', item({ identifier: null })),
  notCovered('identifiers in a list', item({ identifier: ['projects/p1'] })),
  notCovered('another location', item({ locations: ['https://other.example.com/v1'] })),
  notCovered(
    'a location that merely begins like it',
    item({ locations: ['https://cloud.example.com/v', 'https://cloud.example'] }),
  ),
  notCovered(
    'a location whose host merely begins like it',
    item({ locations: ['https://cloud.example.com.other.example/v1'] }),
  ),
  notCovered('the beginning of any URL for a location', item({ locations: ['https:', 'https:/', 'https://', ''] })),
  notCovered('the location of another project', item({ locations: ['https://cloud.example.com/v1/projects/p10'] })),
  notCovered('the location over plain HTTP', item({ locations: ['http://cloud.example.com/v1'] })),
  notCovered('the location on another port', item({ locations: ['https://cloud.example.com:8443/v1'] })),
  notCovered('an empty list of locations', item({ locations: [] })),
  notCovered('locations in one text', item({ locations: 'https://cloud.example.com/v1' })),
  notCovered('locations that are null', item({ locations: null })),
  notCovered('a member that is not known', item({ privileges: ['admin'] })),
  notCovered('a member that is not known and null', item({ max_count: null })),
  notCovered(
    'parts of items that would cover it together',
    items(
      { ...ITEM, actions: ['builds.get'] },
      { ...ITEM, identifier: 'projects/p2' },
      { ...ITEM, type: 'other' },
      { ...ITEM, locations: ['https://other.example.com/'] },
    ),
  ),
  notCovered(
    '256 items of which none covers it',
    items(...Array.from({ length: 256 }, (_, index) => ({ ...ITEM, identifier: `projects/p1${index}` }))),
  ),

  row([...SCOPE, ...DETAILS])('neither scope nor details', { token: { scopes: [], authorizationDetails: [] } }),

  notTheJob('a repository that is not listed', { job: { repository: 'acme/other' } }),
  notTheJob('a repository in other letters', { job: { repository: 'Acme/infra' } }),
  notTheJob('a repository whose name changed hands', { job: { repository_id: '1' } }),
  notTheJob('a repository without its id', { job: { repository_id: null } }),
  notTheJob('another provider', { job: { provider: 'gitlab' } }),
  notTheJob('no provider', { job: { provider: null } }),
  notTheJob('another workflow', { job: { workflow: 'test.yml' } }),
  notTheJob('no workflow', { job: { workflow: null } }),
  notTheJob('another environment', { job: { environment: 'staging' } }),
  notTheJob('no environment', { job: { environment: null } }),
  notTheJob('a ref that is not protected', { job: { ref_protected: false } }),
  notTheJob('a ref of which nobody says whether it is protected', { job: { ref_protected: null } }),
  notTheJob('an operation that no rule names', {
    operation: { name: 'projects.delete' },
    token: { authorizationDetails: [{ ...ITEM, actions: ['projects.delete'] }] },
  }),
  notTheJob('an operation of that name of another service', { operation: { service: 'other' } }),
  row([...SCOPE, ...NOT_THE_JOB])('neither scope nor job', {
    token: { scopes: [], job: { ...JOB, provider: 'gitlab' } },
  }),
];
