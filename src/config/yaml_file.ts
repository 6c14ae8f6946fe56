import { readFileSync, statSync } from 'node:fs';
import { type Document, isScalar, LineCounter, parseDocument, type Scalar, visit } from 'yaml';
import { z } from 'zod';
import { ConfigError, type ConfigProblem, keyOf, nearest } from './problems.ts';

/** Bytes that a configuration file may have. */
const MAXIMUM_BYTES = 16_777_216;

/** What a file is read with. */
export interface YamlFileOptions {
  /** Where `${NAME}` is looked up. Absent: the text is taken as it stands. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads a YAML (or JSON) file against a strict schema. Every problem is reported at once, with line, column and key.
 * @throws ConfigError
 */
export function readYamlFile<Schema extends z.ZodType>(
  file: string,
  schema: Schema,
  options: YamlFileOptions = {},
): z.output<Schema> {
  const lines = new LineCounter();
  const document = parse(file, readText(file), lines);
  const locate = locator(file, document, lines);
  const shape = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  if (options.environment !== undefined) substitute(document, { environment: options.environment, shape, locate });
  const result = schema.safeParse(plainValue(file, document));
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.flatMap((issue) => explain(issue, shape, locate)));
}

/** Where keys stand in a file that was read before; what cannot be found is told of the file. */
export function locatorOf(file: string): Locate {
  try {
    const lines = new LineCounter();
    return locator(file, parse(file, readText(file), lines), lines);
  } catch {
    return (path, message) => ({ file, line: null, column: null, key: keyOf(path), message });
  }
}

/** Makes a problem of what is wrong at a path; `onKey`: it stands at the key and not at its value. */
export type Locate = (path: readonly PropertyKey[], message: string, onKey?: boolean) => ConfigProblem;

function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > MAXIMUM_BYTES) throw new Error(`it has ${size} bytes, and at most ${MAXIMUM_BYTES} are read`);
    return readFileSync(file, 'utf8');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing ? 'there is no such file' : (error as Error).message;
    throw new ConfigError([{ file, line: null, column: null, key: '', message: `cannot be read: ${why}` }]);
  }
}

function parse(file: string, text: string, lines: LineCounter): Document {
  const document = parseDocument(text, { lineCounter: lines, version: '1.2', uniqueKeys: true });
  // One mistake in YAML makes many errors; the first is the one to mend.
  const [error] = document.errors;
  if (error === undefined) return document;
  const position = lines.linePos(error.pos[0]);
  const what = (error.message.split(' at line ')[0] ?? error.message).trim();
  const line = text.split('\n')[position.line - 1] ?? '';
  const hint = /[{[].*\$\{/.test(line) ? `; inside { } or [ ], put \${NAME} in quotes` : '';
  const message = `is not valid YAML: ${what}${hint}`;
  throw new ConfigError([{ file, line: position.line, column: position.col, key: '', message }]);
}

/** The document as a value; aliases that lead nowhere, or to too much, are a problem of the file. */
function plainValue(file: string, document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    const message = `is not valid YAML: ${(error as Error).message.split('\n')[0]}`;
    throw new ConfigError([{ file, line: null, column: null, key: '', message }]);
  }
}

/** Finds the place of a path in the file: of the value, of the key itself, or of the nearest thing around it. */
function locator(file: string, document: Document, lines: LineCounter): Locate {
  return (path, message, onKey = false) => {
    let offset: number | undefined;
    for (let length = path.length; length >= 0 && offset === undefined; length--) {
      const parent = document.getIn(path.slice(0, length - 1), true) as { items?: unknown[] } | undefined;
      const last = path[length - 1];
      const pair = parent?.items?.find(
        (item) => ((item as { key?: Scalar }).key as Scalar | undefined)?.value === last,
      );
      const key = (pair as { key?: Scalar } | undefined)?.key;
      const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined;
      offset = (onKey ? key?.range?.[0] : undefined) ?? node?.range?.[0] ?? key?.range?.[0];
    }
    const position = offset === undefined ? null : lines.linePos(offset);
    return { file, line: position?.line ?? null, column: position?.col ?? null, key: keyOf(path), message };
  };
}

/** What substitution needs to know: the variables, and which type each place in the file expects. */
interface Substitution {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly shape: JsonSchema;
  readonly locate: Locate;
}

/** Puts environment variables in place of `${NAME}`; `$${` stands for `${`. Where the schema expects a number or boolean, the text becomes one. */
function substitute(document: Document, { environment, shape, locate }: Substitution): void {
  const problems: ConfigProblem[] = [];
  visit(document, {
    Scalar(position, node, ancestors) {
      if (position === 'key' || typeof node.value !== 'string' || !node.value.includes('${')) return;
      const path = pathOf(ancestors, node);
      const text = node.value.replace(/\$\$\{|\$\{([^}]*)\}/g, (match, name: string | undefined) => {
        if (name === undefined) return '${';
        const value = environment[name];
        if (value === undefined) {
          problems.push(locate(path, `the environment variable ${JSON.stringify(name)} is not set`));
        }
        return value ?? match;
      });
      const types = schemasAt(shape, path).map((place) => place.type);
      const isNumber = /^-?\d{1,15}$/.test(text) && (types.includes('integer') || types.includes('number'));
      const isBoolean = /^(true|false)$/.test(text) && types.includes('boolean');
      node.value = isNumber || isBoolean ? (JSON.parse(text) as unknown) : text;
    },
  });
  if (problems.length > 0) throw new ConfigError(problems);
}

function pathOf(ancestors: readonly unknown[], node: unknown): PropertyKey[] {
  const path: PropertyKey[] = [];
  ancestors.forEach((ancestor, index) => {
    const child = ancestors[index + 1] ?? node;
    const items = (ancestor as { items?: unknown[] }).items;
    const key = (ancestor as { key?: unknown }).key;
    if (isScalar(key)) path.push(String(key.value));
    else if (items !== undefined && !isPair(child)) path.push(items.indexOf(child));
  });
  return path;
}

function isPair(node: unknown): boolean {
  return typeof node === 'object' && node !== null && 'key' in node;
}

function explain(issue: z.core.$ZodIssue, shape: JsonSchema, locate: Locate): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = [...new Set(schemasAt(shape, issue.path).flatMap((place) => Object.keys(place.properties ?? {})))];
    return issue.keys.map((key) => {
      const close = nearest(key, known);
      const hint = close === null ? `expected one of ${known.join(', ')}` : `did you mean ${close}?`;
      return locate([...issue.path, key], `is not a known key; ${hint}`, true);
    });
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const alternatives = new Set(issue.errors.flat().map((inner) => wordsOf(inner)));
    return [locate(issue.path, [...alternatives].join(', or ') || issue.message)];
  }
  return [locate(issue.path, wordsOf(issue))];
}

function wordsOf(issue: z.core.$ZodIssue): string {
  const missing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return missing ? `is missing; expected ${issue.expected}` : issue.message.replace(/^Invalid input: /, '');
}

/** The part of JSON Schema that is looked at here. */
interface JsonSchema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** The schemas that apply at a path, through every alternative. */
function schemasAt(shape: JsonSchema, path: readonly PropertyKey[]): JsonSchema[] {
  const open = (node: JsonSchema): JsonSchema[] => [
    node,
    ...[...(node.anyOf ?? []), ...(node.oneOf ?? [])].flatMap(open),
  ];
  let level = open(shape);
  for (const part of path) {
    level = level.flatMap((node) => {
      const next = typeof part === 'number' ? node.items : node.properties?.[String(part)];
      return next === undefined ? [] : open(next);
    });
  }
  return level;
}
