import { z } from 'zod';
import { type RequestHeadersConfig, requestHeaders } from './request_headers.ts';
import { readYamlFile } from './yaml_file.ts';

/** One segment of a template: text that must be equal, or a name that takes the text of one segment that is not empty. */
export type TemplateSegment = { readonly literal: string } | { readonly param: string };

/** What a query parameter or header field must be: this text, there once with any text (true), or not there (false). */
export type Demand = string | boolean;

/** What tells operations of one method and path apart: the query and header fields. */
export interface CatalogueCondition {
  readonly query: readonly (readonly [name: string, demand: Demand])[];
  /** Parameters that may be there beside those of `query`; null: any. */
  readonly parameters: readonly string[] | null;
  /** Lower-case names. */
  readonly headers: readonly (readonly [name: string, demand: Demand])[];
}

/** One entry of an operation catalogue, its templates taken apart. */
export interface CatalogueOperation {
  readonly service: string;
  readonly name: string;
  /** Upper case. */
  readonly method: string;
  /** The path after its first `/`, by segment; a trailing slash is a last literal that is empty. */
  readonly path: readonly TemplateSegment[];
  /** Null where method and path say it all. */
  readonly condition: CatalogueCondition | null;
  /** By segment; every param in it is one of the path. */
  readonly resource: readonly TemplateSegment[];
  readonly access: 'read' | 'write' | 'admin';
  readonly scopes: readonly string[];
  /** The authorization_details type that the starter policy asks for, or null. */
  readonly authorizationDetailsType: string | null;
}

/** What the requests of one route mean to the cloud API. No two operations have the same method, shape of path and conditions. */
export interface Catalogue {
  /** Fields of callers that are not for the service. */
  readonly requestHeaders: RequestHeadersConfig;
  readonly operations: readonly CatalogueOperation[];
}

const REQUEST = /^([A-Z]+) \/(\S*)$/;
const PARAM = /^\{([a-z][a-z0-9_]{0,62})\}$/;
/** RFC 3986 §3.3 pchar without percent-encoding: templates are compared with decoded segments. */
const LITERAL = /^[A-Za-z0-9\-._~!$&'()*+,;=:@]+$/;
const MAXIMUM_SEGMENTS = 64;
/** Header fields that no operation is told by: they are the gateway's to read, and never shown. */
const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'dpop', 'cookie']);

/** RFC 6749 §3.3 scope-token. */
const scope = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/, 'expected one scope, without spaces');
/** Stands in headers, records and metrics as it is. */
const word = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9._:-]{0,127}$/, 'expected letters, digits, dots, colons, - and _, such as builds.create');

const demand = z.union([z.string().max(1024), z.boolean()]);
const parameter = z.string().min(1).max(256);
/** RFC 9110 §5.6.2 token, in lower case. */
const fieldName = z
  .string()
  .regex(/^[a-z0-9!#$%&'*+.^`|~-]{1,128}$/, 'expected a header name in lower case, with - and not _')
  .refine((name) => !CREDENTIALS.has(name), 'a field that carries a credential means nothing to the cloud API');

const operation = z.strictObject({
  name: word.describe('Names the operation in policies, records and metrics; several requests may be one operation.'),
  request: z
    .string()
    .max(2048)
    .describe('Method and path template, such as POST /v1/projects/{project}/builds; {name} is one segment.'),
  query: z
    .record(parameter, demand)
    .optional()
    .describe(
      'Query parameters that tell it apart: a text (exactly that, once), true (there once), false (not there).',
    ),
  parameters: z
    .array(parameter)
    .max(256)
    .optional()
    .describe('Query parameters that may be there too; with any other it is not this operation. Absent: any may be.'),
  headers: z
    .record(fieldName, demand)
    .optional()
    .describe('Header fields that tell it apart, such as x-amz-target: a text, true (there once), false (not there).'),
  resource: z
    .string()
    .max(2048)
    .describe('What the operation acts on, such as projects/{project}/builds, with the names of the request.'),
  access: z.enum(['read', 'write', 'admin']).describe('What kind of access the operation is.'),
  scopes: z.array(scope).max(64).default([]).describe('Scopes the starter policy asks for, all of them.'),
  authorization_details: z
    .strictObject({ type: z.string().min(1).max(256).describe('Type of the item that must cover the operation.') })
    .optional()
    .describe('Absent: the starter policy asks for no authorization_details.'),
});

/** The operation catalogue of one route: data that turns a request into service, operation and resource. */
export const catalogueSchema = z
  .strictObject({
    service: word.describe('The cloud service that the operations belong to.'),
    request_headers: requestHeaders
      .prefault({})
      .describe('Fields of callers that are not for this service, on every route that uses the catalogue.'),
    operations: z.array(operation).min(1).max(100_000).describe('The operations; at most one describes a request.'),
  })
  .superRefine((catalogue, context) => {
    const shapes = new Map<string, number>();
    catalogue.operations.forEach((entry, index) => {
      const issue = (key: string, message: string) =>
        context.addIssue({ code: 'custom', path: ['operations', index, key], message });
      const path = problemsOfRequest(entry.request, (message) => issue('request', message));
      if (path === null) return;
      const known = new Set(paramsOf(path));
      problemsOfResource(entry.resource, known, (message) => issue('resource', message));
      const shape = shapeOf(entry, path);
      const earlier = shapes.get(shape);
      if (earlier === undefined) shapes.set(shape, index);
      else
        issue(
          'request',
          `operations[${earlier}] has the same method, path and conditions, so neither would ever be known`,
        );
    });
  });

/** The file as it is written. */
type CatalogueFile = z.output<typeof catalogueSchema>;

/**
 * Reads and validates an operation catalogue.
 * @throws ConfigError which names every problem with file, line and entry
 */
export function loadCatalogue(file: string): Catalogue {
  return toCatalogue(readYamlFile(file, catalogueSchema));
}

/** Makes a catalogue from a value, such as one built by a program. @throws ZodError */
export function parseCatalogue(value: unknown): Catalogue {
  return toCatalogue(catalogueSchema.parse(value));
}

function toCatalogue(file: CatalogueFile): Catalogue {
  const operations = file.operations.map((entry): CatalogueOperation => {
    const [, method = '', path = ''] = REQUEST.exec(entry.request) ?? [];
    return {
      service: file.service,
      name: entry.name,
      method,
      path: path.split('/').map(toSegment),
      condition: conditionOf(entry),
      resource: entry.resource.split('/').map(toSegment),
      access: entry.access,
      scopes: entry.scopes,
      authorizationDetailsType: entry.authorization_details?.type ?? null,
    };
  });
  return { operations, requestHeaders: file.request_headers };
}

function conditionOf({ query, parameters, headers }: CatalogueFile['operations'][number]): CatalogueCondition | null {
  if (query === undefined && parameters === undefined && headers === undefined) return null;
  return {
    query: Object.entries(query ?? {}),
    parameters: parameters ?? null,
    headers: Object.entries(headers ?? {}),
  };
}

function toSegment(text: string): TemplateSegment {
  const param = PARAM.exec(text)?.[1];
  return param === undefined ? { literal: text } : { param };
}

type Tell = (message: string) => void;

/** The segments of a request template; null, and told, when it is not one. */
function problemsOfRequest(request: string, tell: Tell): TemplateSegment[] | null {
  const [, method, path] = REQUEST.exec(request) ?? [];
  if (method === undefined || path === undefined) {
    tell('expected a method in upper case, one space and a path, such as GET /v1/projects/{project}');
    return null;
  }
  if (method === 'CONNECT' || method === 'TRACE') {
    tell(`${method} is never forwarded`);
    return null;
  }
  const texts = path.split('/');
  const segments = readSegments(texts.at(-1) === '' ? texts.slice(0, -1) : texts, tell);
  if (segments === null) return null;
  const params = paramsOf(segments);
  const twice = params.find((name, index) => params.indexOf(name) !== index);
  if (twice !== undefined) {
    tell(`{${twice}} stands twice; each name may stand once`);
    return null;
  }
  return texts.at(-1) === '' ? [...segments, { literal: '' }] : segments;
}

function problemsOfResource(resource: string, known: ReadonlySet<string>, tell: Tell): void {
  const segments = readSegments(resource.split('/'), tell);
  const unknown = segments === null ? undefined : paramsOf(segments).find((name) => !known.has(name));
  if (unknown !== undefined) tell(`{${unknown}} is not in the request`);
}

function readSegments(texts: readonly string[], tell: Tell): TemplateSegment[] | null {
  if (texts.length > MAXIMUM_SEGMENTS) {
    tell(`has more than ${MAXIMUM_SEGMENTS} segments`);
    return null;
  }
  const wrong = texts.find((text) => !PARAM.test(text) && (!LITERAL.test(text) || text === '.' || text === '..'));
  if (wrong === undefined) return texts.map(toSegment);
  if (wrong === '') tell('has an empty segment');
  else if (/[{}]/.test(wrong)) tell(`${wrong}: a name in braces is a whole segment, in lower case, such as {project}`);
  else tell(`${wrong}: a segment is written as it reads once decoded, with letters, digits and -._~!$&'()*+,;=:@`);
  return null;
}

function paramsOf(segments: readonly TemplateSegment[]): string[] {
  return segments.flatMap((segment) => ('param' in segment ? [segment.param] : []));
}

/** Equal for two entries that match the same calls: names of params do not count. */
function shapeOf(entry: CatalogueFile['operations'][number], path: readonly TemplateSegment[]): string {
  const method = entry.request.slice(0, entry.request.indexOf(' '));
  const condition = conditionOf(entry);
  const said = condition && [
    [...condition.query].sort(),
    [...(condition.parameters ?? ['*'])].sort(),
    [...condition.headers].sort(),
  ];
  const shape = path.map((segment) => ('param' in segment ? '{}' : segment.literal)).join('/');
  return `${method} /${shape} ${JSON.stringify(said)}`;
}
