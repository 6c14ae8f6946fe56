import { fetchJson, type JsonFailure } from './fetch_json.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';
import { isSecureUrl } from './secure_url.ts';
import { isJsonObject, type JsonObject } from './strict_json.ts';

/** What an authorization server says of itself (RFC 8414 §2), once it is established that it is the server that was asked for. */
export interface ServerMetadata {
  /** Equal byte for byte to the issuer that was asked for. */
  readonly issuer: string;
  /** Where its keys are; null when it publishes none. */
  readonly jwksUri: string | null;
  /** The whole document. Its other members are unchecked. */
  readonly document: JsonObject;
}

/** How metadata is fetched. */
export interface MetadataOptions {
  /** For each of the at most two requests. */
  readonly timeoutMs: number;
  /** Allow http also where the host is not loopback. Default: false. */
  readonly allowInsecure?: boolean;
  readonly signal?: AbortSignal;
}

const MAX_BYTES = 262_144;

/** Failures that a second address of the same server would only repeat. */
const FINAL: readonly JsonFailure[] = ['unreachable', 'timeout'];

/**
 * The addresses of a server's metadata: the well-known part goes between host and path (RFC 8414 §3.1); after it, for servers that only
 * know OpenID Connect Discovery 1.0 §4, behind the path. A terminating slash of the issuer does not count.
 */
export function metadataUrls(issuer: string): readonly string[] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  return [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ];
}

/**
 * Finds the metadata of an authorization server (RFC 8414 §3). The second address is asked when the first one gives an answer that is
 * not the metadata of this issuer. Never rejects; `problem` says what happened, for the log.
 */
export async function discoverMetadata(issuer: string, options: MetadataOptions): Promise<Parsed<ServerMetadata>> {
  if (!isSecureUrl(issuer, options.allowInsecure ?? false)) return unparsed('the issuer is not an https URL');
  let first: Parsed<ServerMetadata> | null = null;
  for (const url of metadataUrls(issuer)) {
    const answer = await fetchJson({ ...options, url, maxBytes: MAX_BYTES });
    if (!answer.ok && FINAL.includes(answer.failure)) return unparsed(`the metadata ${answer.problem}`);
    const metadata = answer.ok
      ? readMetadata(issuer, answer.value, options)
      : unparsed(`the metadata ${answer.problem}`);
    if (metadata.ok) return metadata;
    first ??= metadata;
  }
  return first ?? unparsed('the issuer has no metadata');
}

function readMetadata(issuer: string, document: unknown, options: MetadataOptions): Parsed<ServerMetadata> {
  if (!isJsonObject(document)) return unparsed('the metadata is not a JSON object');
  // RFC 8414 §3.3: another issuer's metadata MUST NOT be used, or one server could speak for another.
  if (document['issuer'] !== issuer) return unparsed('the metadata names another issuer');
  const jwksUri = document['jwks_uri'];
  if (jwksUri === undefined) return parsed({ issuer, jwksUri: null, document });
  if (typeof jwksUri !== 'string' || !isSecureUrl(jwksUri, options.allowInsecure ?? false)) {
    return unparsed('the jwks_uri of the metadata is not an https URL'); // RFC 8414 §2
  }
  return parsed({ issuer, jwksUri, document });
}
