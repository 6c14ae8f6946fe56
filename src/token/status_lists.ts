import { LRUCache } from 'lru-cache';
import type { StatusListConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type Denied, type MaybePromise, pass } from '../kernel/result.ts';
import type { SignatureAlgorithm } from '../oauth/algorithms.ts';
import type { Jwks } from '../oauth/jwks.ts';
import { type Parsed, unparsed } from '../oauth/parsed.ts';
import { OutageLog, type TokenLog } from './outage_log.ts';
import { Places } from './places.ts';
import { type StatusList, statusAt } from './status_list.ts';
import { type FetchedList, fetchStatusList } from './status_list_fetch.ts';
import type { StatusReference } from './status_reference.ts';
import { within } from './within.ts';

/** Bytes of lists that are kept for one issuer. */
const MAX_BYTES = 67_108_864;
const MAX_LISTS = 1000;
/** Lists that are fetched at the same time. */
const PLACES = 8;
/** A list that could not be had is not asked for again for so long. */
const RETRY_MS = 1000;
const MAX_FAILURES = 1000;

/** How the lists of one issuer are had and judged. */
export interface StatusListsOptions {
  readonly config: StatusListConfig;
  readonly issuer: string;
  readonly keys: Jwks;
  readonly algorithms: ReadonlyMap<string, SignatureAlgorithm>;
  readonly clock: Clock;
  readonly log?: TokenLog | undefined;
}

/**
 * The status lists of one issuer. A list in memory answers at once; one that will soon be too old is fetched again meanwhile; one that is too
 * old is no answer. Whoever asks for the same list shares one request.
 */
export class StatusLists {
  readonly #options: StatusListsOptions;
  readonly #lists = new LRUCache<string, FetchedList>({
    max: MAX_LISTS,
    maxSize: MAX_BYTES,
    sizeCalculation: ({ list }) => list.bytes.length + 1,
  });
  readonly #flights = new Map<string, Promise<Parsed<FetchedList>>>();
  /** When a list could not be had: milliseconds since the Unix epoch. */
  readonly #failures = new LRUCache<string, number>({ max: MAX_FAILURES });
  readonly #places = new Places(PLACES);
  readonly #outages: OutageLog;
  readonly #unavailable: Denied;

  constructor(options: StatusListsOptions) {
    const { issuer, log, clock } = options;
    this.#options = options;
    this.#outages = new OutageLog({ log, clock, fields: { issuer }, subject: 'fetching status lists' });
    this.#unavailable = deny('token.status_unavailable', `no status list of ${issuer}`);
  }

  /** Whether the status of a token is VALID. Refuses with `token.revoked`, `token.status`, `token.status_unavailable`. */
  check(reference: StatusReference): MaybePromise<Checked<null>> {
    const now = this.#options.clock();
    const known = this.#lists.get(reference.uri);
    // A clock that was set back says nothing about the age of the list.
    if (known === undefined || now < known.fetchedAt || now >= known.freshUntil) return this.#fetchAndCheck(reference);
    if (now >= known.refreshAt && this.#mayFetch(reference.uri, now)) void this.#fetch(reference.uri);
    return judge(known.list, reference.index);
  }

  async #fetchAndCheck({ uri, index }: StatusReference): Promise<Checked<null>> {
    if (!this.#mayFetch(uri, this.#options.clock())) return this.#unavailable;
    const fetched = await this.#fetch(uri);
    return fetched.ok ? judge(fetched.value.list, index) : this.#unavailable;
  }

  #mayFetch(uri: string, now: number): boolean {
    const failedAt = this.#failures.get(uri);
    return failedAt === undefined || Math.abs(now - failedAt) >= RETRY_MS;
  }

  #fetch(uri: string): Promise<Parsed<FetchedList>> {
    const underWay = this.#flights.get(uri);
    if (underWay !== undefined) return underWay;
    const flight = within(this.#options.config.timeout_ms, this.#fetchInTurn(uri), LATE)
      // Also awaited by nobody: what nobody expected must not end the process.
      .catch((error: unknown) => unparsed(`fetching a status list failed: ${String(error)}`))
      .then((fetched) => this.#land(uri, fetched));
    this.#flights.set(uri, flight);
    return flight;
  }

  #land(uri: string, fetched: Parsed<FetchedList>): Parsed<FetchedList> {
    this.#flights.delete(uri);
    if (fetched.ok) {
      this.#lists.set(uri, fetched.value);
      this.#failures.delete(uri);
    } else this.#failures.set(uri, this.#options.clock());
    this.#outages.report(fetched.ok ? null : fetched.problem);
    return fetched;
  }

  async #fetchInTurn(uri: string): Promise<Parsed<FetchedList>> {
    const { config } = this.#options;
    const wanted = { waitMs: config.timeout_ms, from: uri, known: this.#lists.has(uri) };
    if (!(await this.#places.take(wanted))) return unparsed('too many lists are fetched at the same time');
    try {
      return await fetchStatusList(uri, this.#options);
    } finally {
      this.#places.leave();
    }
  }
}

const LATE: Parsed<FetchedList> = unparsed('a status list did not come in time');
const VALID: Checked<null> = pass(null);
const OUT_OF_BOUNDS: Denied = deny('token.status', 'idx lies outside the list');
const REVOKED: Denied = deny('token.revoked', 'status INVALID');
const SUSPENDED: Denied = deny('token.revoked', 'status SUSPENDED');

/** draft-ietf-oauth-status-list §7.1. */
function judge(list: StatusList, index: number): Checked<null> {
  const status = statusAt(list, index);
  switch (status) {
    case 0:
      return VALID;
    case 1:
      return REVOKED;
    case 2:
      return SUSPENDED;
    case null:
      return OUT_OF_BOUNDS; // §8.3: the token MUST be rejected.
    default:
      return deny('token.status', `status ${status} has no meaning here`);
  }
}
