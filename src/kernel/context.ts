import type { Denial, PolicyReason } from './denial.ts';

/** How a token can be bound to its sender: a DPoP key (RFC 9449), a client certificate (RFC 8705), or not at all (RFC 6750). */
export type Binding = 'dpop' | 'mtls' | 'bearer';

/**
 * How the single use of proofs is kept on a route: in the configured store (`memory`, `redis`); in the memory of the one node that gave the
 * proof's nonce (`node_nonce`); not at all, so that a proof may be repeated within its window (`window_only`).
 */
export type ReplayClass = 'memory' | 'redis' | 'node_nonce' | 'window_only';

/** A path prefix of the gateway's origin and what stands behind it; made from configuration, shared by every stage, never changed. */
export interface Route {
  readonly name: string;
  /** Lower case; without port: that of the origin; with `:*`: any. */
  readonly hosts: readonly string[];
  /** Starts with `/`; matches whole segments. */
  readonly pathPrefix: string;
  /** The audience a token must carry (RFC 8707). */
  readonly resource: string;
  /** What callers sign in htu, before the path: scheme and authority, without a trailing slash. */
  readonly origin: string;
  readonly bindings: readonly Binding[];
  /** Whether proofs must carry a nonce of the gateway (RFC 9449 §9), whatever the issuer of the token. */
  readonly nonceRequired: boolean;
  readonly replay: ReplayClass;
  /** Upper case. */
  readonly methods: readonly string[];
  /** Whether the policy sees the request body. */
  readonly body: 'none' | 'json';
  /** Bytes of body that are read for the policy when `body` is `json`. */
  readonly bodyLimitBytes: number;
  /** Whether a WebSocket upgrade may pass. */
  readonly websocket: boolean;
  /** Names of the fields after a body that may pass, lower case. */
  readonly trailers: { readonly request: readonly string[]; readonly response: readonly string[] };
  /** Milliseconds that a caller may pause in a body over HTTP/2 that may last; null: the whole body is bounded. */
  readonly bodyPauseMs: number | null;
  /** Milliseconds that a request under way may go on after its token has expired; then it is ended. A WebSocket ends with the token. */
  readonly expiryGraceMs: number;
  /** Deviations from the rule for targets that this route allows by name. */
  readonly targetRules: TargetRules;
  /** Absolute URL of the protected resource metadata (RFC 9728), for challenges. */
  readonly resourceMetadata: string;
}

/** What some cloud APIs need and the rule for targets refuses otherwise. */
export interface TargetRules {
  readonly encodedSlash: boolean;
  readonly emptySegments: boolean;
  readonly dotSegmentsInKeys: boolean;
}

/** The request target in its one canonical reading. */
export interface Target {
  /** The path byte for byte as it was judged and as it is sent. */
  readonly path: string;
  /** The segments of the path, percent-decoded; a trailing slash shows as a last empty segment. */
  readonly segments: readonly string[];
  /** The query byte for byte without `?`; null when the target has no `?`. */
  readonly query: string | null;
  /** The query, decoded as application/x-www-form-urlencoded, values in order. */
  readonly queryParameters: Readonly<Record<string, readonly string[]>>;
}

/** What the request means to the cloud API, from the operation catalogue. */
export interface Operation {
  readonly service: string;
  readonly name: string;
  readonly resource: string;
  readonly params: Readonly<Record<string, string>>;
  readonly access: 'read' | 'write' | 'admin';
  /** What the starter policy asks for. */
  readonly scopes: readonly string[];
  /** The authorization_details type that the starter policy asks for, or null. */
  readonly authorizationDetailsType: string | null;
}

/** The access token as presented (RFC 6750 §2.1, RFC 9449 §7.1). */
export interface Credentials {
  readonly scheme: 'dpop' | 'bearer';
  readonly token: string;
}

/** Stage 1's result: the request in the one reading that every later stage uses. */
export interface RequestContext {
  /** Identifies the request and its decision, in the answer, the record and upstream. */
  readonly id: string;
  /** Milliseconds since the Unix epoch. */
  readonly receivedAt: number;
  readonly method: string;
  /** Protocol version of the caller's request: `1.0`, `1.1` or `2`. */
  readonly httpVersion: string;
  readonly route: Route;
  /** Lower case, without port. */
  readonly host: string;
  readonly target: Target;
  readonly operation: Operation | null;
  /** Names (as sent) and values in turn, as received: what the forwarder filters and the policy sees in part. */
  readonly rawHeaders: readonly string[];
  readonly credentials: Credentials;
  /** The one DPoP header, or null. */
  readonly proof: string | null;
  /** The client certificate that the caller presented; null where there is none. Whether it counts, stage 3 says. */
  readonly certificate: ClientCertificate | null;
  /** Address of the peer of the connection; never from a header. */
  readonly peerAddress: string;
  readonly body: BodyHandle;
  /** True when the caller asks to switch to WebSocket. */
  readonly upgrade: boolean;
}

/** A client certificate whose key the other end of a TLS connection was shown to hold (RFC 8705 §3). */
export interface ClientCertificate {
  /** base64url(SHA-256(DER)), RFC 8705 §3.1. */
  readonly x5tS256: string;
  /** Milliseconds since the Unix epoch, both inclusive (RFC 5280 §4.1.2.5); infinite where only the thumbprint is known. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Why it is not trusted, as OpenSSL names it (`UNABLE_TO_GET_ISSUER_CERT_LOCALLY`), where it must chain to a CA; else null. */
  readonly untrusted: string | null;
}

/** How proxies write the client certificate of their caller into a header field. */
export type CertificateForm = 'client_cert' | 'envoy' | 'nginx' | 'haproxy' | 'traefik';

/** The header field in which a front proxy says what certificate its caller showed. */
export interface CertificateField {
  /** Lower case. */
  readonly name: string;
  readonly form: CertificateForm;
}

/** The other end of the connection that a request came on: established before its first byte, the same for all requests of the connection. */
export interface Peer {
  /** The name that the caller opened the connection for (SNI, RFC 6066 §3), lower case; null where none was sent, and of front proxies. */
  readonly serverName: string | null;
  /** From the TLS handshake with the caller; null where there is none. That of a front proxy is never the caller's. */
  readonly certificate: ClientCertificate | null;
  /** Where the front proxy at the other end passes on certificates; null where it does not, or where the other end is the caller itself. */
  readonly certificateField: CertificateField | null;
}

/** What the policy may know of the body. Before it is read, `absent` or `not_requested`. */
export interface BodyHandle {
  readonly state: 'absent' | 'not_requested' | 'parsed' | 'too_large' | 'not_json';
  /** The parsed JSON when `state` is `parsed`. */
  readonly value?: unknown;
  /** Bytes that were read already, to be sent first; the rest follows from the connection. */
  readonly head: readonly Uint8Array[];
  /** True when `head` is the whole body. */
  readonly complete: boolean;
}

/** The cnf claim, understood whole (RFC 7800 §3.1); empty when the token carries none. Where both are present, both must hold. */
export interface Confirmation {
  readonly jkt?: string;
  readonly x5tS256?: string;
}

/** The normalised claims of the job that a token was issued for; null members where the provider does not say. */
export interface Job {
  readonly provider: string | null;
  readonly repository: string | null;
  readonly repository_id: string | null;
  readonly workflow: string | null;
  readonly ref: string | null;
  readonly ref_protected: boolean | null;
  readonly environment: string | null;
  readonly event: string | null;
  readonly run_id: string | null;
  readonly actor: string | null;
  readonly runner: string | null;
  readonly claims: Readonly<Record<string, unknown>>;
}

declare const tokenBrand: unique symbol;
declare const proofBrand: unique symbol;
declare const decisionBrand: unique symbol;
declare const authorizedBrand: unique symbol;

/** What stage 2 establishes of a token. Shared between requests through the token cache, so frozen. */
export interface TokenFacts {
  readonly kind: 'jwt' | 'opaque';
  /** base64url(SHA-256(token)): the cache key, and what `ath` must equal (RFC 9449 §4.2). */
  readonly digest: string;
  readonly issuer: string;
  readonly subject: string;
  readonly clientId: string;
  readonly audience: readonly string[];
  readonly jti: string;
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Seconds since the Unix epoch. */
  readonly expiresAt: number;
  readonly scopes: readonly string[];
  readonly authorizationDetails: readonly Readonly<Record<string, unknown>>[];
  readonly confirmation: Confirmation;
  readonly job: Job | null;
  /** How the client authenticated at the authorization server, when the token says so. */
  readonly clientAuthMethod: string | null;
  /** The remaining claims, for the policy. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** An access token that stage 2 verified. Only `src/token/` can make one. */
export interface VerifiedToken extends TokenFacts {
  readonly [tokenBrand]: true;
}

/** What stage 3 establishes of the sender. */
export interface ProofFacts {
  readonly method: Binding;
  /** The thumbprint that the token is bound to: jkt, or x5t#S256; null for a bearer token on a route that allows it. */
  readonly thumbprint: string | null;
  /** The x5t#S256 that the token names beside its jkt, which held too; null otherwise. */
  readonly certificate: string | null;
  /** Of a DPoP proof; null otherwise. */
  readonly jti: string | null;
  /** Seconds since the Unix epoch, of a DPoP proof; null otherwise. */
  readonly issuedAt: number | null;
  /** The nonce that the answer must give, since the one in use is about to expire (RFC 9449 §8.2); null otherwise. */
  readonly nonce: string | null;
}

/** Proof that the sender holds the token's key. Only `src/proof/` can make one. */
export interface VerifiedProof extends ProofFacts {
  readonly [proofBrand]: true;
}

/** What the gateway must do with an allowed request. */
export interface Obligations {
  /** Headers to set on the upstream request, lower-case names. */
  readonly setHeaders: readonly (readonly [string, string])[];
  /** Header names to remove from the upstream's answer, lower case. */
  readonly removeResponseHeaders: readonly string[];
  readonly maximumBodyBytes: number | null;
  /** Milliseconds that the upstream may take at most, from the start of forwarding. */
  readonly deadlineMs: number | null;
  /** How and how recently the subject must have authenticated (RFC 9470); stage 4 itself holds the token to it. */
  readonly userAuthentication: UserAuthentication | null;
  /** The rate classes that the request counts in. */
  readonly rateClasses: readonly RateClassUse[];
}

/** One rate class of the configuration, and what is counted together in it. */
export interface RateClassUse {
  readonly name: string;
  /** Null: the job, or the client where the token names no job. */
  readonly key: string | null;
}

/** Demands on `acr` and `auth_time` of a token (RFC 9470 §3); null: none on that claim. */
export interface UserAuthentication {
  /** One of these must be the `acr`. */
  readonly acrValues: readonly string[] | null;
  /** Seconds that may have passed since `auth_time`. */
  readonly maxAge: number | null;
}

/** What stage 4 establishes: the policy's positive answer. */
export interface DecisionFacts {
  readonly obligations: Obligations;
  /** Revision of the policy that decided. */
  readonly revision: string;
  /** The policy's answer as it gave it, for the record. */
  readonly result: unknown;
  readonly reasons: readonly PolicyReason[];
}

/** A positive decision. Only `src/policy/` can make one. */
export interface Decision extends DecisionFacts {
  readonly [decisionBrand]: true;
}

/** A request that passed every check, in order; the only thing stage 5 forwards. Only `kernel/check.ts` makes one. */
export interface AuthorizedRequest {
  readonly [authorizedBrand]: true;
  readonly context: RequestContext;
  readonly token: VerifiedToken;
  readonly proof: VerifiedProof;
  readonly decision: Decision;
}

/** Marks a token as verified. Called by `src/token/` only (test/boundaries.test.ts). */
export function sealToken(facts: TokenFacts): VerifiedToken {
  return Object.freeze(facts) as VerifiedToken;
}

/** Marks a proof as verified. Called by `src/proof/` only (test/boundaries.test.ts). */
export function sealProof(facts: ProofFacts): VerifiedProof {
  return facts as VerifiedProof;
}

/** Marks a decision as the policy's. Called by `src/policy/` only (test/boundaries.test.ts). */
export function sealDecision(facts: DecisionFacts): Decision {
  return facts as Decision;
}

/** Marks a request as authorized. Called by `src/kernel/check.ts` only (test/boundaries.test.ts). */
export function sealAuthorized(parts: Omit<AuthorizedRequest, typeof authorizedBrand>): AuthorizedRequest {
  return parts as AuthorizedRequest;
}

/**
 * What is known of one request so far; each stage's result is added as it is reached, and the record is written from it
 * whatever happens. The only mutable thing on the way of a request.
 */
export interface Evidence {
  readonly id: string;
  /** Milliseconds since the Unix epoch. */
  readonly receivedAt: number;
  readonly peerAddress: string;
  /** As received, before any judgement; bounded and escaped where it is written. */
  readonly method: string;
  /** As received, before any judgement; bounded and escaped where it is written. */
  readonly rawTarget: string;
  /** Protocol version: `1.0`, `1.1` or `2`; empty where the bytes were not HTTP. */
  readonly httpVersion: string;
  /** Known before the context is complete, so that a refusal can carry the route's challenge. */
  route?: Route;
  context?: RequestContext;
  token?: VerifiedToken;
  proof?: VerifiedProof;
  decision?: Decision;
  /**
   * The policy input as it was judged: JSON text without line breaks and lone surrogates, to be put into the record or parsed to mask it;
   * absent when no policy was asked.
   */
  policyInput?: string;
  /** The policy's answer as it gave it, also when it refused. */
  policyResult?: unknown;
  policyRevision?: string;
  /** What the candidate policy says of the same input; absent when it was not asked. Never changes anything else. */
  shadow?: ShadowEvidence;
  /** The bundles that the policy was made of, as JSON text of an object of names (OPA's `bundles`); absent where it was made of none. */
  policyBundles?: string;
  denial?: Denial;
  /** Trace that this request is recorded in, 32 hexadecimal digits; absent when nobody traces. */
  traceId?: string;
  /** Trace that the caller named in `traceparent`, 32 hexadecimal digits; never the parent of ours. */
  callerTraceId?: string;
  /** Status that the caller saw; 0 when nothing was sent. */
  status: number;
  /** What happened upstream; absent when nothing was sent there. */
  upstream?: UpstreamEvidence;
  /** Milliseconds (fractions allowed) spent in each stage. */
  readonly timings: { request: number; token: number; proof: number; policy: number; forward: number };
}

/** What happened on the way to the upstream and back. */
export interface UpstreamEvidence {
  /** Status of the upstream's answer; 0 when none came. */
  status: number;
  requestBytes: number;
  responseBytes: number;
  /** True when the answer was passed on to its end. */
  complete: boolean;
}

/**
 * How the answer of a candidate policy differs from that of the live one. `none`: not at all; `allows`: it allows what was refused;
 * `refuses`: it refuses what was allowed; `reasons`, `requires`, `obligations`: the same for the caller but for these; `fails`: it gave no
 * usable answer.
 */
export type ShadowDifference = 'none' | 'allows' | 'refuses' | 'reasons' | 'requires' | 'obligations' | 'fails';

/** What a candidate policy said of a request that the live one decided. */
export interface ShadowEvidence {
  /** Revision of the candidate. */
  readonly revision: string;
  readonly difference: ShadowDifference;
  /** Of each policy: `allow`, or the first of its own reason codes in alphabetical order, or else the gateway's reason. */
  readonly live: string;
  readonly candidate: string;
  /** The refusal that the candidate would have caused. */
  readonly denial?: Denial;
  /** Milliseconds (fractions allowed) that its evaluation took, in a thread of its own. */
  readonly milliseconds: number;
}
