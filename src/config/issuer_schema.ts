import { z } from 'zod';
import { algorithms, file, httpUrl, identifier, milliseconds } from './values.ts';

const introspection = z.strictObject({
  endpoint: httpUrl.describe('Introspection endpoint of the issuer (RFC 7662 §2); https, or http on loopback.'),
  client_id: z
    .string()
    .regex(/^[\x20-\x7e]{1,1024}$/, 'expected a client identifier')
    .describe('Client identifier of the gateway at the issuer.'),
  private_key_file: file.describe(
    'Private JWK that the gateway authenticates with (private_key_jwt, RFC 7523); read again when it changes.',
  ),
  when: z
    .enum(['opaque', 'jwt', 'always'])
    .default('opaque')
    .describe(
      'Which tokens the issuer is asked about: opaque: those that are not JWTs; jwt: its JWTs, after their own checks; always: both.',
    ),
  response: z
    .enum(['json', 'jwt'])
    .default('json')
    .describe('jwt: only answers that the issuer signed are taken (RFC 9701).'),
  algorithms: algorithms.describe(
    'Signature algorithms of signed answers. Servers use RS256 unless the client is registered with another introspection_signed_response_alg.',
  ),
  timeout_ms: z
    .int()
    .min(10)
    .max(10_000)
    .default(1000)
    .describe('How long an answer may take, waiting for a connection included; then the request is refused with 503.'),
  cache_seconds: z
    .int()
    .min(0)
    .max(600)
    .default(30)
    .describe(
      'How long an answer is used, never past exp; a revoked token may pass for so long. 0: every request asks.',
    ),
  connections: z
    .int()
    .min(1)
    .max(1000)
    .default(32)
    .describe(
      'Questions to the issuer at the same time, per process; more wait. A quarter is kept for tokens that were active before.',
    ),
  new_tokens_per_second: z
    .int()
    .min(1)
    .max(100_000)
    .default(250)
    .describe(
      'Questions about tokens that were not active before, in a second, per process. More wait, and one about a token that turns out not to be active counts as five: what a flood of invented tokens costs is a fifth of this.',
    ),
});

const statusList = z.strictObject({
  mode: z
    .enum(['check', 'ignore'])
    .default('check')
    .describe('ignore: the status claim of tokens is not looked at, so that revoked ones pass.'),
  required: z.boolean().default(false).describe('Refuse tokens without a status claim.'),
  uri_prefixes: z
    .array(httpUrl.refine((text) => text.endsWith('/'), { error: 'expected a URL that ends in /' }))
    .min(1)
    .optional()
    .describe('What the addresses of lists may begin with. Absent: the origin of the issuer.'),
  timeout_ms: z
    .int()
    .min(10)
    .max(10_000)
    .default(1000)
    .describe('How long fetching a list may take; then the request is refused with 503.'),
  max_age_seconds: z
    .int()
    .min(5)
    .max(86_400)
    .default(300)
    .describe(
      'How long a list is used at most, however long its ttl and exp allow; a revoked token may pass for so long.',
    ),
});

/** One authorization server whose tokens are taken. */
export const issuer = z.strictObject({
  issuer: identifier.describe('Issuer identifier; compared byte for byte with iss (RFC 9068 §4).'),
  jwks_uri: httpUrl.optional().describe('Where the keys are; absent together with jwks_file: discovered (RFC 8414).'),
  jwks_file: file.optional().describe('A JWK Set file with the public keys.'),
  algorithms: algorithms.describe('Signature algorithms that access tokens of this issuer may use.'),
  dpop_nonce: z
    .literal('required')
    .optional()
    .describe('Proofs with tokens of this issuer must carry a nonce on every route, whatever the route says.'),
  allow_insecure: z
    .boolean()
    .default(false)
    .describe('Allow http for the metadata, keys and status lists of an issuer that is not on loopback.'),
  introspection: introspection
    .optional()
    .describe('How the issuer is asked about tokens (RFC 7662). Absent: it is not asked, and takes no opaque tokens.'),
  status_list: statusList
    .optional()
    .describe(
      'How the status list that a JWT names is checked (Token Status List). Absent: JWTs that name one are refused.',
    ),
  keys: z
    .strictObject({
      timeout_ms: milliseconds.default(5000).describe('How long one request for metadata or keys may take.'),
      max_age_seconds: z
        .int()
        .min(1)
        .max(86_400)
        .default(600)
        .describe('After this, keys are refreshed in the background.'),
      stale_seconds: z
        .int()
        .min(0)
        .max(604_800)
        .default(86_400)
        .describe('How long old keys are used while the issuer cannot be reached.'),
      cooldown_seconds: z
        .int()
        .min(1)
        .max(3600)
        .default(30)
        .describe('At most one request for an unknown kid in this time.'),
    })
    .prefault({})
    .describe('How the keys are fetched and kept.'),
});
