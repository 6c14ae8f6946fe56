import { readFile } from 'node:fs/promises';
import { InvalidArgumentError } from 'commander';
import { UsageError } from './usage_error.ts';

/** How a question to a policy is put on the command line. */
export interface QuestionFlags {
  readonly input?: string;
  readonly record?: string;
  readonly decision?: string;
  readonly method?: string;
  readonly path?: string;
  readonly catalogue?: string;
  readonly scope: readonly string[];
  readonly detail: readonly Readonly<Record<string, unknown>>[];
  readonly claim: Readonly<Record<string, unknown>>;
  readonly header: Readonly<Record<string, string>>;
  readonly job?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly origin: string;
  readonly resource?: string;
  readonly time?: number;
}

/** The document to judge, and what a record says of it. */
export interface Question {
  readonly input: unknown;
  readonly recorded?: { readonly result?: unknown; readonly revision?: string; readonly masked: readonly string[] };
}

/**
 * Makes the document of a question: a file, a recorded decision, or a described request.
 * @throws Error that says what is missing
 */
export async function readQuestion(flags: QuestionFlags): Promise<Question> {
  if (flags.input !== undefined) return { input: await readInput(flags.input) };
  if (flags.record !== undefined) {
    if (flags.decision === undefined)
      throw new UsageError('--record needs --decision ID: which of its decisions is meant');
    const { findRecorded } = await import('../insight/recorded.ts');
    const { input, ...recorded } = await findRecorded(flags.record, flags.decision);
    return { input, recorded };
  }
  return { input: await describe(flags) };
}

async function readInput(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as unknown;
  } catch (error) {
    throw new Error(`${file} cannot be read as JSON: ${(error as Error).message}`);
  }
}

async function describe(flags: QuestionFlags): Promise<unknown> {
  const { method, path, catalogue, origin, resource = origin, time = Math.floor(Date.now() / 1000) } = flags;
  if (method === undefined || path === undefined || catalogue === undefined) {
    throw new UsageError(
      'nothing to judge: give --input FILE, or --record FILE --decision ID, or --method, --path and --catalogue',
    );
  }
  const { loadCatalogue } = await import('../config/catalogue.ts');
  const { describeInput } = await import('../insight/described_request.ts');
  const { scope: scopes, detail: details, claim: claims, header: headers, job, body } = flags;
  const described = describeInput({
    method,
    target: path,
    catalogue: loadCatalogue(catalogue),
    scopes,
    details,
    claims,
    headers,
    origin,
    resource,
    time,
    ...(job === undefined ? {} : { job }),
    ...(body === undefined ? {} : { body }),
  });
  if ('input' in described) return described.input;
  throw new Error(`no policy would be asked: ${described.denial.reason}${noteOf(described.denial.note)}`);
}

function noteOf(note: string | undefined): string {
  return note === undefined ? '' : ` (${note})`;
}

/** For `--detail`: one item of authorization_details; may be given several times. */
export function collectDetail(
  text: string,
  before: readonly Readonly<Record<string, unknown>>[],
): readonly Readonly<Record<string, unknown>>[] {
  const value = jsonOf(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError('expected a JSON object, such as {"type":"cloud_api","actions":["builds.create"]}');
  }
  return [...before, value as Readonly<Record<string, unknown>>];
}

/** For `--job` and `--claim`: `name=value`, where the value is JSON or else a text; may be given several times. */
export function collectMember(
  text: string,
  before: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('expected name=value');
  return { ...before, [name]: memberOf(value) };
}

/** For `--header`: `name: value` or `name=value`; may be given several times, a name once. */
export function collectHeader(
  text: string,
  before: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const [, name, value] = /^([A-Za-z0-9!#$%&'*+.^`|~-]+)\s*[:=]\s*(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('expected name=value');
  return { ...before, [name.toLowerCase()]: value };
}

function memberOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** For options that take JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new InvalidArgumentError(`expected JSON: ${(error as Error).message}`);
  }
}

/** For `--time`: seconds since the Unix epoch, or a date such as 2026-11-22T18:00:00Z. */
export function secondsOf(text: string): number {
  const seconds = /^\d+$/.test(text) ? Number(text) : Math.floor(Date.parse(text) / 1000);
  if (Number.isSafeInteger(seconds)) return seconds;
  throw new InvalidArgumentError('expected seconds since 1970, or a date such as 2026-11-22T18:00:00Z');
}
