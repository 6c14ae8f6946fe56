import { type Bundle, BundleRefused } from './bundle.ts';

/** Superseded revisions that are remembered of one bundle. */
const REMEMBERED = 1000;

/** What was used of one bundle before, oldest first: each revision that another one took the place of. */
export type Superseded = readonly string[];

/**
 * Refuses a bundle that is older than the one in use: an old bundle has a good signature too. Older is a revision that was in use before,
 * and, of two numbers, points in time (RFC 3339) or versions (semver.org), the lower one. Revisions are free text otherwise, so between two
 * that are neither nothing can be said, and both are taken.
 * @throws BundleRefused
 */
export function refuseOlder(current: Bundle, next: Pick<Bundle, 'revision'>, superseded: Superseded): void {
  if (next.revision === current.revision) return;
  const words = `its revision ${JSON.stringify(next.revision)}`;
  if (next.revision === '') {
    throw new BundleRefused('older', `it has no revision, so it may be older than ${JSON.stringify(current.revision)}`);
  }
  if (superseded.includes(next.revision)) {
    throw new BundleRefused(
      'older',
      `${words} was in use before ${JSON.stringify(current.revision)}: it is a roll-back`,
    );
  }
  const order = compareRevisions(next.revision, current.revision);
  if (order !== null && order < 0) {
    throw new BundleRefused('older', `${words} is older than ${JSON.stringify(current.revision)}: it is a roll-back`);
  }
}

/** What was used before, once another revision has taken its place. */
export function supersede(superseded: Superseded, { revision }: Pick<Bundle, 'revision'>, next: string): Superseded {
  const rest = superseded.filter((known) => known !== next && known !== revision);
  return revision === '' || revision === next ? rest : [...rest, revision].slice(-REMEMBERED);
}

/** Negative, zero or positive where both revisions are of one kind that has an order; null otherwise. */
export function compareRevisions(one: string, other: string): number | null {
  for (const read of [readNumber, readTime, readVersion]) {
    const [first, second] = [read(one), read(other)];
    if (first !== null && second !== null) return compareLists(first, second);
  }
  return null;
}

/** The parts that decide an order, the most significant first. */
type Parts = readonly (bigint | string)[];

function readNumber(revision: string): Parts | null {
  return /^\d{1,40}$/.test(revision) ? [BigInt(revision)] : null;
}

function readTime(revision: string): Parts | null {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i.test(revision)) return null;
  const time = Date.parse(revision);
  return Number.isNaN(time) ? null : [BigInt(time)];
}

/** Semantic Versioning 2.0.0 §11, with or without a `v`. A version comes after all its pre-releases. */
function readVersion(revision: string): Parts | null {
  const match = /^v?(\d{1,18})\.(\d{1,18})\.(\d{1,18})(?:-([\dA-Za-z.-]{1,100}))?(?:\+[\dA-Za-z.-]{1,100})?$/.exec(
    revision,
  );
  if (match === null) return null;
  const [, major = '', minor = '', patch = '', pre] = match;
  const numbers = [major, minor, patch].map(BigInt);
  if (pre === undefined) return [...numbers, 1n];
  const identifiers = pre.split('.').map((part) => (/^\d+$/.test(part) ? BigInt(part) : part));
  return [...numbers, 0n, ...identifiers];
}

function compareLists(one: Parts, other: Parts): number {
  for (let index = 0; index < Math.max(one.length, other.length); index++) {
    const [a, b] = [one[index], other[index]];
    if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1;
    if (a === b) continue;
    // §11.4.3: numbers come before words.
    if (typeof a !== typeof b) return typeof a === 'bigint' ? -1 : 1;
    return a < b ? -1 : 1;
  }
  return 0;
}
