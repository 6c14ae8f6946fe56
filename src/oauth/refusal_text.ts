import { isJsonObject, type JsonObject } from './strict_json.ts';

/** Text from elsewhere on one line, without anything a terminal would obey. */
export function printable(text: string, limit = 400): string {
  const clean = text.replace(/[\s\p{C}]+/gu, ' ').trim();
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean;
}

/** Items of authorization_details as people read them. */
export function detailsText(details: readonly unknown[]): string {
  return details
    .filter(isJsonObject)
    .map(({ type, actions, identifier }) => `${texts(actions).join(', ')} on ${String(identifier)} (${String(type)})`)
    .join('; ');
}

/** A refusal of the gateway (its problem document, RFC 9457) in sentences: what, why, what would do, and, last, the id of the decision. */
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

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
