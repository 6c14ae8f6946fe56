import type { RequestContext, VerifiedProof, VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { connectionNamed, foldFieldName } from '../kernel/fields.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { PolicyInput } from './input_schema.ts';
import { isNestedDeeper } from './nesting.ts';

/** Bytes of UTF-8 that an input document may have. */
export const INPUT_LIMIT_BYTES = 262_144;

/**
 * The header fields a policy sees: those that can change what a request means to a cloud API. A list of what is shown, so that no
 * credential can be forgotten. Every name is lower case, with `-`.
 */
export const SHOWN_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'content-encoding',
  'content-type',
  'if-match',
  'if-none-match',
  'prefer',
  'range',
  'x-amz-target',
]);

const SHOWN_LENGTHS: ReadonlySet<number> = new Set([...SHOWN_HEADERS].map((name) => name.length));

/** The part of the document that depends on the token alone, as JSON text; how the sender is bound stands between the two. */
interface TokenText {
  readonly head: string;
  readonly tail: string;
}

/** A token is verified once and serves many requests; null where it is nested too deeply. */
const tokenTexts = new WeakMap<VerifiedToken, TokenText | null>();

/**
 * Builds the policy input document, as JSON text on one line: what is evaluated is what is recorded, and the token's part is made once.
 * Reason: `policy.input_too_large`, for more bytes or levels than an evaluation can take.
 */
export function buildInput(context: RequestContext, token: VerifiedToken, proof: VerifiedProof): Checked<string> {
  const tokenText = textOfToken(token);
  if (tokenText === null) return deny('policy.input_too_large', 'the token is nested too deeply');
  if (isNestedDeeper(context.body.value)) return deny('policy.input_too_large', 'the body is nested too deeply');
  const { method, thumbprint, certificate } = proof;
  const binding: PolicyInput['token']['binding'] =
    certificate === null ? { method, thumbprint } : { method, thumbprint, certificate };
  const call = wellFormed(JSON.stringify({ request: describeRequest(context), operation: describeOperation(context) }));
  const text = `{"version":1,${call.slice(1, -1)},${tokenText.head}${JSON.stringify(binding)}${tokenText.tail}`;
  if (exceedsLimit(text)) return deny('policy.input_too_large', `more than ${INPUT_LIMIT_BYTES} bytes`);
  return pass(text);
}

/** Whether a text has more bytes of UTF-8 than an input may have. */
export function exceedsLimit(text: string): boolean {
  // A UTF-16 unit takes at most three bytes, so that most texts need not be counted.
  return text.length * 3 > INPUT_LIMIT_BYTES && Buffer.byteLength(text) > INPUT_LIMIT_BYTES;
}

function describeRequest(context: RequestContext): PolicyInput['request'] {
  const { route, target, body } = context;
  return {
    id: context.id,
    time: Math.floor(context.receivedAt / 1000),
    route: route.name,
    method: context.method,
    host: context.host,
    origin: route.origin,
    resource: route.resource,
    path: target.path,
    segments: target.segments,
    query: target.queryParameters,
    headers: shownHeaders(context.rawHeaders),
    body: body.state === 'parsed' ? body.value : null,
    body_state: body.state,
    peer_address: context.peerAddress,
  };
}

function describeOperation({ operation }: RequestContext): PolicyInput['operation'] {
  if (operation === null) return null;
  return {
    service: operation.service,
    name: operation.name,
    resource: operation.resource,
    params: operation.params,
    access: operation.access,
    scopes: operation.scopes,
    authorization_details_type: operation.authorizationDetailsType,
  };
}

/** Fields that `Connection` names are not sent on (RFC 9110 §7.6.1), and `_` in a name is `-` to many upstreams: both as the forwarder reads them. */
function shownHeaders(rawHeaders: readonly string[]): Record<string, string[]> {
  const shown: Record<string, string[]> = {};
  const dropped = connectionNamed(rawHeaders);
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const sent = rawHeaders[i] as string;
    if (!SHOWN_LENGTHS.has(sent.length)) continue;
    const name = foldFieldName(sent);
    if (!SHOWN_HEADERS.has(name) || dropped?.has(name)) continue;
    const values = shown[name];
    if (values === undefined) shown[name] = [rawHeaders[i + 1] as string];
    else values.push(rawHeaders[i + 1] as string);
  }
  return shown;
}

function textOfToken(token: VerifiedToken): TokenText | null {
  let text = tokenTexts.get(token);
  if (text === undefined) {
    text = describeToken(token);
    tokenTexts.set(token, text);
  }
  return text;
}

function describeToken(token: VerifiedToken): TokenText | null {
  if ([token.authorizationDetails, token.claims, token.job].some((part) => isNestedDeeper(part))) return null;
  const client: PolicyInput['client'] = { id: token.clientId, auth_method: token.clientAuthMethod };
  const facts: Omit<PolicyInput['token'], 'binding'> = {
    kind: token.kind,
    issuer: token.issuer,
    subject: token.subject,
    audience: token.audience,
    jti: token.jti,
    issued_at: token.issuedAt,
    expires_at: token.expiresAt,
    scopes: token.scopes,
    authorization_details: token.authorizationDetails,
    claims: token.claims,
  };
  const job: PolicyInput['job'] = token.job;
  return {
    head: wellFormed(`"client":${JSON.stringify(client)},"token":${JSON.stringify(facts).slice(0, -1)},"binding":`),
    tail: wellFormed(`},"job":${JSON.stringify(job)}}`),
  };
}

const SURROGATE_ESCAPE = /\\(?:u(d[89a-f][0-9a-f]{2})|.)/g;

/**
 * JSON.stringify writes a lone surrogate as an escape, and only that; OPA's parser takes it for a fault of the whole document. It becomes
 * U+FFFD, as wherever text is made well-formed.
 */
function wellFormed(json: string): string {
  if (!json.includes('\\ud')) return json;
  // Every escape is taken whole, so that the second half of an escaped backslash begins none.
  return json.replace(SURROGATE_ESCAPE, (whole, lone: string | undefined) => (lone === undefined ? whole : '\ufffd'));
}
