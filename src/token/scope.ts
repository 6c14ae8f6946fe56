import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';

/** scope-token *( SP scope-token ), scope-token being printable ASCII without space, `"` and `\` (RFC 6749 §3.3). */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/;

/** Reads the `scope` claim (RFC 9068 §2.2.3, RFC 6749 §3.3), in its order. Empty when the claim is absent. */
export function readScope(scope: unknown): Parsed<readonly string[]> {
  if (scope === undefined) return parsed([]);
  if (typeof scope !== 'string' || !SCOPE.test(scope)) return unparsed('scope is not a list of scope tokens');
  return parsed(scope.split(' '));
}
