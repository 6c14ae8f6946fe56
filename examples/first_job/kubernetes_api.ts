import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** An object of the cluster. */
interface KubernetesObject {
  readonly metadata?: { readonly name?: string; readonly [member: string]: unknown };
  readonly [member: string]: unknown;
}

/** An answer of the API. */
interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const KINDS: Readonly<Record<string, string>> = { pods: 'Pod', configmaps: 'ConfigMap', secrets: 'Secret' };
const OBJECTS = /^\/api\/v1\/namespaces\/([a-z0-9-]+)\/(pods|configmaps|secrets)(?:\/([a-z0-9.-]+))?$/;
const MAXIMUM_BODY = 1_048_576;

/**
 * A small Kubernetes API server: discovery, and pods, config maps and secrets of namespaces, in memory. One pod runs in the namespace
 * `shop`. It takes calls with one credential only, that of the gateway.
 */
export function createKubernetesApi(credential: string): Server {
  const objects = new Map<string, KubernetesObject>();
  put(objects, ['shop', 'pods'], { metadata: { name: 'web-1' }, spec: { containers: [{ name: 'web' }] } });
  return createServer((request, response) => {
    answer(objects, credential, request).then(
      ({ status, body }) => send(response, status, body),
      () => response.destroy(),
    );
  });
}

async function answer(
  objects: Map<string, KubernetesObject>,
  credential: string,
  request: IncomingMessage,
): Promise<Answer> {
  const body = await read(request);
  if (request.headers.authorization !== credential)
    return failure(401, 'Unauthorized', 'no credential of this cluster');
  const { method = '', url = '' } = request;
  const [path = ''] = url.split('?', 1);
  const known = DISCOVERY[path];
  if (known !== undefined && method === 'GET') return { status: 200, body: known };
  const [, namespace = '', resource = '', name] = OBJECTS.exec(path) ?? [];
  const kind = KINDS[resource];
  if (kind === undefined) return failure(404, 'NotFound', 'there is no such thing here');
  if (method === 'GET' && name === undefined) return list(objects, namespace, resource);
  if (method === 'GET') return found(objects.get(`${namespace}/${resource}/${name}`));
  if (method !== 'POST' || name !== undefined) return failure(405, 'MethodNotAllowed', 'only get, list and create');
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? 'application/json'))
    return failure(415, 'UnsupportedMediaType', 'only JSON is understood here');
  const made = JSON.parse(body) as KubernetesObject;
  if (objects.has(`${namespace}/${resource}/${made.metadata?.name}`))
    return failure(409, 'AlreadyExists', 'it is there already');
  return { status: 201, body: put(objects, [namespace, resource], made) };
}

function put(
  objects: Map<string, KubernetesObject>,
  [namespace, resource]: readonly [string, string],
  object: KubernetesObject,
): KubernetesObject {
  const name = object.metadata?.name ?? randomUUID();
  const about = {
    name,
    namespace,
    uid: randomUUID(),
    creationTimestamp: new Date().toISOString(),
    resourceVersion: '1',
  };
  const whole = { kind: KINDS[resource], apiVersion: 'v1', ...object, metadata: { ...object.metadata, ...about } };
  objects.set(`${namespace}/${resource}/${name}`, whole);
  return whole;
}

function list(objects: Map<string, KubernetesObject>, namespace: string, resource: string): Answer {
  const items = [...objects].filter(([key]) => key.startsWith(`${namespace}/${resource}/`)).map(([, object]) => object);
  const metadata = { resourceVersion: '1' };
  return { status: 200, body: { kind: `${KINDS[resource]}List`, apiVersion: 'v1', metadata, items } };
}

function found(object: KubernetesObject | undefined): Answer {
  return object === undefined ? failure(404, 'NotFound', 'there is no such object') : { status: 200, body: object };
}

function failure(code: number, reason: string, message: string): Answer {
  return { status: code, body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, message, code } };
}

const VERBS = ['create', 'get', 'list'];
/** What clients such as kubectl read before their first call. */
const DISCOVERY: Readonly<Record<string, unknown>> = {
  '/version': { major: '1', minor: '32', gitVersion: 'v1.32.0' },
  '/api': { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] },
  '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [] },
  '/api/v1': {
    kind: 'APIResourceList',
    groupVersion: 'v1',
    resources: Object.entries(KINDS).map(([name, kind]) => {
      return { name, singularName: kind.toLowerCase(), namespaced: true, kind, verbs: VERBS };
    }),
  },
};

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAXIMUM_BODY) throw new Error('too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
