import type { IntrospectionConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { allowedAlgorithms, type SignatureAlgorithm } from '../oauth/algorithms.ts';
import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from '../oauth/client_assertion.ts';
import { fetchBytes } from '../oauth/fetch_bytes.ts';
import type { Jwks } from '../oauth/jwks.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import type { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';
import { verifyIssuerJws } from './issuer_jws.ts';

/** Bytes that an answer may have, after decompression. */
const MAX_ANSWER_BYTES = 262_144;
/** How old a signed answer may be, in seconds; it was made for this question (RFC 9701 §5). */
const MAX_SIGNED_AGE = 60;

/** What is accepted, and how its content type is recognised: exactly, since a server that answers otherwise did not understand the question. */
const FORMATS = {
  json: { accept: 'application/json', pattern: /^application\/json\s*(;|$)/i, wanted: 'JSON' },
  jwt: {
    accept: 'application/token-introspection+jwt', // RFC 9701 §4
    pattern: /^application\/token-introspection\+jwt\s*(;|$)/i,
    wanted: 'a signed introspection answer',
  },
} as const;

/** Whom to ask, and as whom. */
export interface IntrospectionClientOptions {
  readonly config: IntrospectionConfig;
  readonly issuer: string;
  readonly keys: Jwks;
  readonly clientKey: SigningKeyFile;
  readonly clock: Clock;
}

/** Asks one issuer about tokens (RFC 7662 §2.1). Authenticates anew each time: an assertion is for one request. */
export class IntrospectionClient {
  readonly #options: IntrospectionClientOptions;
  readonly #algorithms: ReadonlyMap<string, SignatureAlgorithm>;

  constructor(options: IntrospectionClientOptions) {
    this.#options = options;
    this.#algorithms = allowedAlgorithms(options.config.algorithms);
  }

  /** The members of a well-formed answer; its `active` is a truth value. `problem` says what else happened, for the log. */
  async ask(token: string, timeoutMs: number): Promise<Parsed<JsonObject>> {
    const { config } = this.#options;
    const { accept, pattern, wanted } = FORMATS[config.response];
    const answer = await fetchBytes({
      url: config.endpoint,
      timeoutMs: Math.max(Math.ceil(timeoutMs), 1),
      maxBytes: MAX_ANSWER_BYTES,
      isWanted: (contentType) => contentType !== null && pattern.test(contentType),
      wanted,
      headers: { accept, 'content-type': 'application/x-www-form-urlencoded' },
      body: await this.#question(token),
    });
    if (!answer.ok) return unparsed(`the introspection endpoint ${answer.problem}`);
    const members = config.response === 'jwt' ? await this.#readSigned(answer.bytes) : readJson(answer.bytes);
    if (!members.ok) return unparsed(`the introspection answer is malformed: ${members.problem}`);
    // RFC 7662 §2.2: a boolean. `"true"` and 1 are somebody else's idea of it.
    return typeof members.value['active'] === 'boolean'
      ? members
      : unparsed('the introspection answer is malformed: active is missing or not a truth value');
  }

  async #question(token: string): Promise<string> {
    const { config, issuer, clientKey, clock } = this.#options;
    const key = await clientKey.current();
    const assertion = await makeClientAssertion({ clientId: config.client_id, issuer, key, clock });
    return new URLSearchParams({
      token,
      token_type_hint: 'access_token',
      client_id: config.client_id,
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: assertion,
    }).toString();
  }

  /** RFC 9701 §5. */
  async #readSigned(bytes: Buffer): Promise<Parsed<JsonObject>> {
    const { config, issuer, keys, clock } = this.#options;
    const jws = await verifyIssuerJws(bytes.toString('latin1'), {
      type: 'token-introspection+jwt',
      maxBytes: MAX_ANSWER_BYTES,
      issuer,
      keys,
      algorithms: this.#algorithms,
      clock,
    });
    if (!jws.ok) return jws;
    const { payload, issuedAt } = jws.value;
    if (payload['iss'] !== issuer) return unparsed('iss is missing');
    const { aud } = payload;
    if (aud !== config.client_id && !(Array.isArray(aud) && aud.includes(config.client_id))) {
      return unparsed('aud is another client');
    }
    // Otherwise an answer from before the token was revoked could be played back.
    if (clock() > (issuedAt + MAX_SIGNED_AGE) * 1000) return unparsed('iat is too long ago');
    const members = payload['token_introspection'];
    return isJsonObject(members) ? parsed(members) : unparsed('token_introspection is not an object');
  }
}

function readJson(bytes: Buffer): Parsed<JsonObject> {
  return parseJsonObject(bytes, { maxBytes: MAX_ANSWER_BYTES });
}
