import type { PolicyInput } from './input_schema.ts';

/** A call as it might come, to try a policy with before it judges anything: nothing of it is real. */
export const SAMPLE_INPUT: PolicyInput = {
  version: 1,
  request: {
    id: 'sample',
    time: 1_795_376_000,
    route: 'sample',
    method: 'POST',
    host: 'cloud.example.com',
    origin: 'https://cloud.example.com',
    resource: 'https://cloud.example.com/v1',
    path: '/v1/projects/p1/builds',
    segments: ['v1', 'projects', 'p1', 'builds'],
    query: {},
    headers: { 'content-type': ['application/json'] },
    body: null,
    body_state: 'not_requested',
    peer_address: '192.0.2.7',
  },
  operation: {
    service: 'projects',
    name: 'builds.create',
    resource: 'projects/p1/builds',
    params: { project: 'p1' },
    access: 'write',
    scopes: ['builds:write'],
    authorization_details_type: 'cloud_api',
  },
  client: { id: 'sample', auth_method: 'private_key_jwt' },
  token: {
    kind: 'jwt',
    issuer: 'https://as.example.com',
    subject: 'sample',
    audience: ['https://cloud.example.com/v1'],
    jti: 'sample',
    issued_at: 1_795_375_990,
    expires_at: 1_795_376_290,
    scopes: ['builds:read', 'builds:write'],
    authorization_details: [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' }],
    claims: {},
    binding: { method: 'dpop', thumbprint: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' },
  },
  job: {
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
  },
};

/** Items of authorization_details in the large sample: about as much as the largest token that a header can carry. */
const LARGE_ITEMS = 256;

/** The same call with a very large token, none of whose many items covers it: what a policy's loops cost. */
export function largeSample(): PolicyInput {
  const items = Array.from({ length: LARGE_ITEMS }, (_, index) => ({
    type: 'cloud_api',
    actions: ['builds.create'],
    identifier: `projects/other-${index}`,
  }));
  return { ...SAMPLE_INPUT, token: { ...SAMPLE_INPUT.token, authorization_details: items } };
}
