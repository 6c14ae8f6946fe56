import { hash } from 'node:crypto';
import type {
  Evidence,
  Job,
  Operation,
  RequestContext,
  ShadowEvidence,
  UpstreamEvidence,
  VerifiedProof,
  VerifiedToken,
} from '../kernel/context.ts';
import { type PolicyReason, stageOf, statusOf } from '../kernel/denial.ts';
import { redactQuery, redactText } from '../telemetry/redact.ts';
import { TEXT_LIMIT } from '../telemetry/single_line.ts';
import { numberMember, quoted, textMember } from './json_text.ts';

/**
 * What became of a request: let through to the upstream; answered by the gateway itself (its own metadata); refused for what the caller
 * did; or ended by something that failed.
 */
export type Outcome = 'allowed' | 'answered' | 'refused' | 'failed';

/** Characters kept of a request target that stage 1 has not found well-formed. */
const RAW_TARGET_LIMIT = 1024;
/** The rule for targets allows no more, so what was judged is kept whole. */
const TARGET_LIMIT = 8192;
const POLICY_REASONS = 16;

/** The outcome that the evidence shows. Without a positive decision nothing counts as allowed. */
export function outcomeOf(evidence: Evidence): Outcome {
  const denial = evidence.denial;
  if (denial === undefined) {
    if (evidence.decision !== undefined) return 'allowed';
    return evidence.status > 100 && evidence.status < 400 ? 'answered' : 'failed';
  }
  // 499: the caller was gone. From 500 on something of ours or of the upstream failed, whatever the caller did.
  return statusOf(denial.reason) >= 499 ? 'failed' : 'refused';
}

/**
 * What a security team asks of one request, as JSON text: the `custom.sallyport` member of its record. Members without a value are absent.
 * Written member by member: through an object and JSON.stringify it costs more than twice as much.
 */
export function summaryJson(evidence: Evidence): string {
  const { context, token, proof, denial, upstream } = evidence;
  let text = `{"outcome":"${outcomeOf(evidence)}"${numberMember('status', evidence.status)}`;
  if (denial !== undefined) {
    text += `,"reason":"${denial.reason}","stage":"${stageOf(denial.reason)}"`;
    if (denial.note !== undefined) text += textMember('note', redactText(denial.note), TEXT_LIMIT);
  }
  // Where bundles have revisions of their own, this names exactly what they were put together to.
  if (evidence.policyBundles !== undefined) text += textMember('policy_revision', evidence.policyRevision);
  text += policyReasons(denial?.policyReasons ?? evidence.decision?.reasons);
  if (evidence.shadow !== undefined) text += shadowMember(evidence.shadow);
  text += textMember('route', (context?.route ?? evidence.route)?.name);
  text += context === undefined ? rawTarget(evidence) : judgedTarget(context, token !== undefined);
  if (context?.operation) text += operationMember(context.operation);
  if (evidence.httpVersion !== '') text += `,"protocol":"HTTP/${evidence.httpVersion}"`;
  text += textMember('peer', evidence.peerAddress) + textMember('caller_trace_id', evidence.callerTraceId);
  if (token !== undefined) text += tokenMembers(token);
  if (proof !== undefined) text += bindingMember(proof);
  if (context?.credentials.scheme === 'dpop') text += `,"replay":"${context.route.replay}"`;
  if (upstream !== undefined) text += upstreamMember(upstream);
  return `${text}${timingsMember(evidence.timings)}}`;
}

/** What was judged, whole; of who has shown no good token, no more of the query than of a target that was not judged. */
function judgedTarget({ method, host, target: { path, query } }: RequestContext, known: boolean): string {
  let text = textMember('method', method) + textMember('host', host);
  text += textMember('path', redactText(path), TARGET_LIMIT);
  if (query) text += textMember('query', redactQuery(known ? query : firstParameters(query)), TARGET_LIMIT);
  return text;
}

/** Not judged yet, so nothing is taken for granted: it may be anything a socket can carry. */
function rawTarget(evidence: Evidence): string {
  const { method, rawTarget: target } = evidence;
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  let text = textMember('method', method, 32) + textMember('path', redactText(path), RAW_TARGET_LIMIT);
  if (mark >= 0) text += textMember('query', redactQuery(firstParameters(target.slice(mark + 1))), RAW_TARGET_LIMIT);
  return text;
}

/**
 * As many parameters as are kept, whole: looking for credentials in thousands of them would make a stranger's request dear. One that is longer
 * than that stays, since a part of a token does not look like one.
 */
function firstParameters(query: string): string {
  if (query.length <= RAW_TARGET_LIMIT) return query;
  const end = query.lastIndexOf('&', RAW_TARGET_LIMIT);
  if (end <= 0) return query;
  const next = query.indexOf('&', end + 1);
  return next < 0 ? query : query.slice(0, next);
}

function operationMember(operation: Operation): string {
  const { service, name, resource, access } = operation;
  return (
    `,"operation":{"service":${quoted(service)},"name":${quoted(name)}` +
    `,"resource":${quoted(redactText(resource), TARGET_LIMIT)},"access":"${access}"}`
  );
}

/** Texts of tokens that were recorded lately: a job uses its token again and again, and the same object stands for it (token cache). */
const tokenTexts = new Map<VerifiedToken, string>();
const TOKEN_TEXTS_LIMIT = 1000;

function tokenMembers(token: VerifiedToken): string {
  let text = tokenTexts.get(token);
  if (text === undefined) {
    text = describeToken(token);
    if (tokenTexts.size >= TOKEN_TEXTS_LIMIT) tokenTexts.clear();
    tokenTexts.set(token, text);
  }
  return text;
}

function describeToken(token: VerifiedToken): string {
  // 16 characters of the digest are enough to find the same token again, and are not what `ath` must equal.
  return (
    textMember('client', token.clientId) +
    textMember('subject', token.subject) +
    (token.job === null ? '' : jobMember(token.job)) +
    `,"token":{"kind":"${token.kind}","issuer":${quoted(token.issuer)},"jti":${quoted(token.jti)}` +
    `,"digest":${quoted(token.digest.slice(0, 16))}${numberMember('expires_at', token.expiresAt)}}`
  );
}

function jobMember(job: Job): string {
  const members =
    textMember('provider', job.provider) +
    textMember('repository', job.repository) +
    textMember('repository_id', job.repository_id) +
    textMember('workflow', job.workflow) +
    textMember('ref', job.ref) +
    textMember('environment', job.environment) +
    textMember('run_id', job.run_id) +
    textMember('actor', job.actor);
  return `,"job":{${members.slice(1)}}`;
}

function bindingMember(proof: VerifiedProof): string {
  let text = `,"binding":{"method":"${proof.method}"${textMember('thumbprint', proof.thumbprint)}`;
  if (proof.certificate !== null) text += textMember('certificate', proof.certificate);
  if (proof.jti !== null) text += textMember('jti_sha256', hash('sha256', proof.jti, 'base64url'));
  if (proof.issuedAt !== null) text += numberMember('issued_at', proof.issuedAt);
  return `${text}}`;
}

function upstreamMember(upstream: UpstreamEvidence): string {
  const sizes =
    numberMember('request_bytes', upstream.requestBytes) + numberMember('response_bytes', upstream.responseBytes);
  return `,"upstream":{"complete":${upstream.complete}${numberMember('status', upstream.status)}${sizes}}`;
}

function policyReasons(reasons: readonly PolicyReason[] | undefined): string {
  if (reasons === undefined || reasons.length === 0) return '';
  const items = reasons.slice(0, POLICY_REASONS).map(({ code, message }) => {
    const said = message === undefined ? '' : textMember('message', redactText(message), TEXT_LIMIT);
    return `{"code":${quoted(code)}${said}}`;
  });
  return `,"policy_reasons":[${items.join(',')}]`;
}

/** What the candidate policy said; of the same answer no more than that. */
function shadowMember({ revision, difference, candidate, denial, milliseconds }: ShadowEvidence): string {
  let text = `,"shadow":{"revision":${quoted(revision)},"difference":"${difference}"`;
  if (difference !== 'none') {
    text += textMember('candidate', candidate);
    if (denial !== undefined) {
      text += `,"reason":"${denial.reason}"`;
      if (denial.note !== undefined) text += textMember('note', redactText(denial.note), TEXT_LIMIT);
      text += policyReasons(denial.policyReasons);
    }
  }
  return `${text},"timing_us":${microseconds(milliseconds)}}`;
}

/** Whole microseconds: enough to compare, and cheaper to write than fractions. */
function timingsMember(timings: Evidence['timings']): string {
  return (
    `,"timings_us":{"request":${microseconds(timings.request)},"token":${microseconds(timings.token)}` +
    `,"proof":${microseconds(timings.proof)},"policy":${microseconds(timings.policy)}` +
    `,"forward":${microseconds(timings.forward)}}`
  );
}

function microseconds(milliseconds: number): number {
  return milliseconds > 0 && Number.isFinite(milliseconds) ? Math.round(milliseconds * 1000) : 0;
}
