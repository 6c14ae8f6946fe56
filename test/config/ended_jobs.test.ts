import { describe, expect, it } from 'vitest';
import { parseGatewayConfig } from '../../src/config/load.ts';

const BASE = {
  version: 1,
  issuers: [{ issuer: 'https://as.example.com' }],
  policy: { path: 'policies' },
  routes: [
    { name: 'a', path_prefix: '/v1', upstream: { url: 'http://127.0.0.1:1' }, resource: 'https://cloud.example.com' },
  ],
};
const redis = { url: 'redis://127.0.0.1:6379' };
const admin = { api_token_file: 'admin.token' };
const parse = (changes: Record<string, unknown>) => parseGatewayConfig({ ...BASE, ...changes }, '/etc/sallyport');

describe('ended_jobs in the configuration', () => {
  it('is off unless it is there', () => {
    expect(parse({}).ended_jobs).toBeUndefined();
  });

  it('has defaults, and paths relative to the file', () => {
    const config = parse({ admin, ended_jobs: { store: 'memory', state_file: 'ended.json' } });
    expect(config.admin.api_token_file).toBe('/etc/sallyport/admin.token');
    expect(config.ended_jobs).toEqual({
      store: 'memory',
      state_file: '/etc/sallyport/ended.json',
      limit: 200_000,
      poll_ms: 250,
      max_stale_ms: 1000,
    });
    expect(parse({ replay: { store: 'redis', redis }, ended_jobs: { store: 'redis' } }).ended_jobs?.store).toBe(
      'redis',
    );
    expect(parse({ ended_jobs: { store: 'redis', redis } }).ended_jobs?.redis?.url).toBe(redis.url);
  });

  it.each([
    [{ ended_jobs: { store: 'memory' } }, 'set admin.api_token_file'],
    [{ admin, ended_jobs: { store: 'memory', redis } }, 'leave redis out, or say store: redis'],
    [{ ended_jobs: { store: 'redis' } }, 'say where Redis is'],
    [{ ended_jobs: { store: 'redis', redis, state_file: 'x' } }, 'leave state_file out'],
    [{ ended_jobs: { store: 'redis', redis, poll_ms: 600 } }, 'expected at least twice poll_ms'],
    [{ ended_jobs: { store: 'redis', redis: {} } }, 'expected exactly one of url, sentinels and cluster'],
    [{ ended_jobs: { store: 'redis', redis: { ...redis, cluster: [{ host: 'a' }] } } }, 'expected exactly one of'],
    [{ ended_jobs: { store: 'redis', redis: { sentinels: [{ host: 'a' }] } } }, 'the name of the master'],
    [{ ended_jobs: { store: 'file' } }, 'store'],
    [{ ended_jobs: { store: 'redis', redis, max_stale_ms: 1 } }, 'max_stale_ms'],
  ])('%j is an error that says what to do', (changes, words) => {
    expect(() => parse(changes)).toThrow(words);
  });
});
