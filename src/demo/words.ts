import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import type { JobAnswer } from './job.ts';

/** Where a story is written, line by line. */
export interface Output {
  /** Takes one line without its end. */
  line(text: string): void;
  /** Whether colours are wanted: on a terminal only. */
  readonly colour: boolean;
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

/** Text in a style, where colours are wanted. */
export function styled(output: Output, style: keyof typeof STYLES, text: string): string {
  return output.colour && text.trim() !== '' ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text;
}

/** Text from elsewhere on one line, without anything a terminal would obey. */
export function printable(text: string, limit = 400): string {
  const clean = text.replace(/[\s\p{C}]+/gu, ' ').trim();
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean;
}

/** Enough of a token or proof to tell it from another, and too little to use it. */
export function shortened(secret: string): string {
  return `${secret.slice(0, 6)}…${secret.slice(-4)}`;
}

/** Items of authorization_details as people read them. */
export function detailsText(details: readonly unknown[]): string {
  return details
    .filter(isJsonObject)
    .map(({ type, actions, identifier }) => `${texts(actions).join(', ')} on ${String(identifier)} (${String(type)})`)
    .join('; ');
}

/** A refusal of the gateway in sentences: what, why, what would do, and by which id the decision is found again. */
export function explainRefusal(problem: JsonObject): string[] {
  const lines = [`${String(problem['title'])} (${String(problem['reason'])}).`];
  const reasons = Array.isArray(problem['policy_reasons']) ? problem['policy_reasons'].filter(isJsonObject) : [];
  for (const { message } of reasons) if (typeof message === 'string') lines.push(message);
  const required = isJsonObject(problem['required']) ? problem['required'] : {};
  const needs = [];
  if (texts(required['scopes']).length > 0) needs.push(`scope ${texts(required['scopes']).join(' ')}`);
  const details = required['authorization_details'];
  if (Array.isArray(details) && details.length > 0) needs.push(detailsText(details));
  if (needs.length > 0) lines.push(`What would do: ${needs.join(', and ')}.`);
  else if (typeof problem['detail'] === 'string') lines.push(problem['detail']);
  for (const name of ['expected', 'seen']) {
    if (isJsonObject(problem[name])) lines.push(`${name}: ${JSON.stringify(problem[name])}`);
  }
  lines.push(`Decision ${String(problem['decision_id'])}.`);
  return lines.map((line) => printable(line, 1000));
}

/** Status line of an answer, and its content where that is not a refusal to be explained. */
export function answerText(answer: JobAnswer): string {
  const content = answer.problem === null ? printable(answer.body) : '';
  return `${answer.status} ${printable(answer.statusText)}  ${content}`.trim();
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
