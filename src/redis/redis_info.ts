/** What a Redis says of itself, as far as what is kept there depends on it. */
export interface RedisInfo {
  /** Changes with each start of the process and with each promotion: what was written before may be gone. Null when it does not say. */
  readonly identity: string | null;
  readonly role: string;
  /** `noeviction`, or how keys are thrown away when memory is short. Null when it does not say. */
  readonly evictionPolicy: string | null;
  /** Milliseconds since the Unix epoch by the clock of Redis; null before Redis 6.2, which does not say. */
  readonly timeMs: number | null;
}

/** Reads the answer to INFO: lines `name:value` in sections that start with `#`. */
export function parseRedisInfo(text: string): RedisInfo {
  const fields = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  const runId = fields.get('run_id');
  const microseconds = fields.get('server_time_usec');
  return {
    identity: runId === undefined ? null : `${runId} ${fields.get('master_replid') ?? ''}`,
    role: fields.get('role') ?? 'unknown',
    evictionPolicy: fields.get('maxmemory_policy') ?? null,
    timeMs: microseconds === undefined ? null : Number(microseconds) / 1000,
  };
}

/** What a Redis is used for, for messages. */
export interface RedisUse {
  /** Where it is configured, such as `replay.redis`. */
  readonly key: string;
  /** What a restart loses. */
  readonly lost: string;
  /** What comes of an eviction. */
  readonly evicted: string;
  readonly allowEviction: boolean;
}

/** Why this Redis must not be used, for people: what was read, what was expected, what to do. Null when it may. */
export function findRedisProblem(info: RedisInfo, { key, lost, evicted, allowEviction }: RedisUse): string | null {
  if (info.identity === null) {
    return `INFO names no run_id, so a restart that loses ${lost} would go unnoticed: use a Redis whose INFO shows the section server`;
  }
  if (info.role !== 'master') {
    return `its role is ${info.role}, expected master: connect to the master, through sentinels or cluster where it may move`;
  }
  if (info.evictionPolicy !== 'noeviction' && !allowEviction) {
    const seen = info.evictionPolicy ?? 'not shown';
    return (
      `its maxmemory-policy is ${seen}, expected noeviction, since ${evicted}: run CONFIG SET ` +
      `maxmemory-policy noeviction and write it into redis.conf (or, not for production, set ${key}.allow_eviction: true)`
    );
  }
  return null;
}
