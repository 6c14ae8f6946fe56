/** Error codes that may appear in a challenge; null where the answer carries none. */
export type WireError =
  | 'invalid_request'
  | 'invalid_token'
  | 'insufficient_scope'
  | 'insufficient_user_authentication'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'insufficient_authorization_details';

/** One way to refuse a request. */
export interface ReasonRow {
  /** HTTP status of the answer. 499 is never sent: the caller was gone. */
  readonly status: number;
  /** Error code in the WWW-Authenticate challenge (RFC 6750 §3.1, RFC 9449 §7.1), or null. */
  readonly error: WireError | null;
  /** True: a challenge without an error code, because no credentials were presented (RFC 6750 §3.1). */
  readonly challenge?: true;
  /** The fixed words the caller gets: characters that RFC 6750 §3 allows in error_description, no double quote, no backslash. */
  readonly title: string;
  /** Where the obligation to refuse stands. */
  readonly specification: string;
  /** What the person at the keyboard should do. */
  readonly advice: string;
}

function row(status: number, error: WireError | null, title: string, specification: string, advice: string): ReasonRow {
  return { status, error, title, specification, advice };
}

function unauthenticated(title: string, specification: string, advice: string): ReasonRow {
  return { status: 401, error: null, challenge: true, title, specification, advice };
}

const token = (title: string, specification: string, advice: string) =>
  row(401, 'invalid_token', title, specification, advice);
const proof = (title: string, specification: string, advice: string) =>
  row(401, 'invalid_dpop_proof', title, specification, advice);
const nonce = (title: string, specification: string, advice: string) =>
  row(401, 'use_dpop_nonce', title, specification, advice);

const newProof = 'Make a new proof for this request.';
const newToken = 'Ask the authorization server for a new access token.';
const operator = 'Try again; if it persists, the operator of the gateway must look at its log.';

/**
 * The closed list of refusals: one row for each way to refuse. The key is `stage.reason`; only that stage (or the gateway, for
 * `gateway.*`) produces it. docs/reference/reasons.md is generated from this table.
 */
export const REASONS = {
  // Stage 1: request
  'request.malformed': row(
    400,
    null,
    'The request is not well-formed HTTP',
    'RFC 9112 §2.2',
    'Send a well-formed HTTP/1.1 request.',
  ),
  'request.framing': row(
    400,
    null,
    'The length of the request body can be read in two ways',
    'RFC 9112 §6.3',
    'Send either one Content-Length in decimal digits or Transfer-Encoding: chunked, not both.',
  ),
  'request.header_malformed': row(
    400,
    null,
    'A header field is malformed',
    'RFC 9110 §5.5',
    'Send header fields on one line each, without control characters.',
  ),
  'request.header_repeated': row(
    400,
    null,
    'A header field that may stand once was sent more than once',
    'RFC 9110 §5.3',
    'Send Host, Content-Length and Content-Type once.',
  ),
  'request.too_many_headers': row(
    431,
    null,
    'The request has too many header fields',
    'RFC 6585 §5',
    'Send fewer header fields.',
  ),
  'request.headers_too_large': row(
    431,
    null,
    'The header section of the request is too large',
    'RFC 6585 §5',
    'Send smaller header fields; a large token is the usual cause: ask for fewer authorization_details at once.',
  ),
  'request.timeout': row(
    408,
    null,
    'The request did not arrive in time',
    'RFC 9110 §15.5.9',
    'Send the whole request without long pauses.',
  ),
  'request.target_ambiguous': row(
    400,
    null,
    'The request target can be read in two ways',
    'RFC 9110 §4.2.3, RFC 3986 §6',
    'Send one canonical path: no dot segments, empty segments, encoded slashes, backslashes or control characters, in any encoding.',
  ),
  'request.host_malformed': row(
    400,
    null,
    'The Host header is missing, repeated or malformed',
    'RFC 9112 §3.2',
    'Send exactly one Host header with the host of the gateway.',
  ),
  'request.host_unknown': row(
    421,
    null,
    'This gateway does not serve that host',
    'RFC 9110 §15.5.20',
    'Use the public origin of the gateway.',
  ),
  'request.host_of_another_connection': row(
    421,
    null,
    'The TLS connection was opened for another host than the request names',
    'RFC 9110 §7.4, §15.5.20',
    'Open a connection with the same name in SNI and in Host.',
  ),
  'request.route_unknown': row(
    404,
    null,
    'No route of the gateway covers this path',
    'RFC 9110 §15.5.5',
    'Check the path; the operator can list the routes with sallyport config check.',
  ),
  'request.method_not_allowed': row(
    405,
    null,
    'The method is not allowed on this route',
    'RFC 9110 §15.5.6',
    'Use a method from the Allow header.',
  ),
  'request.body_too_large': row(
    413,
    null,
    'The request body is larger than the gateway or the policy allows',
    'RFC 9110 §15.5.14',
    'Send a smaller body.',
  ),
  'request.body_unreadable': row(
    400,
    null,
    'The request body ended early or could not be read',
    'RFC 9112 §6.3',
    'Send the whole body as announced.',
  ),
  'request.expectation_unsupported': row(
    417,
    null,
    'The expectation is not supported',
    'RFC 9110 §10.1.1',
    'Send Expect: 100-continue or no Expect header.',
  ),
  'request.header_refused': row(
    403,
    null,
    'The request has a header field that may not pass on this route',
    'RFC 9110 §15.5.4',
    'Leave the header field out. Who may act for somebody else is what the policy says.',
  ),
  'request.upgrade_not_allowed': row(
    403,
    null,
    'The route does not allow protocol upgrades',
    'RFC 9110 §7.8',
    'The operator can allow WebSocket on the route by name.',
  ),
  'request.credentials_missing': unauthenticated(
    'No access token was presented',
    'RFC 6750 §3.1',
    'Send Authorization: DPoP with a token for this resource, and a DPoP header with a proof.',
  ),
  'request.scheme_unsupported': unauthenticated(
    'The authentication scheme is not supported',
    'RFC 9110 §11.6.1',
    'Use one of the schemes in the WWW-Authenticate header.',
  ),
  'request.credentials_malformed': row(
    400,
    'invalid_request',
    'The Authorization header is malformed',
    'RFC 6750 §2.1',
    'Send a scheme, one space and one token in token68 syntax.',
  ),
  'request.credentials_repeated': row(
    400,
    'invalid_request',
    'More than one credential was presented',
    'RFC 6750 §2',
    'Send exactly one Authorization header.',
  ),
  'request.credentials_in_query': row(
    400,
    'invalid_request',
    'An access token must not be sent in the query',
    'RFC 6750 §2.3, RFC 9700 §4.3.2',
    'Send the token in the Authorization header only.',
  ),
  'request.credentials_in_body': row(
    400,
    'invalid_request',
    'An access token must not be sent in the body',
    'RFC 6750 §2.2',
    'Send the token in the Authorization header only.',
  ),
  'request.certificate_repeated': row(
    400,
    'invalid_request',
    'More than one client certificate was passed on by the front proxy',
    'RFC 9440 §2.2, §4',
    'The operator must let the front proxy replace the header field, so that what callers send in it does not get through.',
  ),
  'request.certificate_malformed': row(
    400,
    'invalid_request',
    'The client certificate that the front proxy passed on cannot be read',
    'RFC 9440 §2.1, §2.2',
    'The operator must compare the header field that the front proxy writes with listen.front_proxies of the gateway.',
  ),
  'request.proof_repeated': proof(
    'More than one DPoP header was sent',
    'RFC 9449 §4.3 check 1',
    'Send exactly one DPoP header.',
  ),

  // Stage 2: token
  'token.malformed': token('The access token is malformed', 'RFC 9068 §4, RFC 7515 §5.2', newToken),
  'token.type': token(
    'The access token has the wrong type',
    'RFC 9068 §4',
    'Send an access token of type at+jwt, not an ID token or a proof.',
  ),
  'token.algorithm': token('The signature algorithm of the access token is not allowed', 'RFC 8725 §3.1', newToken),
  'token.critical_header': token(
    'The access token has a critical header parameter that is not understood',
    'RFC 7515 §4.1.11',
    newToken,
  ),
  'token.issuer_unknown': token(
    'The issuer of the access token is not trusted here',
    'RFC 9068 §4',
    'Use a token from an authorization server listed in the resource metadata.',
  ),
  'token.key_unknown': token(
    'The access token is signed with a key that its issuer does not publish',
    'RFC 9068 §4',
    newToken,
  ),
  'token.signature': token('The signature of the access token is not valid', 'RFC 9068 §4, RFC 7515 §5.2', newToken),
  'token.claims': token('A claim of the access token is missing or has the wrong type', 'RFC 9068 §2.2', newToken),
  'token.audience': token(
    'The access token is for another resource',
    'RFC 9068 §4, RFC 8707 §2',
    'Ask for a token with the resource of this route.',
  ),
  'token.expired': token('The access token has expired', 'RFC 9068 §4', newToken),
  'token.not_yet_valid': token(
    'The access token is not yet valid',
    'RFC 7519 §4.1.5',
    'Check the clocks of the authorization server and the gateway.',
  ),
  'token.confirmation': token(
    'The access token carries a confirmation that is not understood',
    'RFC 7800 §3.1',
    'Use a token bound by jkt or x5t#S256.',
  ),
  'token.authorization_details': token(
    'The authorization_details of the access token are malformed',
    'RFC 9396 §2',
    newToken,
  ),
  'token.keys_unavailable': row(
    503,
    null,
    'The keys of the issuer cannot be had at the moment',
    'RFC 9110 §15.6.4',
    operator,
  ),
  'token.inactive': token('The issuer says that the access token is not active', 'RFC 7662 §2.2', newToken),
  'token.introspection_unavailable': row(
    503,
    null,
    'The issuer cannot be asked about the access token at the moment',
    'RFC 7662 §2.2, RFC 9110 §15.6.4',
    operator,
  ),
  'token.status': token(
    'The access token carries a status that is not understood or not allowed here',
    'draft-ietf-oauth-status-list §8.3',
    newToken,
  ),
  'token.revoked': token('The access token was revoked or suspended', 'draft-ietf-oauth-status-list §7.1', newToken),
  'token.status_unavailable': row(
    503,
    null,
    'The status of the access token cannot be had at the moment',
    'draft-ietf-oauth-status-list §8.3, RFC 9110 §15.6.4',
    operator,
  ),

  'token.job_ended': token(
    'The job that the access token was issued to has ended',
    'RFC 6750 §3.1 (invalid_token: revoked)',
    'Nothing: a job that has ended makes no more calls. A new job asks for a token of its own, with a key of its own.',
  ),
  'token.ended_jobs_unavailable': row(
    503,
    null,
    'It cannot be known at the moment whether the job of the access token has ended',
    'RFC 9110 §15.6.4',
    operator,
  ),

  // Stage 3: proof
  'proof.missing': proof(
    'The DPoP proof is missing',
    'RFC 9449 §4.3 check 1, §7.1',
    'Send a DPoP header with a proof for this request.',
  ),
  'proof.malformed': proof(
    'The DPoP proof is not a well-formed JWT',
    'RFC 9449 §4.3 check 2',
    'Send one compact JWS: three base64url parts without padding, JSON objects without repeated members.',
  ),
  'proof.type': proof('The type of the DPoP proof is not dpop+jwt', 'RFC 9449 §4.3 check 4', newProof),
  'proof.algorithm': proof(
    'The signature algorithm of the DPoP proof is not allowed',
    'RFC 9449 §4.3 check 5',
    'Use an algorithm from algs in the challenge.',
  ),
  'proof.critical_header': proof(
    'The DPoP proof has a critical header parameter that is not understood',
    'RFC 7515 §4.1.11',
    newProof,
  ),
  'proof.key': proof(
    'The key in the DPoP proof is not an acceptable public key',
    'RFC 9449 §4.3 checks 5 to 7',
    'Send the public JWK of the key that signs, and nothing private.',
  ),
  'proof.claims': proof(
    'A claim of the DPoP proof is missing or has the wrong type',
    'RFC 9449 §4.3 check 3',
    'Send jti, htm, htu, iat and ath.',
  ),
  'proof.method': proof('The DPoP proof is for another method', 'RFC 9449 §4.3 check 8', newProof),
  'proof.target': proof(
    'The DPoP proof is for another URI',
    'RFC 9449 §4.3 check 9',
    'Sign the URI as the gateway knows it: its public origin and the path.',
  ),
  'proof.signature': proof('The signature of the DPoP proof is not valid', 'RFC 9449 §4.3 check 6', newProof),
  'proof.too_old': proof(
    'The DPoP proof is too old',
    'RFC 9449 §4.3 check 11',
    'Make a new proof; check the clock of this machine.',
  ),
  'proof.issued_in_future': proof(
    'The DPoP proof is dated in the future',
    'RFC 9449 §4.3 check 11',
    'Check the clock of this machine.',
  ),
  'proof.expired': proof('The DPoP proof has expired', 'RFC 7519 §4.1.4', newProof),
  'proof.not_yet_valid': proof('The DPoP proof is not yet valid', 'RFC 7519 §4.1.5', newProof),
  'proof.token_hash': proof(
    'The DPoP proof is for another access token',
    'RFC 9449 §4.3 check 12',
    'Set ath to the SHA-256 of the access token that is sent.',
  ),
  'proof.nonce_missing': nonce(
    'The DPoP proof must carry a nonce of this gateway',
    'RFC 9449 §9',
    'Make a new proof with the nonce from the DPoP-Nonce header of this answer.',
  ),
  'proof.nonce_stale': nonce(
    'The nonce of the DPoP proof is not known here, or no longer',
    'RFC 9449 §9, §8',
    'Make a new proof with the nonce from the DPoP-Nonce header of this answer.',
  ),
  'proof.replayed': proof('The DPoP proof was used before', 'RFC 9449 §11.1', newProof),
  'proof.key_mismatch': token(
    'The access token is bound to another key',
    'RFC 9449 §4.3 check 12',
    'Sign the proof with the key, or connect with the certificate, that the token was issued for.',
  ),
  'proof.bound_token_as_bearer': token(
    'A sender-constrained access token was sent as a bearer token',
    'RFC 9449 §7.2',
    'Send Authorization: DPoP with a proof.',
  ),
  'proof.unbound_token': token(
    'The access token is not bound to a key',
    'RFC 9449 §7.1, RFC 8705 §3',
    'Ask for a sender-constrained token: send a DPoP proof with the token request.',
  ),
  'proof.binding_not_allowed': token(
    'The route does not accept this kind of token binding',
    'RFC 9449 §7.1, RFC 8705 §3',
    'Use a binding that the resource metadata names.',
  ),
  'proof.certificate_missing': token(
    'The access token is bound to a client certificate, and none was presented',
    'RFC 8705 §3',
    'Connect with the client certificate that the token was issued for.',
  ),
  'proof.certificate_invalid': token(
    'The client certificate is not valid, or was not issued by an authority that is trusted here',
    'RFC 8705 §3, RFC 5280 §6.1.3',
    'Connect with a client certificate that is in date, and that chains to an authority of the gateway where it names some.',
  ),
  'proof.replay_store_unavailable': row(
    503,
    null,
    'The single use of the proof cannot be checked at the moment',
    'RFC 9449 §11.1',
    'Try again with a new proof.',
  ),

  // Stage 4: policy
  'policy.insufficient_scope': row(
    403,
    'insufficient_scope',
    'The scope of the access token does not cover this operation',
    'RFC 6750 §3.1',
    'Ask for a token with the scope in the challenge.',
  ),
  'policy.insufficient_user_authentication': row(
    401,
    'insufficient_user_authentication',
    'How or when the subject authenticated does not suffice for this operation',
    'RFC 9470 §3',
    'Ask for a token after an authentication with the acr_values and max_age in the challenge.',
  ),
  'policy.insufficient_authorization_details': row(
    403,
    'insufficient_authorization_details',
    'The authorization_details of the access token do not cover this operation',
    'RFC 9396 §9.1',
    'Ask for a token with the authorization_details in the answer.',
  ),
  'policy.denied': row(
    403,
    null,
    'The policy does not allow this operation',
    'RFC 9110 §15.5.4',
    'See the reasons in the answer; the owner of the policy can explain the decision by its id.',
  ),
  'policy.undefined': row(
    403,
    null,
    'The policy gave no decision',
    'RFC 9110 §15.5.4',
    'The owner of the policy must look at the decision by its id.',
  ),
  'policy.malformed': row(
    403,
    null,
    'The policy gave an answer that is not understood',
    'RFC 9110 §15.5.4',
    'The owner of the policy must look at the decision by its id.',
  ),
  'policy.unknown_obligation': row(
    403,
    null,
    'The policy demands something the gateway does not know',
    'RFC 9110 §15.5.4',
    'The owner of the policy must look at the decision by its id.',
  ),
  'policy.failed': row(
    403,
    null,
    'The policy could not be evaluated',
    'RFC 9110 §15.5.4',
    'The owner of the policy must look at the decision by its id.',
  ),
  'policy.input_too_large': row(
    403,
    null,
    'The request is too large for the policy to judge',
    'RFC 9110 §15.5.4',
    'Send fewer or smaller authorization_details, query parameters or header fields.',
  ),

  // Between policy and forward: the rate classes that the policy demands
  'rate.exceeded': row(
    429,
    null,
    'The rate that the policy allows is exceeded',
    'RFC 6585 §4',
    'Try again after the seconds in Retry-After; send fewer requests.',
  ),
  'rate.too_many_at_once': row(
    429,
    null,
    'More requests at the same time than the policy allows',
    'RFC 6585 §4',
    'Wait until requests under way are answered.',
  ),
  'rate.store_unavailable': row(
    503,
    null,
    'The rate that the policy allows cannot be checked at the moment',
    'RFC 9110 §15.6.4',
    operator,
  ),

  // Stage 5: forward
  'forward.upstream_unreachable': row(502, null, 'The upstream cannot be reached', 'RFC 9110 §15.6.3', operator),
  'forward.upstream_tls': row(
    502,
    null,
    'The certificate of the upstream cannot be verified',
    'RFC 9110 §4.3.4',
    operator,
  ),
  'forward.upstream_broken': row(
    502,
    null,
    'The upstream broke the connection or its answer was cut short',
    'RFC 9110 §15.6.3',
    operator,
  ),
  'forward.upstream_invalid': row(
    502,
    null,
    'The upstream gave an answer that is not valid HTTP',
    'RFC 9110 §15.6.3',
    operator,
  ),
  'forward.upstream_timeout': row(504, null, 'The upstream did not answer in time', 'RFC 9110 §15.6.5', operator),
  'forward.credential_unavailable': row(
    503,
    null,
    'The credential of the gateway for the upstream cannot be had',
    'RFC 9110 §15.6.4',
    operator,
  ),
  'forward.client_closed': row(
    499,
    null,
    'The caller closed the connection before the answer was complete',
    'RFC 9112 §9.6',
    'Nothing was sent: the caller was gone.',
  ),
  'forward.exchange_expired': row(
    403,
    null,
    'The request was still under way when its access token had expired, and was ended',
    'RFC 6750 §5.2',
    'Begin anew with a new access token. The upstream may have acted on the request: look before a change is sent again.',
  ),
  'forward.exchange_withdrawn': row(
    403,
    null,
    'The request was still under way when the policy that allowed it was withdrawn, and was ended',
    'RFC 9110 §15.5.4',
    'The policy in force now does not allow it. The upstream may have acted on the request.',
  ),
  'forward.upgrade_expired': row(
    403,
    null,
    'The upgraded connection was ended because its access token expired',
    'RFC 6750 §5.2',
    'Open a new connection with a new access token.',
  ),
  'forward.upgrade_withdrawn': row(
    403,
    null,
    'The upgraded connection was ended because the policy that allowed it was withdrawn',
    'RFC 9110 §15.5.4',
    'Open a new connection; the policy in force now will judge it.',
  ),
  'forward.upgrade_job_ended': row(
    403,
    null,
    'The upgraded connection was ended because its job has ended, or because that could not be known any more',
    'RFC 6750 §3.1 (invalid_token: revoked)',
    'A new job opens a new connection with a token of its own.',
  ),
  'forward.stopping': row(
    503,
    null,
    'The gateway is closing its connections to the upstream',
    'RFC 9110 §15.6.4',
    'Try again; another instance will answer.',
  ),

  // The gateway itself
  'gateway.unexpected': row(500, null, 'The gateway failed unexpectedly', 'RFC 9110 §15.6.1', operator),
  'gateway.overloaded': row(503, null, 'The gateway has too many connections', 'RFC 9110 §15.6.4', 'Try again later.'),
  'gateway.record_unavailable': row(
    503,
    null,
    'The record of the decision cannot be written',
    'RFC 9110 §15.6.4',
    operator,
  ),
} as const satisfies Record<string, ReasonRow>;

/** The name of a refusal, `stage.reason`. */
export type Reason = keyof typeof REASONS;
