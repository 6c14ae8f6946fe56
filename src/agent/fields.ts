import { connectionNamed, foldFieldName, HOP_BY_HOP } from '../kernel/fields.ts';
import { SECRET_FIELD } from './access.ts';
import type { OutgoingBody } from './body.ts';

/** Request fields that the agent writes itself, so the tool's are left out; folded. */
const WRITTEN_HERE: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'expect',
  // The tool's own credentials are placeholders: an AWS signature, a token of a kubeconfig. The gateway wants those of the job.
  'authorization',
  'dpop',
  SECRET_FIELD,
]);

/** Answer fields that end at the agent, lower case. */
const ENDS_HERE: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  // RFC 9449 §8.2: for the next proof, which the tool does not make.
  'dpop-nonce',
  // RFC 7838 §2: would send the tool around the agent.
  'alt-svc',
]);

/** What one attempt adds to the fields of the tool. */
export interface Credentials {
  readonly accessToken: string;
  readonly proof: string;
}

/** The header fields of a request to the gateway, names and values in turn: the tool's, in order and spelling, less what ends here; then ours. */
export function requestFields(
  rawHeaders: readonly string[],
  host: string,
  body: OutgoingBody,
  credentials: Credentials,
): string[] {
  const fields = ['Host', host, ...passedOn(rawHeaders)];
  fields.push('Authorization', `DPoP ${credentials.accessToken}`, 'DPoP', credentials.proof);
  if (body.length !== null) fields.push('Content-Length', String(body.length));
  else if (body.kind === 'streamed') fields.push('Transfer-Encoding', 'chunked');
  // RFC 9110 §10.1.1: what streams can be sent only once, so the gateway says first whether it wants it.
  if (body.kind === 'streamed') fields.push('Expect', '100-continue');
  return fields;
}

/** The fields of a request that asks to switch to WebSocket (RFC 6455 §4.1). */
export function upgradeFields(rawHeaders: readonly string[], host: string, credentials: Credentials): string[] {
  const fields = ['Host', host, ...passedOn(rawHeaders), 'Connection', 'Upgrade', 'Upgrade', 'websocket'];
  fields.push('Authorization', `DPoP ${credentials.accessToken}`, 'DPoP', credentials.proof);
  return fields;
}

/** The fields of a request that is none of the agent's business: only what concerns one connection ends here (RFC 9110 §7.6.1). */
export function relayedFields(rawHeaders: readonly string[], host: string, body: OutgoingBody): string[] {
  const fields = ['Host', host, ...less(rawHeaders, (name) => HOP_BY_HOP.has(name) || NOT_RELAYED.has(name))];
  if (body.length !== null) fields.push('Content-Length', String(body.length));
  else if (body.kind === 'streamed') fields.push('Transfer-Encoding', 'chunked');
  return fields;
}

/** Written here, or of the agent alone. */
const NOT_RELAYED: ReadonlySet<string> = new Set(['host', 'content-length', 'expect', SECRET_FIELD]);

/**
 * The header fields of an answer as the tool gets them. `rewrite` turns an absolute URL of the API into the local one, for redirects and
 * created resources; null where the tool uses the API's own URLs.
 */
export function answerFields(
  rawHeaders: readonly string[],
  status: number,
  rewrite: ((url: string) => string) | null,
): string[] {
  const named = connectionNamed(rawHeaders);
  const fields: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const lower = name.toLowerCase();
    const value = rawHeaders[i + 1] as string;
    if (ENDS_HERE.has(lower) || (named?.has(lower) && lower !== 'content-length')) continue;
    // RFC 9110 §8.6: 204 carries no Content-Length.
    if (status === 204 && lower === 'content-length') continue;
    const isPlace = rewrite !== null && (lower === 'location' || lower === 'content-location');
    fields.push(name, isPlace ? rewrite(value) : value);
  }
  return fields;
}

function passedOn(rawHeaders: readonly string[]): string[] {
  return less(rawHeaders, (name) => HOP_BY_HOP.has(name) || WRITTEN_HERE.has(name));
}

function less(rawHeaders: readonly string[], ends: (folded: string) => boolean): string[] {
  const named = connectionNamed(rawHeaders);
  const fields: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const folded = foldFieldName(name);
    if (!ends(folded) && !named?.has(folded)) fields.push(name, rawHeaders[i + 1] as string);
  }
  return fields;
}
