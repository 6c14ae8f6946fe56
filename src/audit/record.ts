import type { Evidence } from '../kernel/context.ts';
import { redactJson } from '../telemetry/redact.ts';
import { singleLineJson } from '../telemetry/single_line.ts';
import { numberMember, quoted, textMember } from './json_text.ts';
import { outcomeOf, summaryJson } from './summary.ts';

/** Bytes of a record, its line end included; of a larger one the input, the result and then the details are erased, and `erased` says so. */
export const RECORD_LIMIT_BYTES = 65_536;

/** What is the same in every record of a process, as JSON text. */
export interface RecordFrame {
  readonly labels: string;
  readonly path: string;
  readonly bundle: string;
}

/** What the records of a process carry: labels, the entrypoint that is asked (such as `sallyport/decision`), and the policy's name. */
export interface RecordOrigin {
  readonly labels: Readonly<Record<string, string>>;
  readonly entrypoint: string;
  readonly bundle: string;
}

/** Prepares the part that every record shares. */
export function recordFrame(origin: RecordOrigin): RecordFrame {
  return {
    labels: singleLineJson(JSON.stringify(origin.labels)),
    path: quoted(origin.entrypoint),
    bundle: quoted(origin.bundle),
  };
}

/** When the record is made: its number in this process, counted from 1, and the time in milliseconds since the Unix epoch. */
export interface RecordMoment {
  readonly number: number;
  readonly finishedAt: number;
}

/**
 * The record of one request: an event of OPA's decision log as one line of JSON, line end included; what the gateway adds to such an event
 * is in `custom.sallyport`. Whatever stands in the evidence, the line is valid JSON, at most RECORD_LIMIT_BYTES long, and carries no token,
 * proof or cookie.
 */
export function recordLine(evidence: Evidence, frame: RecordFrame, moment: RecordMoment): string {
  const parts = policyParts(evidence);
  const custom = summaryJson(evidence);
  let line = compose(evidence, { frame, moment, parts, custom });
  if (fits(line)) return line;
  for (const part of ['input', 'result'] as const) {
    erase(parts, part);
    line = compose(evidence, { frame, moment, parts, custom });
    if (fits(line)) return line;
  }
  return leastLine(evidence, frame, moment);
}

/** The record of a request of which no more can be said: who is not told, only what became of it. */
export function leastLine(evidence: Evidence, frame: RecordFrame, moment: RecordMoment): string {
  const reason = evidence.denial === undefined ? '' : `,"reason":"${evidence.denial.reason}"`;
  const custom = `{"outcome":"${outcomeOf(evidence)}"${numberMember('status', evidence.status)}${reason}}`;
  return (
    `{"labels":${frame.labels},"decision_id":${quoted(evidence.id)},"path":${frame.path}` +
    `,"erased":["/input","/result","/custom/sallyport"],"requested_by":${quoted(evidence.peerAddress)}` +
    `,"timestamp":"${timestamp(evidence.receivedAt)}","req_id":${moment.number},"custom":{"sallyport":${custom}}}\n`
  );
}

/** Refusals that could not be kept one by one. Times are milliseconds since the Unix epoch. */
export interface Summarized {
  readonly id: string;
  readonly count: number;
  readonly first: number;
  readonly last: number;
}

/** One record for all requests that were refused with gateway.record_unavailable while there was no room for records of their own. */
export function summaryLine(refused: Summarized, frame: RecordFrame, moment: RecordMoment): string {
  const { id, count, first, last } = refused;
  const between = `"count":${count},"first":"${timestamp(first)}","last":"${timestamp(last)}"`;
  const custom = `{"outcome":"failed","reason":"gateway.record_unavailable","stage":"gateway",${between}}`;
  return (
    `{"labels":${frame.labels},"decision_id":${quoted(id)},"path":${frame.path},"timestamp":"${timestamp(first)}"` +
    `,"req_id":${moment.number},"custom":{"sallyport":${custom}}}\n`
  );
}

/** JSON text of the members that may have to go (empty text: absent), and pointers to what went. */
interface PolicyParts {
  input: string;
  result: string;
  erased: string[];
  masked: string[];
}

function policyParts(evidence: Evidence): PolicyParts {
  const parts: PolicyParts = { input: '', result: '', erased: [], masked: [] };
  if (evidence.policyInput !== undefined) put(parts, 'input', evidence.policyInput);
  if (evidence.policyResult === undefined) return parts;
  try {
    put(parts, 'result', JSON.stringify(evidence.policyResult) ?? 'null');
  } catch {
    // What no JSON can say (cycles, too deep) is no answer of a policy; the reason of the refusal says the rest.
    parts.erased.push('/result');
  }
  return parts;
}

function put(parts: PolicyParts, part: 'input' | 'result', json: string): void {
  try {
    const redacted = redactJson(json);
    parts[part] = singleLineJson(redacted.json);
    for (const pointer of redacted.masked) parts.masked.push(`/${part}${pointer}`);
  } catch {
    // What looks like holding a credential and cannot be looked into is never written as it is.
    parts.erased.push(`/${part}`);
  }
}

function erase(parts: PolicyParts, part: 'input' | 'result'): void {
  if (parts[part] === '') return;
  parts[part] = '';
  parts.masked = parts.masked.filter((pointer) => !pointer.startsWith(`/${part}`));
  parts.erased.push(`/${part}`);
}

interface Pieces {
  readonly frame: RecordFrame;
  readonly moment: RecordMoment;
  readonly parts: PolicyParts;
  readonly custom: string;
}

/** The members of the event, in the order of OPA's documentation; what is JSON text already is put in as it is. */
function compose(evidence: Evidence, { frame, moment, parts, custom }: Pieces): string {
  const revision = evidence.policyRevision ?? evidence.decision?.revision;
  let line = `{"labels":${frame.labels},"decision_id":${quoted(evidence.id)}${textMember('trace_id', evidence.traceId)}`;
  if (evidence.policyBundles !== undefined) line += `,"bundles":${evidence.policyBundles}`;
  else if (revision !== undefined) line += `,"bundles":{${frame.bundle}:{"revision":${quoted(revision)}}}`;
  line += `,"path":${frame.path}`;
  if (parts.input !== '') line += `,"input":${parts.input}`;
  if (parts.result !== '') line += `,"result":${parts.result}`;
  if (parts.erased.length > 0) line += `,"erased":${JSON.stringify(parts.erased)}`;
  if (parts.masked.length > 0) line += `,"masked":${singleLineJson(JSON.stringify(parts.masked))}`;
  line += `${policyFailure(evidence)},"requested_by":${quoted(evidence.peerAddress)}`;
  line += `,"timestamp":"${timestamp(evidence.receivedAt)}","req_id":${moment.number}`;
  return `${line},"metrics":${metrics(evidence, moment.finishedAt)},"custom":{"sallyport":${custom}}}\n`;
}

/** OPA's `error`: the policy was asked and gave no usable answer. */
function policyFailure(evidence: Evidence): string {
  switch (evidence.denial?.reason) {
    case 'policy.failed':
    case 'policy.undefined':
    case 'policy.malformed':
    case 'policy.unknown_obligation':
    case 'policy.input_too_large':
      return `,"error":{"code":"${evidence.denial.reason}"}`;
    default:
      return '';
  }
}

/** Nanoseconds, under the names that OPA uses for the whole request and for the evaluation. */
function metrics(evidence: Evidence, finishedAt: number): string {
  const whole = nanoseconds(finishedAt - evidence.receivedAt);
  return `{"timer_rego_query_eval_ns":${nanoseconds(evidence.timings.policy)},"timer_server_handler_ns":${whole}}`;
}

function nanoseconds(milliseconds: number): number {
  return milliseconds > 0 && Number.isFinite(milliseconds) ? Math.round(milliseconds * 1e6) : 0;
}

/** The last time that was written: under load several requests begin in one millisecond. */
let lastTime = { milliseconds: 0, text: '1970-01-01T00:00:00.000Z' };

/** RFC 3339 in UTC. A clock that is not a time at all must not cost the record. */
function timestamp(milliseconds: number): string {
  if (milliseconds !== lastTime.milliseconds) {
    const date = new Date(milliseconds);
    const text = Number.isNaN(date.getTime()) ? '1970-01-01T00:00:00.000Z' : date.toISOString();
    lastTime = { milliseconds, text };
  }
  return lastTime.text;
}

function fits(line: string): boolean {
  // A UTF-16 code unit takes at most three bytes in UTF-8.
  return line.length * 3 <= RECORD_LIMIT_BYTES || Buffer.byteLength(line) <= RECORD_LIMIT_BYTES;
}
