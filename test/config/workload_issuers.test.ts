import { describe, expect, it } from 'vitest';
import { isPublicIssuer, workloadIssuers } from '../../src/config/workload_issuers.ts';

const AUDIENCE = 'https://as.example.com';

function problems(entries: unknown): string[] {
  const result = workloadIssuers.safeParse(entries);
  return result.success ? [] : result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('workload_issuers', () => {
  it.each([
    ['github', 'https://token.actions.githubusercontent.com'],
    ['gitlab', 'https://gitlab.com'],
    ['buildkite', 'https://agent.buildkite.com'],
  ])('the preset %s fills in issuer, provider and algorithms', (preset, issuer) => {
    const [entry] = workloadIssuers.parse([{ preset, audience: AUDIENCE }]);
    expect(entry).toMatchObject({ issuer, provider: preset, algorithms: ['RS256'], audience: [AUDIENCE], use: 'once' });
    expect(isPublicIssuer(issuer)).toBe(true);
  });

  it('CircleCI has an issuer for each organization', () => {
    expect(problems([{ preset: 'circleci', audience: 'org' }])).toEqual([
      '0.issuer: is missing: this issuer has no preset that knows it',
    ]);
    const issuer = 'https://oidc.circleci.com/org/11111111-2222-3333-4444-555555555555';
    expect(workloadIssuers.parse([{ preset: 'circleci', issuer, audience: 'org' }])[0]).toMatchObject({
      issuer,
      provider: 'circleci',
    });
  });

  it('takes any issuer, and a self-hosted one of a known kind', () => {
    const [forge, gitlab] = workloadIssuers.parse([
      { provider: 'forge', issuer: 'https://forge.example.com', audience: ['a', 'b'], conditions: { team: 'x' } },
      { preset: 'gitlab', issuer: 'https://gitlab.example.com', audience: 'a', use: 'one_key' },
    ]);
    expect(forge).toMatchObject({ provider: 'forge', conditions: { team: ['x'] }, audience: ['a', 'b'] });
    expect(forge?.algorithms).toContain('ES256');
    expect(gitlab).toMatchObject({ provider: 'gitlab', issuer: 'https://gitlab.example.com', use: 'one_key' });
  });

  it.each<[string, object, string]>([
    ['an unknown preset', { preset: 'jenkins' }, '0.preset: '],
    ['no audience', { audience: undefined }, '0.audience: '],
    ['no issuer', { preset: undefined }, '0.issuer: is missing'],
    ['an issuer that is no URI', { issuer: 'github' }, '0.issuer: expected an absolute URI'],
    [
      'keys in two places',
      { jwks_uri: 'https://a.example/keys', jwks_file: 'keys.json' },
      '0.jwks_file: give jwks_uri or',
    ],
    [
      'keys over http',
      { jwks_uri: 'http://ci.example.com/keys' },
      '0.jwks_uri: metadata and keys must come over https',
    ],
    ['an issuer over http', { issuer: 'http://ci.example.com' }, '0.issuer: metadata and keys must come over https'],
    ['a symmetric algorithm', { algorithms: ['HS256'] }, '0.algorithms.0: '],
    ['a provider beside the preset', { provider: 'forge' }, '0.provider: the preset says who'],
    ['an unknown key', { condition: {} }, '0: Unrecognized key'],
    ['an unknown member of job', { job_claims: { team: 'team' } }, '0.job_claims'],
    ['a condition that nothing meets', { conditions: { a: [] } }, '0.conditions.a'],
  ])('refuses %s', (_name, changes, problem) => {
    expect(problems([{ preset: 'github', audience: AUDIENCE, ...changes }]).join('\n')).toContain(problem);
  });

  it('refuses an issuer twice', () => {
    const entry = { preset: 'github', audience: AUDIENCE };
    expect(problems([entry, { ...entry, audience: 'b' }])).toEqual(['1.issuer: this issuer is listed twice']);
  });
});
