import type { CatalogueCondition, Demand } from '../config/catalogue.ts';
import { connectionNamed, foldFieldName } from '../kernel/fields.ts';

/** What a request says beside its method and path. */
export interface CallParts {
  /** Decoded, values in order. */
  readonly queryParameters: Readonly<Record<string, readonly string[]>>;
  /** Names (as sent) and values in turn, as received. */
  readonly rawHeaders: readonly string[];
}

/**
 * Whether a request is as an entry of the catalogue wants it. What is demanded stands exactly once: of two values nobody knows which one the
 * cloud API follows.
 */
export function holds({ query, parameters, headers }: CatalogueCondition, call: CallParts): boolean {
  const { queryParameters } = call;
  for (const [name, demand] of query) {
    if (!meets(Object.hasOwn(queryParameters, name) ? queryParameters[name] : undefined, demand)) return false;
  }
  if (headers.length > 0 && !headersHold(headers, call.rawHeaders)) return false;
  if (parameters === null) return true;
  return Object.keys(queryParameters).every(
    (name) => parameters.includes(name) || query.some(([demanded]) => demanded === name),
  );
}

/** A field that `Connection` names is not sent on (RFC 9110 §7.6.1): what it says never reaches the cloud API, so no operation is told by it. */
function headersHold(headers: CatalogueCondition['headers'], rawHeaders: readonly string[]): boolean {
  const dropped = connectionNamed(rawHeaders);
  return headers.every(([name, demand]) => !dropped?.has(name) && meets(valuesOf(rawHeaders, name), demand));
}

function meets(values: readonly string[] | undefined, demand: Demand): boolean {
  if (values === undefined || values.length === 0) return demand === false;
  if (demand === false || values.length > 1) return false;
  return demand === true || values[0] === demand;
}

/** Upstreams may read `_` in a name as `-`, so it counts as such. */
function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const sent = rawHeaders[i] as string;
    if (sent.length === name.length && foldFieldName(sent) === name) values.push(rawHeaders[i + 1] as string);
  }
  return values;
}
