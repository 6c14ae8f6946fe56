/** Query parameters by name, values in order; without a prototype, so that every name is an ordinary one. */
export type QueryParameters = Readonly<Record<string, readonly string[]>>;

/** What a target without a query has. */
export const NO_PARAMETERS: QueryParameters = Object.freeze(Object.create(null));

/**
 * Visible ASCII without `#`, `\` and `;`. Wider than RFC 3986 §3.4, since browsers send `[`, `]`, `|` and the like as they are. A raw `;`
 * separates parameters for some servers and not for others, so it must be encoded.
 */
const QUERY = /^[!"$-:<-[\]-~]*$/;

/**
 * The query with every escape decoded, in one piece: what no name and no value in it can be made of is not in there either. Null when it can
 * be read in two ways; then, and only then, `readQuery` says so too, since separators are never part of an escape or of a character.
 */
export function decodeQuery(query: string): string | null {
  return QUERY.test(query) ? decode(query) : null;
}

/**
 * Reads a query as application/x-www-form-urlencoded (WHATWG URL §5.1), but strictly: percent-encoding valid and decoding to UTF-8, no NUL.
 * Null when it can be read in two ways.
 */
export function readQuery(query: string): QueryParameters | null {
  if (!QUERY.test(query)) return null;
  const parameters = Object.create(null) as Record<string, string[]>;
  const encoded = query.includes('%') || query.includes('+');
  let start = 0;
  while (start <= query.length) {
    const next = query.indexOf('&', start);
    const end = next < 0 ? query.length : next;
    if (end > start) {
      const equals = query.indexOf('=', start);
      const split = equals < 0 || equals > end ? end : equals;
      const rawName = query.slice(start, split);
      const rawValue = query.slice(Math.min(split + 1, end), end);
      const name = encoded ? decode(rawName) : rawName;
      const value = encoded ? decode(rawValue) : rawValue;
      if (name === null || value === null) return null;
      const values = parameters[name];
      if (values === undefined) parameters[name] = [value];
      else values.push(value);
    }
    start = end + 1;
  }
  return parameters;
}

function decode(text: string): string | null {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  try {
    const decoded = decodeURIComponent(spaced); // Throws on a stray percent sign and on what is not UTF-8, overlong forms included.
    return decoded.includes('\0') ? null : decoded; // C programs end a string there: two readings.
  } catch {
    return null;
  }
}
