/** Error codes of the broker's answers: those of RFC 6749 §5.2, RFC 8707 §2, RFC 9396 §14.6, RFC 9449 §5 and §8, and RFC 6750 §3.1. */
export type BrokerError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_token'
  | 'invalid_scope'
  | 'invalid_target'
  | 'invalid_authorization_details'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'access_denied'
  | 'temporarily_unavailable'
  | 'server_error'
  | 'not_found'
  | 'method_not_allowed';

/** One way in which the broker refuses. */
interface BrokerReasonRow {
  /** HTTP status of the answer. */
  readonly status: number;
  /** `error` of the answer. */
  readonly error: BrokerError;
  /** The fixed words the caller gets: characters that RFC 6749 §5.2 allows in error_description, no full stop at the end. */
  readonly title: string;
  /** Where the obligation to refuse stands. */
  readonly specification: string;
  /** What the person at the keyboard should do. */
  readonly advice: string;
}

function row(
  status: number,
  error: BrokerError,
  title: string,
  specification: string,
  advice: string,
): BrokerReasonRow {
  return { status, error, title, specification, advice };
}

const request = (title: string, specification: string, advice: string) =>
  row(400, 'invalid_request', title, specification, advice);
const denied = (title: string, specification: string, advice: string) =>
  row(403, 'access_denied', title, specification, advice);
/** With Retry-After. */
const later = (title: string, specification: string, advice: string) =>
  row(503, 'temporarily_unavailable', title, specification, advice);

const OVERLOAD = 'RFC 9110 §15.6.4';
const again = 'Try again after the seconds of Retry-After';

/** The closed list of the broker's refusals; docs/reference/broker.md is generated from it. */
export const BROKER_REASONS = {
  // The request
  endpoint_unknown: row(
    404,
    'not_found',
    'There are /token, /jobs/JOB/end and /.well-known/sallyport-broker',
    'RFC 9110 §15.5.5',
    'Use the addresses that /.well-known/sallyport-broker names.',
  ),
  method_not_allowed: row(
    405,
    'method_not_allowed',
    'This method is not for this endpoint',
    'RFC 9110 §15.5.6',
    'Use a method that Allow names.',
  ),
  form_expected: request(
    'Send a form',
    'RFC 6749 §3.2',
    'Send the parameters as application/x-www-form-urlencoded, with that Content-Type.',
  ),
  form_malformed: request(
    'The body is not a form in UTF-8',
    'RFC 6749 appendix B',
    'Encode names and values in UTF-8, then percent-encode them.',
  ),
  body_too_large: row(
    413,
    'invalid_request',
    'The body is too large',
    'RFC 9110 §15.5.14',
    'Send 65536 bytes at most.',
  ),
  authorization_repeated: request(
    'Send exactly one Authorization header',
    'RFC 6750 §2',
    'Present the identity token, once.',
  ),
  parameter_repeated: request('A parameter is repeated', 'RFC 6749 §3.2', 'Send each parameter once, but resource.'),
  parameter_not_taken: request(
    'A parameter is not for the broker, which authenticates with its own key',
    'RFC 7521 §4.2',
    'Leave out what authenticates a client; the identity token goes into Authorization.',
  ),
  parameter_too_long: request('A parameter is too long', 'RFC 6749 §5.2', 'Send what the configuration names.'),
  grant_type_other: request(
    'The only grant_type is client_credentials',
    'RFC 6749 §4.4',
    'Leave grant_type out, or send client_credentials.',
  ),
  scope_malformed: row(
    400,
    'invalid_scope',
    'scope is malformed: expected tokens parted by one space each',
    'RFC 6749 §3.3',
    'Send scopes as the workflow lists them.',
  ),
  resource_malformed: row(
    400,
    'invalid_target',
    'resource is malformed: expected an absolute URI without fragment',
    'RFC 8707 §2',
    'Send the URI as the workflow lists it.',
  ),
  resource_needed: row(
    400,
    'invalid_target',
    'Say which resource: the workflow has several',
    'RFC 8707 §2',
    'Send one resource of the workflow.',
  ),
  details_malformed: row(
    400,
    'invalid_authorization_details',
    'authorization_details',
    'RFC 9396 §5',
    'Send a JSON array of objects, each with a type.',
  ),
  // Who asks
  identity_missing: row(
    401,
    'invalid_client',
    'Present the identity token of the job: Authorization: Bearer',
    'RFC 6750 §2.1',
    'Get an identity token from the CI system and present it.',
  ),
  identity_refused: row(
    401,
    'invalid_token',
    'The identity token is refused',
    'RFC 7523 §3',
    'Ask the CI system for a token with the audience of this broker, and use it before it expires.',
  ),
  identity_used: row(
    401,
    'invalid_token',
    'The identity token was used before with another key',
    'RFC 7523 §3',
    'Somebody else has the identity token of the job, or had it first: look at the records of the broker.',
  ),
  identity_unverifiable: later(
    'The identity token cannot be verified at the moment',
    'RFC 7517 §5',
    `${again}; /readyz says which issuer gives no keys.`,
  ),
  proof_missing: row(
    400,
    'invalid_dpop_proof',
    'Send exactly one DPoP header',
    'RFC 9449 §4.3',
    'Send one proof, in one header of its own.',
  ),
  proof_refused: row(
    400,
    'invalid_dpop_proof',
    'The proof for the token endpoint is refused',
    'RFC 9449 §4.3',
    'Make a new proof for token_endpoint of /.well-known/sallyport-broker, with POST.',
  ),
  end_unproven: row(
    401,
    'invalid_dpop_proof',
    'The end of a job is proven with its key',
    'RFC 9449 §4.3',
    'Send one proof for this URL, made with the key of this job.',
  ),
  engine_token_wrong: row(
    401,
    'invalid_token',
    'The API token of the engine is another',
    'RFC 6750 §3.1',
    'Present the token of admin.api_token_file.',
  ),
  engine_token_unavailable: later(
    'The API token of the engine cannot be read',
    OVERLOAD,
    'Put a token of 32 characters or more into admin.api_token_file, mode 0600.',
  ),
  // What it is, and may have
  workflow_unknown: denied(
    'The job is of no workflow that is configured here, or not of the one it names',
    'RFC 6749 §5.2',
    'Compare match of the workflow with the record of this request.',
  ),
  environment_not_stated: denied(
    'The identity token of the job does not name the environment that it asks for',
    'RFC 6749 §5.2',
    'Run the job in that environment of the CI system.',
  ),
  environment_not_served: denied(
    'The workflow serves other environments than that of the identity token',
    'RFC 6749 §5.2',
    'Run the job in one of the environments of the workflow, or add this one to it.',
  ),
  beyond_ceiling: denied(
    'Nothing of the request is within the ceiling of the workflow',
    'RFC 6749 §3.3, RFC 9396 §5',
    'Ask for what the workflow may have, or widen the workflow.',
  ),
  // Jobs
  key_of_another_job: denied(
    'The key of the proof is that of another job',
    'RFC 9449 §5',
    'Make a key for each job, and never hand it on.',
  ),
  job_ended: denied('The job has ended', 'RFC 6749 §5.2', 'Start another agent, with a key of its own.'),
  job_unknown: row(
    404,
    'not_found',
    'There is no such job here, or it ended long ago',
    'RFC 9110 §15.5.5',
    'Use the job_id of the answer to POST /token.',
  ),
  requests_of_job: later(
    'The job has too many requests under way',
    OVERLOAD,
    `${again}; limits.requests_per_job is the bound.`,
  ),
  jobs_of_run: row(
    429,
    'temporarily_unavailable',
    'The run has too many jobs',
    'RFC 6585 §4',
    'Let jobs of this run end, or raise jobs.limit_per_run; a job that starts many agents counts as many.',
  ),
  jobs_of_workflow: row(
    429,
    'temporarily_unavailable',
    'The workflow has too many jobs',
    'RFC 6585 §4',
    'Let jobs of this workflow end, or raise jobs.limit_per_workflow.',
  ),
  jobs_full: later('Too many jobs are running', OVERLOAD, `${again}; jobs.limit is the bound.`),
  // The broker itself
  state_unwritable: later(
    'The broker cannot keep its state at the moment',
    OVERLOAD,
    'No token is issued whose end could not be recorded: make room in state_folder, or mend its mode.',
  ),
  records_unwritable: later(
    'The broker cannot keep records at the moment',
    OVERLOAD,
    'No token is handed out without a record: make room for records_file.',
  ),
  queue_busy: later('The broker has too much to do', OVERLOAD, `${again}; limits.queue is the bound.`),
  unexpected: row(
    500,
    'server_error',
    'The broker failed unexpectedly; its log says why',
    'RFC 9110 §15.6.1',
    'Look at the log, and report what it says.',
  ),
  // The authorization server
  server_unknown: later(
    'The authorization server is not known yet',
    'RFC 8414 §3',
    `${again}; /readyz says why its metadata cannot be read.`,
  ),
  server_unreachable: later(
    'The authorization server cannot be reached at the moment',
    OVERLOAD,
    `${again}; the log says what went wrong.`,
  ),
  server_busy: later('The authorization server is busy', 'RFC 9110 §10.2.3', `${again}.`),
  server_refused: row(
    400,
    'invalid_request',
    'The authorization server refuses',
    'RFC 6749 §5.2',
    'error says what is wrong with the request or its proof; with use_dpop_nonce, repeat it with the nonce of DPoP-Nonce.',
  ),
  server_unusable: row(
    502,
    'server_error',
    'The answer of the authorization server cannot be used',
    'RFC 6749 §5.1',
    'Look at the log of the broker, and at what answers at the token endpoint.',
  ),
  token_unbound: row(
    502,
    'server_error',
    'The authorization server gave a token that is not bound to the key of the job',
    'RFC 9449 §5',
    'Let the authorization server bind the tokens of the client: dpop_bound_access_tokens.',
  ),
  grant_beyond: row(
    502,
    'server_error',
    'The authorization server granted more than was asked for',
    'RFC 6749 §3.3, RFC 9396 §7',
    'Let the authorization server grant what is asked for and nothing by default.',
  ),
  client_missing: later(
    'The workflow has no client at the authorization server yet',
    'RFC 7591 §3',
    `${again}; /readyz says what stands in the way.`,
  ),
  client_refused: later(
    'The authorization server refused the client of the workflow; it is looked after',
    'RFC 6749 §5.2',
    `${again}; the log says what is done about it.`,
  ),
} as const satisfies Readonly<Record<string, BrokerReasonRow>>;

/** Name of a refusal of the broker. */
export type BrokerReason = keyof typeof BROKER_REASONS;
