import { z } from 'zod';
import { endsAtGateway } from '../kernel/fields.ts';
import { nonceDemand } from './dpop_schema.ts';
import { requestHeaders } from './request_headers.ts';
import { bytes, file, httpUrl, identifier, milliseconds } from './values.ts';

const upstream = z.strictObject({
  url: httpUrl.describe('Origin of the upstream, or with a path that is put before the judged path.'),
  protocol: z
    .enum(['http1', 'http2'])
    .default('http1')
    .describe(
      'What is spoken with the upstream. http2, for gRPC: over https the upstream must choose h2 (ALPN), over http it must expect HTTP/2 at once.',
    ),
  timeout_ms: milliseconds
    .default(30_000)
    .describe('How long the upstream may take to send the headers of its answer, and each further part of it.'),
  connect_timeout_ms: milliseconds.default(5000).describe('How long connecting to the upstream may take.'),
  connections: z.int().min(1).max(10_000).default(128).describe('Connections to the upstream, per process.'),
  ca_file: file
    .optional()
    .describe(
      'PEM certificates that the upstream must chain to; absent: those of Node.js. Verification cannot be turned off.',
    ),
  credential: z
    .strictObject({
      header: z
        .string()
        .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'expected a header name')
        .default('Authorization')
        .describe('Header that carries the credential.'),
      value_file: file.describe('File with the whole header value; re-read when it changes.'),
    })
    .optional()
    .describe('The credential of the gateway for the upstream. Absent: none is sent.'),
});

/** Fields that have a meaning of their own for framing, routing, credentials or the gateway; never after a body (RFC 9110 §6.5.1). */
const NEVER_TRAILERS =
  /^(?:content-.*|transfer-encoding|host|te|trailer|expect|range|max-forwards|cache-control|authorization|dpop|dpop-nonce|cookie|set-cookie|www-authenticate|authentication-info|proxy-.*|connection|keep-alive|upgrade|via|forwarded|x-forwarded-.*|sallyport-.*|age|date|expires|location|retry-after|vary|warning)$/;
const trailerNames = z
  .array(
    z
      .string()
      .regex(/^[a-z0-9!#$%&'*+.^`|~-]{1,128}$/, 'expected a field name in lower case')
      // What a caller may not say before a body, it may not say after it: some servers read both as one.
      .refine((name) => !NEVER_TRAILERS.test(name) && !endsAtGateway(name), {
        error: 'this field may not stand after a body',
      }),
  )
  .max(64)
  .default([]);

/** One part of what is served, and where it is. */
export const route = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'expected lower-case letters, digits, - and _')
    .describe('Names the route in records and metrics.'),
  hosts: z.array(z.string().min(1)).min(1).optional().describe('Host names; absent: the host of public_origin.'),
  path_prefix: z
    .string()
    .regex(/^\/(?!.*\/\/)/, 'expected a path that starts with / and has no empty segment')
    .describe('Matches whole segments; the longest matching prefix wins.'),
  upstream: upstream,
  resource: identifier.describe('The audience a token must carry (RFC 8707).'),
  opaque_issuer: identifier
    .optional()
    .describe(
      'The issuer that opaque tokens of this route come from, since they do not say it. Absent: the only one that takes opaque tokens.',
    ),
  bindings: z
    .array(z.enum(['dpop', 'mtls', 'bearer']))
    .min(1)
    .default(['dpop', 'mtls'])
    .describe('Which kinds of token the route takes. bearer has no proof of the sender and is warned about.'),
  operations: file
    .optional()
    .describe('Operation catalogue. Absent: every operation is unknown, and the starter policy refuses.'),
  methods: z
    .array(z.string().regex(/^[A-Z]+$/, 'expected upper-case methods'))
    .min(1)
    .default(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
    .describe('Methods that may pass.'),
  dpop_nonce: nonceDemand
    .optional()
    .describe('Whether proofs for this route must carry a nonce. Absent: what dpop.nonce says.'),
  replay: z
    .enum(['memory', 'redis', 'node_nonce', 'window_only'])
    .optional()
    .describe(
      'How the single use of proofs is kept. memory, redis: the configured store. node_nonce: in the memory of the process that gave the nonce of the proof, complete without Redis. window_only: not at all, so that whoever sees a proof and its token can repeat the request within the window; warned about. Absent: the configured store.',
    ),
  body: z.enum(['none', 'json']).default('none').describe('Whether the policy sees the body.'),
  body_limit_bytes: bytes.max(16_777_216).default(65_536).describe('How much body is read for the policy.'),
  websocket: z.boolean().default(false).describe('Whether WebSocket upgrades may pass.'),
  streaming: z
    .boolean()
    .default(false)
    .describe(
      'Whether request bodies over HTTP/2 may last, as in gRPC streams: then each pause of the caller is bounded by upstream.timeout_ms, and not the whole body by limits.request_timeout_ms.',
    ),
  expiry_grace_seconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(60)
    .describe(
      'How long a request that is under way may go on after its access token has expired: a long upload or download, an event stream, a watch, a gRPC call. Then it is cut. With the default no ordinary answer is; longer only where callers cannot begin anew with another token. WebSocket connections end with the token.',
    ),
  request_headers: requestHeaders
    .prefault({})
    .describe(
      'Fields of callers that are not for this upstream, such as those that change for whom it acts; what the operation catalogue names counts too. A policy can still set them (set_header).',
    ),
  trailers: z
    .strictObject({
      request: trailerNames.describe(
        'Of the caller, after a body over HTTP/2 or a chunked one, in any spelling; an upstream that speaks HTTP/2 gets them after the body, in lower case. No other way leads them there.',
      ),
      response: trailerNames.describe(
        'Of the upstream; callers that sent TE: trailers get them. gRPC needs grpc-status, grpc-message and grpc-status-details-bin.',
      ),
    })
    .prefault({})
    .describe('Names of the fields after a body that may pass; all others end at the gateway.'),
  allow: z
    .array(z.enum(['encoded_slash', 'empty_segments', 'dot_segments_in_keys']))
    .default([])
    .describe('Deviations from the rule for targets.'),
});
