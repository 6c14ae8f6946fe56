import type { AuthorizedRequest } from '../kernel/context.ts';

/** Trailers that a route lets pass: of a list of names and values in turn those whose names are allowed, in order. */
export function allowedTrailers(raw: readonly (Buffer | string)[], allowed: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = String(raw[index]).toLowerCase();
    const value = raw[index + 1] as Buffer | string;
    if (allowed.includes(name)) kept.push(name, typeof value === 'string' ? value : value.toString('latin1'));
  }
  return kept;
}

/** Whether the caller takes trailers: its route lets some pass, and it said so (RFC 9110 §6.5.1, §10.1.4). */
export function takesTrailers({ context }: AuthorizedRequest): boolean {
  if (context.route.trailers.response.length === 0) return false;
  const raw = context.rawHeaders;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    if (raw[index]?.toLowerCase() !== 'te') continue;
    if (raw[index + 1]?.split(',').some((coding) => coding.trim().toLowerCase() === 'trailers')) return true;
  }
  return false;
}
