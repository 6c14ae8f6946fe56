import { hash } from 'node:crypto';
import type { Requirements } from '../kernel/denial.ts';

/** Characters of the parameter; a larger one would not fit into the header section that many clients take, and the body has it all. */
const MAXIMUM_REMEDIATION = 4096;

/**
 * The `authorization_remediation` parameter of a challenge: base64url of a JSON object with the `authorization_details` that a client can ask
 * for as they are, and an `authorization_reference`, the same for the same details, by which it finds a token that it has already
 * (draft-ietf-oauth-rar-metadata-remediation §4). Null where the policy requires none, or too many to fit.
 */
export function remediationOf({ authorization_details: details }: Requirements): string | null {
  if (details === undefined || details.length === 0) return null;
  const reference = `s256:${hash('sha256', JSON.stringify(inOrder(details)), 'base64url')}`;
  const text = Buffer.from(
    JSON.stringify({ authorization_details: details, authorization_reference: reference }),
  ).toString('base64url');
  return text.length > MAXIMUM_REMEDIATION ? null : text;
}

/** The same value with the members of every object in one order. The depth was bounded when the policy's answer was read. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, inOrder(member)]));
}
