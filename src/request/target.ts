import type { Target, TargetRules } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { DOT_SEGMENTS, EMPTY_SEGMENTS, ENCODED_SLASH, readPath } from './path.ts';
import { decodeQuery, NO_PARAMETERS, type QueryParameters, readQuery } from './query.ts';

/** Bytes that a request target may have. */
export const MAXIMUM_TARGET_BYTES = 8192;

/** A target in its one reading, and what must hold for it. */
export interface ReadTarget {
  readonly target: Target;
  /** Deviations from the rule that its route must allow; 0: none. */
  readonly needs: number;
  /** Of a target in absolute-form: the origin it names, which must be ours; null for origin-form. */
  readonly origin: { readonly scheme: string; readonly authority: string } | null;
  /** The query in one piece, decoded; empty where there is none. */
  readonly decodedQuery: string;
}

/** RFC 9112 §3.2.2. The authority is judged by comparison with ours, so that user information in it matches nothing. */
const ABSOLUTE_FORM = /^(https?):\/\/([^/?#\\]*)(\/.*)$/i;

/**
 * Reads the request target: origin-form (RFC 9112 §3.2.1), or absolute-form, which is judged and sent as origin-form. Never through `URL`,
 * which resolves dot segments, turns `\` into `/` and drops tabs.
 * Refuses with `request.target_ambiguous`.
 */
export function readTarget(raw: string): Checked<ReadTarget> {
  if (raw.length > MAXIMUM_TARGET_BYTES) return deny('request.target_ambiguous', 'target longer than 8192 bytes');
  if (raw.charCodeAt(0) === 0x2f) return readOriginForm(raw, null);
  const [, scheme, authority, rest] = ABSOLUTE_FORM.exec(raw) ?? [];
  if (scheme === undefined || authority === undefined || rest === undefined) {
    return deny('request.target_ambiguous', 'target neither in origin-form nor in absolute-form');
  }
  return readOriginForm(rest, { scheme: scheme.toLowerCase(), authority: authority.toLowerCase() });
}

/** The deviations that a route allows, as bits. */
export function allowedBy(rules: TargetRules): number {
  return (
    (rules.encodedSlash ? ENCODED_SLASH : 0) |
    (rules.emptySegments ? EMPTY_SEGMENTS : 0) |
    (rules.dotSegmentsInKeys ? DOT_SEGMENTS : 0)
  );
}

function readOriginForm(text: string, origin: ReadTarget['origin']): Checked<ReadTarget> {
  const mark = text.indexOf('?');
  const path = mark < 0 ? text : text.slice(0, mark);
  const query = mark < 0 ? null : text.slice(mark + 1);
  const read = readPath(path);
  if (read === null) return deny('request.target_ambiguous', 'path');
  const { segments, needs } = read;
  if (query === null || query === '') {
    const target = { path, segments, query, queryParameters: NO_PARAMETERS };
    return pass({ target, needs, origin, decodedQuery: '' });
  }
  const decodedQuery = decodeQuery(query);
  if (decodedQuery === null) return deny('request.target_ambiguous', 'query');
  return pass({ target: new QueryTarget(path, segments, query), needs, origin, decodedQuery });
}

/**
 * A target with a query. Its parameters are taken apart when somebody asks for them, which is the policy: thousands of them would make
 * refusing a stranger's request cost more than allowing one.
 */
class QueryTarget implements Target {
  readonly path: string;
  readonly segments: readonly string[];
  readonly query: string;
  #parameters: QueryParameters | undefined;

  constructor(path: string, segments: readonly string[], query: string) {
    this.path = path;
    this.segments = segments;
    this.query = query;
  }

  get queryParameters(): QueryParameters {
    // It was decoded before: it can be read.
    this.#parameters ??= readQuery(this.query) ?? NO_PARAMETERS;
    return this.#parameters;
  }
}
