/** When the sample is asked, seconds since the Unix epoch. */
const TIME = 1_795_376_000;
const RESOURCE = 'https://cloud.example.com/v1';

/** A token request as it might come, to try a policy with before it judges anything: nothing of it is real. */
export function issuanceSample(): { readonly document: object; readonly nowMs: number } {
  const details = Array.from({ length: 50 }, (_, index) => ({
    type: 'cloud_api',
    actions: ['builds.create', 'builds.get'],
    identifier: `projects/p${index}`,
  }));
  const rights = { resource: RESOURCE, scopes: ['builds:read', 'builds:write'], authorization_details: details };
  const document = {
    version: 1,
    time: TIME,
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    client: {
      id: 'sample',
      auth_method: 'private_key_jwt',
      registered: false,
      scopes: rights.scopes,
      authorization_details: details,
      resources: [RESOURCE],
    },
    subject: {
      id: 'repo:acme@1/infra@2:environment:production',
      issuer: 'https://token.actions.githubusercontent.com',
      claims: { repository: 'acme/infra', repository_id: '2' },
      actor: { sub: 'sample' },
    },
    job: {
      provider: 'github',
      repository: 'acme/infra',
      repository_id: '2',
      workflow: 'deploy.yml',
      ref: 'refs/heads/main',
      ref_protected: true,
      environment: 'production',
      event: 'push',
      run_id: '1',
    },
    binding: { method: 'dpop', thumbprint: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' },
    request: rights,
    allowed: rights,
  };
  return { document, nowMs: TIME * 1000 };
}
