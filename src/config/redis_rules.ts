import type { SettingProblem } from './problems.ts';

/** What these rules look at. */
interface RedisPlaces {
  readonly url?: unknown;
  readonly sentinels?: unknown;
  readonly cluster?: unknown;
  readonly name?: unknown;
}

/** What of the place of a Redis does not fit together. */
export function findRedisProblems(redis: RedisPlaces | undefined): SettingProblem[] {
  if (redis === undefined) return [];
  if ([redis.url, redis.sentinels, redis.cluster].filter((value) => value !== undefined).length !== 1) {
    return [{ path: [], message: 'expected exactly one of url, sentinels and cluster' }];
  }
  if (redis.sentinels !== undefined && redis.name === undefined) {
    return [{ path: ['name'], message: 'sentinels need the name of the master they watch' }];
  }
  return [];
}

/** What these rules look at; the whole configuration fits. */
interface EndedJobsInput {
  readonly admin: { readonly api_token_file?: string | undefined };
  readonly replay: { readonly redis?: unknown };
  readonly ended_jobs?:
    | {
        readonly store: 'memory' | 'redis';
        readonly redis?: unknown;
        readonly state_file?: string | undefined;
        readonly poll_ms: number;
        readonly max_stale_ms: number;
      }
    | undefined;
}

/** What of the list of ended jobs does not fit together. */
export function findEndedJobsProblems({ admin, replay, ended_jobs: ended }: EndedJobsInput): SettingProblem[] {
  if (ended === undefined) return [];
  const problem = (key: string, message: string) => [{ path: ['ended_jobs', key], message }];
  if (ended.store === 'memory') {
    if (ended.redis !== undefined) return problem('redis', 'store is memory: leave redis out, or say store: redis');
    return admin.api_token_file === undefined
      ? problem(
          'store',
          'the memory store is fed through the admin port: set admin.api_token_file, or use store: redis',
        )
      : [];
  }
  if (ended.state_file !== undefined) {
    return problem('state_file', 'store is redis, which keeps the list: leave state_file out');
  }
  if (ended.redis === undefined && replay.redis === undefined) {
    return problem(
      'redis',
      'say where Redis is, such as redis: { url: "redis://127.0.0.1:6379" }, here or in replay.redis',
    );
  }
  return ended.max_stale_ms < 2 * ended.poll_ms
    ? problem('max_stale_ms', 'expected at least twice poll_ms, so that one slow answer is no outage')
    : [];
}
