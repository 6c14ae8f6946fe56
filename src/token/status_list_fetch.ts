import { fetchBytes } from '../oauth/fetch_bytes.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { verifyIssuerJws } from './issuer_jws.ts';
import { readStatusList, type StatusList } from './status_list.ts';
import type { StatusListsOptions } from './status_lists.ts';

/** Bytes that a status list token may have. */
const MAX_TOKEN_BYTES = 2_097_152;
/** A ttl below this would make the gateway ask for a list all the time (draft-ietf-oauth-status-list §11.5). */
const MIN_AGE_MS = 5000;
/** The part of its life after which a list is fetched again, so that no request waits for it. */
const REFRESH_AFTER = 0.75;

/** A list with its times, milliseconds since the Unix epoch. */
export interface FetchedList {
  readonly list: StatusList;
  readonly fetchedAt: number;
  /** When to fetch it again in the background. */
  readonly refreshAt: number;
  /** When it must not be used any more. */
  readonly freshUntil: number;
}

/**
 * Fetches a status list token and verifies it (draft-ietf-oauth-status-list §5.1, §8.2, §8.3): signed by the issuer of the token that named
 * it, for this very address. Redirects are not followed, although §8.2 would have it: only the address was judged. Never rejects.
 */
export async function fetchStatusList(uri: string, options: StatusListsOptions): Promise<Parsed<FetchedList>> {
  const { config, issuer, keys, algorithms, clock } = options;
  const fetchedAt = clock(); // Before the request: the list is at least as old as its answer.
  const answer = await fetchBytes({
    url: uri,
    timeoutMs: config.timeout_ms,
    maxBytes: MAX_TOKEN_BYTES,
    isWanted: (contentType) => contentType !== null && /^application\/statuslist\+jwt\s*(;|$)/i.test(contentType),
    wanted: 'a status list',
    headers: { accept: 'application/statuslist+jwt' },
  });
  if (!answer.ok) return unparsed(`the address of a status list ${answer.problem}`);
  const jws = await verifyIssuerJws(answer.bytes.toString('latin1'), {
    type: 'statuslist+jwt',
    maxBytes: MAX_TOKEN_BYTES,
    issuer,
    keys,
    algorithms,
    clock,
  });
  if (!jws.ok) return unparsed(`a status list is malformed: ${jws.problem}`);
  const { payload, expiresAt } = jws.value;
  const lifeMs = readLife(payload, uri, config.max_age_seconds * 1000);
  if (!lifeMs.ok) return unparsed(`a status list is malformed: ${lifeMs.problem}`);
  const list = await readStatusList(payload['status_list']);
  if (!list.ok) return unparsed(`a status list is malformed: ${list.problem}`);
  const freshUntil = Math.min(
    fetchedAt + lifeMs.value,
    expiresAt === null ? Number.POSITIVE_INFINITY : expiresAt * 1000,
  );
  const refreshAt = fetchedAt + (freshUntil - fetchedAt) * REFRESH_AFTER;
  return parsed({ list: list.value, fetchedAt, refreshAt, freshUntil });
}

/** How long a list may be used, in milliseconds, when it is the one that was asked for. */
function readLife(payload: JsonObject, uri: string, maxAgeMs: number): Parsed<number> {
  const { sub, aud, ttl } = payload;
  // §8.3 item 4a: else any list of the issuer could stand for any other, an older one included.
  if (sub !== uri) return unparsed('sub is another address');
  // RFC 7519 §4.1.3: whom it is for must find itself there, and the gateway has no name among readers of lists.
  if (aud !== undefined) return unparsed('it is for somebody else');
  if (ttl === undefined) return parsed(maxAgeMs);
  if (typeof ttl !== 'number' || ttl <= 0) return unparsed('ttl is not a positive number');
  return parsed(Math.min(Math.max(ttl * 1000, MIN_AGE_MS), maxAgeMs));
}
