import { readFile, stat } from 'node:fs/promises';
import type { Clock } from '../kernel/clock.ts';
import { fetchJson } from './fetch_json.ts';
import { readKeySet } from './key_set.ts';
import { discoverMetadata } from './metadata.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';
import { parseStrictJson } from './strict_json.ts';

/** Gets a JWK Set from where it is kept. Never rejects; `problem` says what happened, for the log. */
export type LoadKeys = (signal: AbortSignal) => Promise<Parsed<unknown>>;

/** Bytes that a JWK Set may have. */
export const MAX_JWKS_BYTES = 262_144;

/** Where a server publishes its keys. */
export interface RemoteKeys {
  /** Issuer whose metadata say where the keys are (RFC 8414 §2); not asked when `jwksUri` is given. */
  readonly issuer: string;
  readonly jwksUri?: string | undefined;
  /** For each request. */
  readonly timeoutMs: number;
  /** Allow http also where the host is not loopback. */
  readonly allowInsecure: boolean;
  /** How long a discovered address is used before the metadata are read again; they are at once when the keys cannot be had there. */
  readonly metadataAgeMs: number;
  readonly clock: Clock;
}

/** Loads keys over HTTP, from a given address or the one in the issuer's metadata. */
export function loadRemoteKeys(remote: RemoteKeys): LoadKeys {
  let discovered: { readonly uri: string; readonly at: number } | null = null;
  return async (signal) => {
    const options = { timeoutMs: remote.timeoutMs, allowInsecure: remote.allowInsecure, signal };
    const now = remote.clock();
    let url = remote.jwksUri;
    if (url === undefined) {
      if (discovered === null || now - discovered.at >= remote.metadataAgeMs) {
        const metadata = await discoverMetadata(remote.issuer, options);
        if (!metadata.ok) return metadata;
        if (metadata.value.jwksUri === null) return unparsed('the metadata name no jwks_uri');
        discovered = { uri: metadata.value.jwksUri, at: now };
      }
      url = discovered.uri;
    }
    const answer = await fetchJson({ ...options, url, maxBytes: MAX_JWKS_BYTES });
    if (answer.ok) return parsed(answer.value);
    discovered = null; // The keys may have moved.
    return unparsed(`the jwks_uri ${answer.problem}`);
  };
}

/** Why the keys in a file cannot be used; null when some can. */
export async function problemOfKeysFile(file: string): Promise<string | null> {
  const loaded = await loadFileKeys(file)(new AbortController().signal);
  const keys = loaded.ok ? readKeySet(loaded.value, null) : loaded;
  if (!keys.ok) return keys.problem;
  return keys.value.keys.length > 0 ? null : 'the jwks_file has no key that a signature can be verified with';
}

/** Loads keys from a file. */
export function loadFileKeys(file: string): LoadKeys {
  return async (signal) => {
    try {
      const { size } = await stat(file);
      if (size > MAX_JWKS_BYTES) return unparsed(`the jwks_file has more than ${MAX_JWKS_BYTES} bytes`);
      const json = parseStrictJson(await readFile(file, { signal }), { maxBytes: MAX_JWKS_BYTES });
      return json.ok ? json : unparsed(`the jwks_file is ${json.problem}`);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return unparsed(`the jwks_file cannot be read (${code ?? 'unknown error'})`);
    }
  };
}
