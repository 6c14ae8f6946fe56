import type { Clock } from '../kernel/clock.ts';
import { makeProof } from '../oauth/dpop_proof.ts';
import type { SigningKey } from '../oauth/signing_key.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';
import { type CallTls, call } from './call.ts';

/** Who asks: the holder of the key at the gateway, or the operator at the admin port. */
export type Asker =
  | { readonly gateway: string; readonly key: SigningKey | null; readonly tls?: CallTls | undefined }
  | { readonly admin: string; readonly token: string; readonly tls?: CallTls | undefined };

const DECISION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const BOUNDS = { maxBytes: 1_048_576 };

/**
 * Asks what became of a request.
 * @throws Error that says what to do, when there is no explanation
 */
export async function askDecision(id: string, asker: Asker, clock: Clock): Promise<JsonObject> {
  if (!DECISION_ID.test(id)) throw new Error('expected the decision_id of an answer, a UUID in lower case');
  const { status, body } = await ('admin' in asker ? askOperator(id, asker) : askHolder(id, asker, clock));
  const json = parseJsonObject(body, BOUNDS);
  if (status === 200 && json.ok) return json.value;
  if (status === 404) {
    throw new Error(
      'admin' in asker
        ? 'the gateway does not remember this decision: its record may still be had (sallyport policy explain --record)'
        : 'the gateway remembers no such decision for this key: another key, another gateway, or too long ago',
    );
  }
  const problem = json.ok && isJsonObject(json.value) ? json.value : {};
  const words = problem['title'] ?? problem['error'] ?? body.slice(0, 200);
  throw new Error(`the gateway answered ${status}: ${String(words)}`);
}

async function askHolder(id: string, { gateway, key, tls }: Extract<Asker, { gateway: string }>, clock: Clock) {
  const url = new URL(`/.well-known/sallyport/decisions/${id}`, gateway);
  if (key === null) return call({ url, tls });
  const { privateKey, publicJwk, alg } = key;
  const proof = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url: url.href, clock });
  return call({ url, tls, headers: ['DPoP', proof] });
}

function askOperator(id: string, { admin, token, tls }: Extract<Asker, { admin: string }>) {
  return call({ url: new URL(`/decisions/${id}`, admin), tls, headers: ['Authorization', `Bearer ${token}`] });
}

/** An explanation as people read it, line by line. */
export function explanationLines(explanation: JsonObject): string[] {
  const of = (name: string) => (explanation[name] === undefined ? null : explanation[name]);
  const lines = [
    `${of('method')} ${of('path')}  ${of('status')} ${of('outcome')}  ${of('time')}`,
    ...(of('reason') === null
      ? []
      : [`${of('title')} (${of('reason')}; ${of('specification')}).`, String(of('advice'))]),
  ];
  const shown = new Set(['decision_id', 'method', 'path', 'status', 'outcome', 'time']);
  for (const name of ['reason', 'title', 'specification', 'advice', 'stage']) shown.add(name);
  for (const [name, value] of Object.entries(explanation)) {
    if (shown.has(name)) continue;
    lines.push(`${name.replaceAll('_', ' ')}: ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  }
  return lines.map((line) => line.replace(/\p{C}+/gu, ' '));
}
