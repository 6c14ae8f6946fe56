import { z } from 'zod';
import { agentEditorSchema } from './agent_schema.ts';
import { authServerEditorSchema } from './authserver_schema.ts';
import { brokerEditorSchema } from './broker_schema.ts';
import { ConfigError, nearest } from './problems.ts';
import { editorSchema } from './schema.ts';
import { workflowsEditorSchema } from './workflows_schema.ts';
import { readYamlFile } from './yaml_file.ts';

/** The programs whose configuration can be looked at. */
export const CONFIG_KINDS = ['gateway', 'authserver', 'broker', 'agent'] as const;

/** Whose configuration a file is. */
export type ConfigKind = (typeof CONFIG_KINDS)[number];

/** The JSON Schemas of every file that people write, for editors. */
export const EDITOR_SCHEMAS = {
  gateway: editorSchema,
  authserver: authServerEditorSchema,
  broker: brokerEditorSchema,
  agent: agentEditorSchema,
  workflows: workflowsEditorSchema,
} as const;

/** A file that has a schema. */
export type FileKind = keyof typeof EDITOR_SCHEMAS;

const FILES = Object.keys(EDITOR_SCHEMAS) as FileKind[];
/** Keys of each program that an error names. */
const NAMED_KEYS = 6;

/**
 * Whose configuration a file is: the program that alone knows most of its keys, those below keys that several have included. A misspelt key
 * counts as the nearest known one, and keys of other programs are mistakes as long as they are less than half as many.
 * @throws ConfigError when it cannot be read, is no object, or could be none or several of them: that says what was looked for
 */
export function kindOf(file: string): ConfigKind {
  const value: unknown = readYamlFile(file, z.unknown());
  const problem = (message: string) => new ConfigError([{ file, line: null, column: null, key: '', message }]);
  if (value === null || value === undefined) throw problem(`is empty; ${expected()}`);
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw problem(`holds ${Array.isArray(value) ? 'a list' : `a ${typeof value}`}; ${expected()}`);
  }
  const found = evidenceIn(value as Keys);
  // Where nothing is known exactly, likeness says nothing: a catalogue of operations has a key service.
  const kind = found.some(({ exact }) => exact) ? decide(found) : null;
  if (kind === 'workflows')
    throw problem('is a file of workflows: check the file of the broker that names it (workflows_file)');
  if (kind !== null) return kind;
  const seen = found
    .filter(({ kinds, exact }) => exact && kinds.length === 1)
    .map(({ key, kinds }) => `${key} (${kinds[0]})`);
  const what = seen.length === 0 ? 'no key that one program alone has' : `${seen.join(', ')}: keys of several programs`;
  throw problem(`has ${what}; ${expected()}\nSay which it is with --of, to see what is wrong with it.`);
}

type Keys = Readonly<Record<string, unknown>>;

/** One key of the file, with the files that know it. */
interface Evidence {
  readonly key: string;
  readonly kinds: readonly FileKind[];
  /** Whether the key is one of theirs, and not only like one. */
  readonly exact: boolean;
}

/** Its keys, and below a key that several files have, the keys in there. */
function evidenceIn(value: Keys): Evidence[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    const top = evidenceOf(key, '');
    const below = typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.keys(inner) : [];
    return top.kinds.length < 2 ? [top] : [top, ...below.map((name) => evidenceOf(name, key))];
  });
}

function evidenceOf(name: string, parent: string): Evidence {
  const knowing = (key: string) => FILES.filter((kind) => keysOf(kind, parent).includes(key));
  const exact = knowing(name);
  const close = exact.length > 0 ? null : nearest(name, [...new Set(FILES.flatMap((kind) => keysOf(kind, parent)))]);
  return {
    key: parent === '' ? name : `${parent}.${name}`,
    kinds: close === null ? exact : knowing(close),
    exact: exact.length > 0,
  };
}

function decide(found: readonly Evidence[]): FileKind | null {
  const own = ranked((kind) => found.filter(({ kinds }) => kinds.length === 1 && kinds[0] === kind).length);
  if (own.most > 0) return own.most >= 2 * own.next ? own.kind : null;
  const known = ranked((kind) => found.filter(({ kinds }) => kinds.includes(kind)).length);
  return known.most > known.next ? known.kind : null;
}

/** The file that counts for most, how much, and how much the next one counts for. */
function ranked(count: (kind: FileKind) => number): { kind: FileKind; most: number; next: number } {
  const [first, second] = FILES.map((kind) => ({ kind, count: count(kind) })).sort((a, b) => b.count - a.count);
  return { kind: first?.kind ?? 'gateway', most: first?.count ?? 0, next: second?.count ?? 0 };
}

/** The part of a JSON Schema that is looked at. */
interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
}

const SHAPES = new Map<FileKind, Shape>();

function shapeOf(kind: FileKind): Shape {
  const known = SHAPES.get(kind);
  if (known !== undefined) return known;
  const shape = EDITOR_SCHEMAS[kind]() as Shape;
  SHAPES.set(kind, shape);
  return shape;
}

function keysOf(kind: FileKind, parent: string): readonly string[] {
  const shape = parent === '' ? shapeOf(kind) : shapeOf(kind).properties?.[parent];
  return Object.keys(shape?.properties ?? {});
}

/** What was looked for: keys that one program alone has, those first that its file must have. */
function expected(): string {
  const lines = CONFIG_KINDS.map((kind) => {
    const required = shapeOf(kind).required ?? [];
    const own = keysOf(kind, '').filter((key) =>
      FILES.every((other) => other === kind || !keysOf(other, '').includes(key)),
    );
    const first = [...own].sort((a, b) => Number(required.includes(b)) - Number(required.includes(a)));
    return `  ${kind.padEnd(10)} ${first.slice(0, NAMED_KEYS).join(', ')}`;
  });
  return `expected the configuration of one program, which has some of these keys:\n${lines.join('\n')}`;
}
