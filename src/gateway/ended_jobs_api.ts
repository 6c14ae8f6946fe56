import { randomUUID } from 'node:crypto';
import type { AdminAnswer, AdminApi, AdminRequest } from '../admin/api.ts';
import { type EndedKey, type EndedKeys, LONGEST_MS, THUMBPRINT } from '../ended_jobs/ended_keys.ts';
import type { Clock } from '../kernel/clock.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { parseJsonObject } from '../oauth/strict_json.ts';

/** Keys of one call. */
const MOST_KEYS = 1000;
const BODY_BYTES = 131_072;

/** Where the keys go. */
export interface EndedJobsPort {
  /** Resolves when every process of this gateway refuses them; rejects when that is not certain. */
  end(keys: readonly EndedKey[]): Promise<void>;
  /** How many are remembered. */
  count(): number;
  /** Of this start: another one may have forgotten what it was told. */
  readonly instance: string;
  readonly clock: Clock;
}

/** The port of a store; `end` says what else must hear of the keys. */
export function endedJobsPort(keys: EndedKeys, clock: Clock, end = keys.end.bind(keys)): EndedJobsPort {
  return { instance: randomUUID(), clock, count: () => keys.list().length, end };
}

/** POST /ended-jobs of the admin port: the keys of jobs that have ended. GET: how many are remembered, and by which start of the program. */
export function endedJobsApi(port: EndedJobsPort): AdminApi {
  return {
    '/ended-jobs': {
      maxBodyBytes: BODY_BYTES,
      methods: {
        GET: () => ({ status: 200, value: { instance: port.instance, keys: port.count() } }),
        POST: (request) => endKeys(request, port),
      },
    },
  };
}

async function endKeys({ contentType, body }: AdminRequest, { end, clock }: EndedJobsPort): Promise<AdminAnswer> {
  if (contentType !== 'application/json') {
    return { status: 415, value: { error: 'expected Content-Type: application/json' } };
  }
  const keys = readEndedKeys(body, clock());
  if (!keys.ok) return { status: 400, value: { error: keys.problem } };
  try {
    await end(keys.value);
    return { status: 204 };
  } catch (error) {
    // Fixed words of the stores; nothing of the request.
    return { status: 503, value: { error: (error as Error).message }, headers: { 'Retry-After': '1' } };
  }
}

/** Reads `{"keys": [{"thumbprint": "…", "expires_at": 1795348800}]}`; `expires_at` in seconds since the Unix epoch (NumericDate). */
export function readEndedKeys(body: Buffer, nowMs: number): Parsed<EndedKey[]> {
  const json = parseJsonObject(body, { maxBytes: BODY_BYTES, maxDepth: 4 });
  if (!json.ok) return unparsed(`expected a JSON object: ${json.problem}`);
  const { keys, ...others } = json.value;
  if (Object.keys(others).length > 0) return unparsed('expected no member but keys');
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > MOST_KEYS) {
    return unparsed(`expected keys: a list of 1 to ${MOST_KEYS} objects`);
  }
  const ended: EndedKey[] = [];
  for (const key of keys as readonly unknown[]) {
    const { thumbprint, expires_at: expiresAt } = (key ?? {}) as { thumbprint?: unknown; expires_at?: unknown };
    if (typeof thumbprint !== 'string' || !THUMBPRINT.test(thumbprint)) {
      return unparsed(
        'expected thumbprint: a SHA-256 in base64url, 43 characters (cnf.jkt or cnf.x5t#S256 of the tokens)',
      );
    }
    if (typeof expiresAt !== 'number' || !Number.isSafeInteger(expiresAt) || expiresAt < 0) {
      return unparsed('expected expires_at: when the last token expires, in seconds since the Unix epoch');
    }
    if (expiresAt * 1000 > nowMs + LONGEST_MS) {
      return unparsed(
        `expected expires_at at most ${LONGEST_MS / 86_400_000} days ahead, in seconds since the Unix epoch`,
      );
    }
    ended.push({ thumbprint, expiresAt: expiresAt * 1000 });
  }
  return parsed(ended);
}
