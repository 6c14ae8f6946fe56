import { RESOURCE_IDENTIFIER } from '../config/workflows_schema.ts';
import { isJsonObject, parseStrictJson } from '../oauth/strict_json.ts';
import type { Detail } from './details.ts';
import { granted, type Outcome, refuse } from './refusal.ts';

/** What a job asks for. */
export interface TokenAsk {
  /** Null: not said, which asks for whatever the workflow may have. */
  readonly scopes: readonly string[] | null;
  /** Null: not said. */
  readonly details: readonly Detail[] | null;
  /** Empty: not said. */
  readonly resources: readonly string[];
  /** The workflow that the job says it is of; null: the one that matches. */
  readonly workflow: string | null;
  readonly environment: string | null;
}

const MOST = { scopes: 500, resources: 20, items: 50, detailsBytes: 16_384, text: 2048 } as const;
/** Parameters that may come once (RFC 6749 §3.2); `resource` may be repeated (RFC 8707 §2). */
const ONCE = ['grant_type', 'scope', 'authorization_details', 'workflow', 'environment'] as const;
/** What authenticates a client there is the broker's own, never the job's. */
const NOT_HERE = [
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  'assertion',
  'subject_token',
];

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Reads the form of `POST /token`, strictly */
export function readTokenRequest(body: Uint8Array): Outcome<TokenAsk> {
  const form = readForm(body);
  if (form === null) return refuse('form_malformed');
  for (const name of ONCE) {
    if (form.getAll(name).length > 1) return refuse('parameter_repeated', { detail: name });
  }
  for (const name of NOT_HERE) {
    if (form.has(name)) return refuse('parameter_not_taken', { detail: name });
  }
  if ((form.get('grant_type') ?? 'client_credentials') !== 'client_credentials') {
    return refuse('grant_type_other');
  }
  const scopes = readScopes(form.get('scope'));
  if (!scopes.ok) return scopes;
  const details = readDetails(form.get('authorization_details'));
  if (!details.ok) return details;
  const resources = readResources(form.getAll('resource'));
  if (!resources.ok) return resources;
  const [workflow, environment] = [form.get('workflow'), form.get('environment')];
  if ((workflow ?? '').length > MOST.text || (environment ?? '').length > MOST.text) {
    return refuse('parameter_too_long');
  }
  return granted({ scopes: scopes.value, details: details.value, resources: resources.value, workflow, environment });
}

/** Reads a form; null when its bytes, or what they encode, are not UTF-8. */
export function readForm(body: Uint8Array): URLSearchParams | null {
  try {
    const form = new URLSearchParams(decoder.decode(body));
    // What percent-encoding makes of bytes that are no UTF-8.
    for (const [name, value] of form) if (name.includes('\uFFFD') || value.includes('\uFFFD')) return null;
    return form;
  } catch {
    return null;
  }
}

/** RFC 6749 §3.3: tokens parted by one space each. */
function readScopes(text: string | null): Outcome<readonly string[] | null> {
  if (text === null || text === '') return granted(null);
  const scopes = text.split(' ');
  if (scopes.length > MOST.scopes || !scopes.every((scope) => /^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/.test(scope))) {
    return refuse('scope_malformed');
  }
  return granted([...new Set(scopes)]);
}

function readResources(values: readonly string[]): Outcome<readonly string[]> {
  if (values.length > MOST.resources)
    return refuse('resource_malformed', { detail: `at most ${MOST.resources} are taken` });
  for (const value of values) {
    // RFC 8707 §2: an absolute URI without fragment.
    if (value.length > MOST.text || !URL.canParse(value) || value.includes('#') || /\s/.test(value)) {
      return refuse('resource_malformed');
    }
  }
  return granted([...new Set(values)]);
}

/** RFC 9396 §2: an array of objects, each with a type. What a type asks of its members beside that, the authorization server says. */
function readDetails(text: string | null): Outcome<readonly Detail[] | null> {
  if (text === null || text === '') return granted(null);
  const wrong = (why: string) => refuse('details_malformed', { detail: why });
  const json = parseStrictJson(text, { maxBytes: MOST.detailsBytes, maxDepth: 8 });
  if (!json.ok) return wrong(json.problem);
  if (!Array.isArray(json.value)) return wrong('expected a JSON array');
  if (json.value.length > MOST.items) return wrong(`expected at most ${MOST.items} items`);
  for (const item of json.value as readonly unknown[]) {
    if (!isJsonObject(item) || typeof item['type'] !== 'string' || item['type'] === '') {
      return wrong('expected each item to be an object with a type');
    }
    const { identifier } = item;
    if (identifier !== undefined && !(typeof identifier === 'string' && RESOURCE_IDENTIFIER.test(identifier))) {
      return wrong('expected identifier to be a resource such as projects/p1: segments parted by /, none empty, no *');
    }
    for (const name of ['actions', 'locations', 'datatypes', 'privileges']) {
      if (item[name] !== undefined && !isTexts(item[name])) return wrong(`expected ${name} to be an array of texts`);
    }
  }
  return granted(json.value.length === 0 ? null : (json.value as Detail[]));
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === 'string' && text !== '');
}
