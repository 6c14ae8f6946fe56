/** Asks a rule of the policy about an event, as JSON text; null where the policy does not have the rule. Throws when the rule fails. */
export type AskRule = (rule: string, event: string, nowMs: number) => readonly unknown[] | null;

type Json = Record<string, unknown>;

/** One thing to take out of an event, or to put another value in place of. */
interface Masking {
  readonly op: 'remove' | 'upsert';
  readonly segments: readonly string[];
  readonly pointer: string;
  readonly value?: unknown;
}

const DROP = 'system/log/drop';
const MASK = 'system/log/mask';

/**
 * What a control plane gets of a record: nothing where `data.system.log.drop` says so; else without what `data.system.log.mask` names. When
 * one of these rules cannot be asked or gives no sense, the event loses its content, never its existence, and is never sent unmasked.
 * @param line the record, one line of JSON
 */
export function eventForUpload(line: string, ask: AskRule, nowMs: number): string | null {
  try {
    const dropped = ask(DROP, line, nowMs);
    if (dropped !== null && dropped[0] === true) return null;
    const masked = ask(MASK, line, nowMs);
    return masked === null ? line : maskEvent(line, readMaskings(masked[0]));
  } catch {
    return withoutContent(line);
  }
}

function readMaskings(value: unknown): Masking[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error('data.system.log.mask is not a set');
  return value.map((item: unknown) => {
    const { op = 'remove', path, value: put } = (typeof item === 'string' ? { path: item } : item) as Json;
    if ((op !== 'remove' && op !== 'upsert') || typeof path !== 'string' || !/^\/(input|result)(\/|$)/.test(path)) {
      throw new Error('data.system.log.mask has an item that is no pointer below /input or /result');
    }
    const segments = path
      .slice(1)
      .split('/')
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    return { op, segments, pointer: path, value: put };
  });
}

function maskEvent(line: string, maskings: readonly Masking[]): string {
  if (maskings.length === 0) return line;
  const event = JSON.parse(line) as Json;
  const erased = textsOf(event['erased']);
  const masked = textsOf(event['masked']);
  for (const masking of maskings) {
    if (apply(event, masking)) (masking.op === 'remove' ? erased : masked).push(masking.pointer);
  }
  const lists = { ...(erased.length > 0 && { erased }), ...(masked.length > 0 && { masked }) };
  return JSON.stringify({ ...event, ...lists });
}

/** @returns whether there was something */
function apply(event: Json, { op, segments, value }: Masking): boolean {
  let node: unknown = event;
  for (const name of segments.slice(0, -1)) node = memberOf(node, name);
  const name = segments.at(-1) ?? '';
  if (typeof node !== 'object' || node === null) return false;
  if (op === 'remove' && memberOf(node, name) === undefined) return false;
  const holder = node as Json;
  if (op === 'upsert') {
    Object.defineProperty(holder, name, { value: value ?? null, enumerable: true, configurable: true, writable: true });
  } else if (Array.isArray(node)) node.splice(Number(name), 1);
  else delete holder[name];
  return true;
}

function memberOf(node: unknown, name: string): unknown {
  if (typeof node !== 'object' || node === null || !Object.hasOwn(node, name)) return undefined;
  return (node as Json)[name];
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

const KEPT = ['labels', 'decision_id', 'trace_id', 'bundles', 'path', 'requested_by', 'timestamp', 'req_id', 'metrics'];

/** What is left of an event whose rules cannot be followed: that it happened, and that no more can be said. */
function withoutContent(line: string): string {
  const event = JSON.parse(line) as Json;
  const kept = KEPT.filter((name) => event[name] !== undefined).map((name) => [name, event[name]] as const);
  // Not the words of the failure, which may hold what was to be masked.
  const error = { code: 'mask_failed' };
  return JSON.stringify({ ...Object.fromEntries(kept), erased: ['/input', '/result', '/custom'], error });
}
