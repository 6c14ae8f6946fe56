import { readFileSync, statSync } from 'node:fs';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { AuthorizationDetail } from '../config/authserver_clients.ts';
import { ConfigError } from '../config/problems.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';

/** How a member of the ceiling covers the same member of what is asked; `x-covers` in the schema of the type. */
const COVERS: Readonly<Record<string, (ceiling: unknown, asked: unknown) => boolean>> = {
  equal: (ceiling, asked) => isSame(ceiling, asked),
  subset: (ceiling, asked) =>
    Array.isArray(ceiling) &&
    Array.isArray(asked) &&
    asked.every((item) => ceiling.some((allowed) => isSame(allowed, item))),
  // By segment: projects/p1 covers projects/p1/builds and never projects/p10.
  path: (ceiling, asked) =>
    typeof ceiling === 'string' &&
    typeof asked === 'string' &&
    (asked === ceiling || asked.startsWith(`${ceiling.replace(/\/$/, '')}/`)),
  at_most: (ceiling, asked) => typeof ceiling === 'number' && typeof asked === 'number' && asked <= ceiling,
};

/** A type of authorization_details (RFC 9396 §2), as its JSON Schema declares it. */
export interface DetailType {
  /** What is wrong with an item, in fixed words that name a member of the schema at most; null when nothing is. */
  problemOf(item: JsonObject): string | null;
  /** Whether one item covers the whole of another; parts of two items never add up (RFC 9396 §2: items stand alone). */
  covers(ceiling: JsonObject, asked: JsonObject): boolean;
}

/** The types that can be asked for; their names are the metadata's `authorization_details_types_supported` (RFC 9396 §10). */
export type DetailTypes = ReadonlyMap<string, DetailType>;

/** Bytes that a schema may have. */
const MAX_SCHEMA_BYTES = 262_144;
/** The schemas that come with the product. */
const SHIPPED = new URL('../../catalogs/authorization_details/', import.meta.url);

/** Reads the JSON Schemas of the configured types. @throws ConfigError that names the file and what is wrong with it */
export function loadDetailTypes(
  configured: readonly { readonly type: string; readonly schema_file?: string | undefined }[],
): DetailTypes {
  return new Map(
    configured.map(({ type, schema_file: file }) => {
      const place = file ?? new URL(`${encodeURIComponent(type)}.schema.json`, SHIPPED).pathname;
      return [type, declareType(type, readSchema(place, file === undefined ? type : null), place)];
    }),
  );
}

/** Makes a type of its schema. @throws ConfigError */
function declareType(type: string, schema: JsonObject, file: string): DetailType {
  const properties = isJsonObject(schema['properties']) ? schema['properties'] : {};
  // An unknown field must be refused (RFC 9396 §5), and a schema that is silent about it would let it through.
  if (schema['additionalProperties'] !== false) throw problem(file, 'expected additionalProperties: false');
  const own = properties['type'];
  if (!isJsonObject(own) || own['const'] !== type) throw problem(file, `expected properties.type.const: ${type}`);
  const validate = compile(schema, file);
  return {
    problemOf: (item) => (validate(item) ? null : wordsOf(validate.errors?.[0], properties)),
    covers: (ceiling, asked) =>
      Object.keys(properties).every((name) => coversMember(properties[name], ceiling[name], asked[name])),
  };
}

/** A member that the ceiling leaves out is not limited; one that is asked for without it asks for everything. */
function coversMember(schema: unknown, ceiling: unknown, asked: unknown): boolean {
  if (ceiling === undefined) return true;
  if (asked === undefined) return false;
  const { 'x-covers': named, type } = isJsonObject(schema) ? schema : {};
  const rule = typeof named === 'string' ? named : type === 'array' ? 'subset' : 'equal';
  return COVERS[rule]?.(ceiling, asked) ?? false;
}

function compile(schema: JsonObject, file: string): ValidateFunction {
  const ajv = new Ajv({ strict: true, strictTypes: false, allErrors: false, ownProperties: true });
  ajv.addKeyword({ keyword: 'x-covers', schemaType: 'string', metaSchema: { enum: Object.keys(COVERS) } });
  ajv.addFormat('absolute-uri', (text: string) => URL.canParse(text) && !text.includes('#'));
  try {
    return ajv.compile(schema);
  } catch (error) {
    throw problem(file, `is not a JSON Schema (draft 7): ${(error as Error).message}`);
  }
}

function readSchema(file: string, shippedType: string | null): JsonObject {
  let bytes: Buffer;
  try {
    if (statSync(file).size > MAX_SCHEMA_BYTES) throw new Error(`it has more than ${MAX_SCHEMA_BYTES} bytes`);
    bytes = readFileSync(file);
  } catch (error) {
    if (shippedType !== null) {
      const message = `no schema of the type ${shippedType} comes with the product: name one with schema_file`;
      throw new ConfigError([{ file, line: null, column: null, key: 'authorization_details_types', message }]);
    }
    throw problem(file, `cannot be read: ${(error as Error).message}`);
  }
  const json = parseJsonObject(bytes, { maxBytes: MAX_SCHEMA_BYTES });
  if (!json.ok) throw problem(file, `expected a JSON Schema: ${json.problem}`);
  return json.value;
}

function problem(file: string, message: string): ConfigError {
  return new ConfigError([{ file, line: null, column: null, key: '', message }]);
}

/** Names the member only where it is one of the schema's. */
function wordsOf(error: ErrorObject | undefined, properties: JsonObject): string {
  if (error?.keyword === 'additionalProperties' && error.instancePath === '')
    return 'has a field that its type does not have';
  if (error?.keyword === 'required') return `has an invalid or missing ${String(error.params['missingProperty'])}`;
  const member = error?.instancePath.split('/')[1] ?? '';
  return Object.hasOwn(properties, member) ? `has an invalid or missing ${member}` : 'is not as its type wants it';
}

/** JSON values are the same whatever the order of their members. */
function isSame(one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((item, index) => isSame(item, other[index]));
  if (!isJsonObject(one) || !isJsonObject(other)) return one === other;
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && isSame(one[name], other[name]))
  );
}

/** Checks what clients may have at most. @throws ConfigError that names the place */
export function checkCeiling(types: DetailTypes, details: readonly AuthorizationDetail[], key: string): void {
  for (const [index, item] of details.entries()) {
    const type = types.get(item.type);
    const words =
      type === undefined
        ? `its type ${JSON.stringify(item.type)} is none of authorization_details_types`
        : type.problemOf(item);
    if (words === null) continue;
    const place = `${key}[${index}]`;
    throw new ConfigError([{ file: 'authserver', line: null, column: null, key: place, message: words }]);
  }
}
