import type { AuthorizationDetail } from '../config/authserver_schema.ts';

/**
 * Whether one item covers the whole of another, both of type `cloud_api`: every action, the resource or one below it, and every location.
 * Parts of two items never add up (RFC 9396 §2: items stand alone).
 */
export function coversCloudApi(ceiling: AuthorizationDetail, asked: AuthorizationDetail): boolean {
  return (
    asked.actions.every((action) => ceiling.actions.includes(action)) &&
    coversIdentifier(ceiling.identifier, asked.identifier) &&
    coversLocations(ceiling.locations, asked.locations)
  );
}

/** By segment: `projects/p1` covers `projects/p1/builds` and never `projects/p10`. */
function coversIdentifier(ceiling: string, asked: string): boolean {
  return asked === ceiling || asked.startsWith(`${ceiling}/`);
}

/** No locations means every location, so leaving them out asks for more than naming some. */
function coversLocations(ceiling: readonly string[] | undefined, asked: readonly string[] | undefined): boolean {
  if (ceiling === undefined) return true;
  return asked?.every((location) => ceiling.includes(location)) ?? false;
}
