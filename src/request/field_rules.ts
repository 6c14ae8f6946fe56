import { deny } from '../kernel/denial.ts';
import { foldFieldName } from '../kernel/fields.ts';
import { type Checked, pass } from '../kernel/result.ts';

/** Names of fields in lower case, with `-`; one that ends in `*` stands for all that begin so. */
export interface FieldLists {
  readonly refuse: readonly string[];
  readonly strip: readonly string[];
}

interface Names {
  readonly exact: ReadonlySet<string>;
  readonly beginnings: readonly string[];
}

/** What a route does with fields that are not for its upstream. */
export interface FieldRules {
  readonly refuse: Names;
  readonly strip: Names;
}

/** The rules of several lists together; null where they name nothing, so that nothing is looked at. */
export function createFieldRules(lists: readonly FieldLists[]): FieldRules | null {
  const refuse = lists.flatMap((list) => list.refuse);
  const strip = lists.flatMap((list) => list.strip);
  return refuse.length + strip.length === 0 ? null : { refuse: namesOf(refuse), strip: namesOf(strip) };
}

/**
 * The header fields that are left to judge and to send, names and values in turn: what is taken away here, neither the catalogue nor the
 * policy sees. Upstreams may read `_` as `-`, so that both spellings count. Refuses with `request.header_refused`.
 */
export function applyFieldRules(rawHeaders: readonly string[], rules: FieldRules): Checked<readonly string[]> {
  let kept: string[] | null = null;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = foldFieldName(rawHeaders[i] as string);
    if (includes(rules.refuse, name)) return deny('request.header_refused', name);
    if (includes(rules.strip, name)) kept ??= rawHeaders.slice(0, i);
    else kept?.push(rawHeaders[i] as string, rawHeaders[i + 1] as string);
  }
  return pass(kept ?? rawHeaders);
}

function namesOf(written: readonly string[]): Names {
  return {
    exact: new Set(written.filter((name) => !name.endsWith('*'))),
    beginnings: written.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1)),
  };
}

function includes({ exact, beginnings }: Names, name: string): boolean {
  return exact.has(name) || beginnings.some((beginning) => name.startsWith(beginning));
}
