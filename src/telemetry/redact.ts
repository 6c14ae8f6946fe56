/** What stands in the place of a secret, in the log, the records and error texts. */
export const REDACTED = '[redacted]';

/**
 * The one list of what never leaves the gateway: header fields, members of JSON objects and query parameters that carry a credential.
 * Compared without case, `-` and `_`, so `access_token` also covers `accessToken` and `Access-Token`.
 */
const SECRET_NAMES = [
  // Header fields
  'authorization',
  'proxy_authorization',
  'x_forwarded_authorization',
  'x_original_authorization',
  'x_serverless_authorization',
  'dpop',
  'cookie',
  'set_cookie',
  'client_cert',
  'client_cert_chain',
  'x_client_cert',
  'x_forwarded_client_cert',
  'x_ssl_client_cert',
  'ssl_client_cert',
  'x_amzn_mtls_clientcert',
  'x_amz_security_token',
  'x_amz_signature',
  'x_goog_signature',
  'x_api_key',
  'x_auth_token',
  'x_access_token',
  'x_vault_token',
  'x_csrf_token',
  'private_token',
  'job_token',
  // OAuth parameters (RFC 6749, 7521, 7591, 7636, 8628, 8693)
  'access_token',
  'refresh_token',
  'id_token',
  'subject_token',
  'actor_token',
  'assertion',
  'client_assertion',
  'client_secret',
  'code_verifier',
  'device_code',
  'registration_access_token',
  'initial_access_token',
  // Members and parameters that other systems use
  'password',
  'passwd',
  'passphrase',
  'api_key',
  'private_key',
  'secret_key',
  'secret_access_key',
  'session_token',
  'security_token',
  'auth_token',
  'bearer_token',
] as const;

/** Too common as names of harmless things: secret only as a query parameter or header field, whose values are text. */
const SECRET_PARAMETERS = ['token', 'secret', 'sig', 'signature', 'pwd'] as const;

/** The private members of a JWK, secret only beside `kty` (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2). */
const PRIVATE_KEY_MEMBERS: ReadonlySet<string> = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']);

const NAMES: ReadonlySet<string> = new Set(SECRET_NAMES.map(fold));
const PARAMETERS: ReadonlySet<string> = new Set([...SECRET_NAMES, ...SECRET_PARAMETERS].map(fold));

const spelled = (names: readonly string[]) => names.map((name) => name.replaceAll('_', '[_-]?')).join('|');

/** The same with the first letter taken out of the alternatives, which makes the search a quarter faster. */
function spelledByLetter(names: readonly string[]): string {
  const letters = [...new Set(names.map((name) => name.charAt(0)))];
  const rest = (letter: string) => names.filter((name) => name.startsWith(letter)).map((name) => name.slice(1));
  return letters.map((letter) => `${letter}(?:${spelled(rest(letter))})`).join('|');
}

const ALL_SPELLED = spelled([...SECRET_NAMES, ...SECRET_PARAMETERS]);

/** Finds in JSON text what may need redaction by name; exact in what it lets pass, so that the usual text is not parsed. */
const SECRET_MEMBER = new RegExp(
  `"(?:${spelledByLetter([...SECRET_NAMES, 'kty'])})"\\s*:|"(?:${spelled(SECRET_PARAMETERS)})"\\s*:\\s*\\[`,
  'i',
);
const VALUE = `(?!\\[redacted\\])[^\\s&;,"']+`;
const ASSIGNMENT = new RegExp(`((?:^|[^a-z0-9])(?:${ALL_SPELLED})=)${VALUE}`, 'gi');
const FIELD = new RegExp(
  `((?:^|[^a-z0-9])(?:${spelled(SECRET_NAMES)})["']?:\\s*["']?)(?:(?:bearer|dpop|basic|digest)\\s+)?${VALUE}`,
  'gi',
);
const SCHEME_END = /[cprCPR](?:\s|%20|\+)/;
const AUTHORIZATION = /\b(bearer|dpop|basic)(\s+|%20|\+)(?=\S*\d)[\w.~+/=%-]{16,}/gi;

/** Starts of base64url(`{"`), and of `{` followed by a blank, a tab or a line end: how a JOSE header begins. */
const JOSE_START = /e(?:y[AJ]|w[0ko])/g;
/** Compact serialization (RFC 7515 §3.1, RFC 7516 §3.1), also with percent-encoded dots. */
const COMPACT = /[\w-]*(?:(?:\.|%2[eE])[\w-]*)*/y;
const DOT = /\.|%2[eE]/;
/** Beginnings that are looked at in one run. */
const TRIES = 8;
const ESCAPE_BEFORE = /\\u[\da-fA-F]{3}$/;
/** The first bytes of a JOSE header: an object whose first member has a name. */
const HEADER = /^\{\s*"[ -~]{4}/;

/** Levels of nesting that are looked into; what is deeper is redacted whole. */
const DEEPEST = 100;

/** Whether a header field, member or parameter of this name carries a credential. */
export function isSecretName(name: string): boolean {
  return NAMES.has(fold(name));
}

/** Takes everything that looks like a compact JWS or JWE out of a text, JSON text included; linear in its length. */
export function redactTokens(text: string): string {
  if (!mayHoldToken(text)) return text;
  let result = '';
  let kept = 0;
  JOSE_START.lastIndex = 0;
  for (let found = JOSE_START.exec(text); found !== null; found = JOSE_START.exec(text)) {
    COMPACT.lastIndex = found.index;
    const end = found.index + (COMPACT.exec(text)?.[0].length ?? 0);
    const start = tokenStart(text, found.index, end);
    JOSE_START.lastIndex = end;
    if (start < 0) continue;
    // In JSON text the `e` may be the last digit of an escape such as \u001e, which must stay whole.
    const from = ESCAPE_BEFORE.test(text.slice(Math.max(start - 5, 0), start)) ? start + 1 : start;
    result += text.slice(kept, from) + REDACTED;
    kept = end;
  }
  return result + text.slice(kept);
}

/** Where in a run of base64url and dots a token begins, or -1. A run that seems to begin again and again counts as one. */
function tokenStart(text: string, first: number, end: number): number {
  if (!DOT.test(text.slice(first, end))) return -1;
  JOSE_START.lastIndex = first;
  for (let tries = 0; tries < TRIES; tries++) {
    const found = JOSE_START.exec(text);
    if (found === null || found.index >= end) return -1;
    const header = Buffer.from(text.slice(found.index, found.index + 16), 'base64url').toString('latin1');
    if (HEADER.test(header)) return found.index;
  }
  return first;
}

/** Searches for two fixed characters run at memory speed: a tenth of what JOSE_START costs on text that holds no token. */
function mayHoldToken(text: string): boolean {
  return (
    followsE(text, 'yJ') || followsE(text, 'yA') || followsE(text, 'w0') || followsE(text, 'wk') || followsE(text, 'wo')
  );
}

function followsE(text: string, pair: string): boolean {
  for (let found = text.indexOf(pair, 1); found > 0; found = text.indexOf(pair, found + 1)) {
    if (text.charCodeAt(found - 1) === 0x65) return true;
  }
  return false;
}

/** Takes credentials out of free text: tokens by their form, `name=value` and `name: value` by name, and what follows a scheme. */
export function redactText(text: string): string {
  let clean = redactTokens(text);
  if (clean.includes('=')) clean = clean.replace(ASSIGNMENT, `$1${REDACTED}`);
  if (clean.includes(':')) clean = clean.replace(FIELD, `$1${REDACTED}`);
  if (SCHEME_END.test(clean)) clean = clean.replace(AUTHORIZATION, `$1$2${REDACTED}`);
  return clean;
}

/** Takes credentials out of a query, the names read as a form parser reads them (RFC 6750 §2.3: `access_token`). */
export function redactQuery(query: string): string {
  const parts = query.split(/([&;])/);
  return redactTokens(parts.map(redactParameter).join(''));
}

/** JSON text without the members that carry a credential, and JSON pointers (RFC 6901) to what was taken out. */
export interface RedactedJson {
  readonly json: string;
  readonly masked: readonly string[];
}

const NOTHING: readonly string[] = [];

/**
 * Takes the members that carry a credential out of JSON text; tokens inside strings are left to `redactTokens`.
 * @throws SyntaxError when the text is not JSON and something in it looks like a credential
 */
export function redactJson(json: string): RedactedJson {
  if (!SECRET_MEMBER.test(json)) return { json, masked: NOTHING };
  const masked: string[] = [];
  const value = redactValue(JSON.parse(json), masked);
  return masked.length === 0 ? { json, masked: NOTHING } : { json: JSON.stringify(value), masked };
}

/**
 * A copy of a JSON-like value without the members that carry a credential.
 * @param masked receives a JSON pointer for each
 */
export function redactValue(value: unknown, masked: string[] = [], pointer = '', depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEEPEST) return mask(masked, pointer);
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => redactValue(item, masked, `${pointer}/${index}`, depth + 1));
  }
  const isKey = Object.hasOwn(value, 'kty');
  const entries = Object.entries(value).map(([name, member]: [string, unknown]) => {
    const here = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const folded = fold(name);
    const secret =
      NAMES.has(folded) ||
      (isKey && PRIVATE_KEY_MEMBERS.has(name)) ||
      (Array.isArray(member) && PARAMETERS.has(folded) && typeof member[0] === 'string');
    return [name, secret ? mask(masked, here) : redactValue(member, masked, here, depth + 1)];
  });
  return Object.fromEntries(entries);
}

function mask(masked: string[], pointer: string): string {
  masked.push(pointer);
  return REDACTED;
}

function redactParameter(part: string): string {
  const equals = part.indexOf('=');
  if (equals < 0) return part;
  const value = decode(part.slice(equals + 1));
  const secret = PARAMETERS.has(fold(decode(part.slice(0, equals)))) || redactText(value) !== value;
  return secret ? `${part.slice(0, equals)}=${REDACTED}` : part;
}

/** Percent-decoding that never fails: what is not valid UTF-8 stays as it is. */
function decode(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}

function fold(name: string): string {
  return name.replace(/[-_\s]/g, '').toLowerCase();
}
