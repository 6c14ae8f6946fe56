import type { StatusListConfig } from '../config/schema.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type Denied, pass } from '../kernel/result.ts';
import { isSecureUrl } from '../oauth/secure_url.ts';
import { isJsonObject } from '../oauth/strict_json.ts';

/** Where the status of a token stands (draft-ietf-oauth-status-list §6.2). */
export interface StatusReference {
  readonly uri: string;
  readonly index: number;
}

/** Which lists the tokens of an issuer may name. */
export interface StatusRules {
  /** Null: the status of this issuer's tokens is not checked. */
  readonly config: StatusListConfig | null;
  readonly issuer: string;
  /** Allow http also where the host is not loopback. */
  readonly allowInsecure: boolean;
}

const MAX_URI_LENGTH = 2048;

/**
 * Reads the `status` claim of a JWT. Null when there is nothing to check. A list that nobody checks is a refusal, not "no status": whoever
 * put it into the token counts on it being looked at. Refuses with `token.status`.
 */
export function readStatus(status: unknown, rules: StatusRules): Checked<StatusReference | null> {
  const { config } = rules;
  if (config?.mode === 'ignore') return NOTHING;
  if (status === undefined) return config?.required === true ? MISSING : NOTHING;
  // The registered claim is an object; where no status is checked, any other value is a claim of somebody's own.
  if (config === null) return isJsonObject(status) ? UNCHECKED : NOTHING;
  const list = isJsonObject(status) ? status['status_list'] : undefined;
  if (!isJsonObject(list)) return deny('token.status', 'status names no status_list');
  const { idx, uri } = list;
  if (!Number.isSafeInteger(idx) || (idx as number) < 0) return deny('token.status', 'idx is not an index');
  if (typeof uri !== 'string' || !belongs(uri, rules)) return deny('token.status', 'uri is not one of the issuer');
  return pass({ uri, index: idx as number });
}

/** The address decides where the gateway connects to: it must be one the operator trusts the issuer with, spelled in the one way. */
function belongs(uri: string, { config, issuer, allowInsecure }: StatusRules): boolean {
  if (uri.length > MAX_URI_LENGTH || !isSecureUrl(uri, allowInsecure)) return false;
  const url = new URL(uri);
  // A text that the parser changes (dot segments, tabs, backslashes) is not compared with prefixes.
  if (url.href !== uri) return false;
  const prefixes = config?.uri_prefixes;
  if (prefixes === undefined) return url.origin === new URL(issuer).origin;
  return prefixes.some((prefix) => uri.startsWith(prefix));
}

const NOTHING: Checked<null> = pass(null);
const MISSING: Denied = deny('token.status', 'status is missing');
const UNCHECKED: Denied = deny('token.status', 'status lists are not configured for the issuer');
