import type { z } from 'zod';
import type { issuer } from './issuer_schema.ts';
import type { SettingProblem } from './problems.ts';
import { isLoopback } from './values.ts';

/** What of the authorization servers does not fit together. */
export function findIssuerProblems(issuers: readonly z.output<typeof issuer>[]): SettingProblem[] {
  return issuers.flatMap((entry, index) => {
    const problems: SettingProblem[] = [];
    const at = (path: readonly string[], message: string) =>
      problems.push({ path: ['issuers', index, ...path], message });
    if (entry.jwks_uri !== undefined && entry.jwks_file !== undefined) {
      at(['jwks_file'], 'give jwks_uri or jwks_file, not both');
    }
    if (issuers.findIndex((other) => other.issuer === entry.issuer) !== index) {
      at(['issuer'], 'this issuer is listed twice');
    }
    const url = entry.jwks_uri ?? (entry.jwks_file === undefined ? entry.issuer : undefined);
    if (url?.startsWith('http://') && !isLoopback(new URL(url).hostname) && !entry.allow_insecure) {
      at(
        [entry.jwks_uri === undefined ? 'issuer' : 'jwks_uri'],
        'metadata and keys must come over https (RFC 8414 §3)',
      );
    }
    const endpoint = entry.introspection?.endpoint;
    if (endpoint?.startsWith('http://') && !isLoopback(new URL(endpoint).hostname)) {
      at(['introspection', 'endpoint'], 'tokens are sent over https only (RFC 7662 §4)');
    }
    return problems;
  });
}
