import { type CloudItem, type CloudStore, COLLECTIONS, type Collection } from './cloud_store.ts';

/** One call of the demo cloud's API. */
export interface CloudCall {
  readonly method: string;
  /** Decoded segments of the path after `/v1`. */
  readonly segments: readonly string[];
  /** The body, when it was a JSON object; text members only. */
  readonly body: CloudItem;
  /** Who asked, as the gateway says. */
  readonly caller: string;
}

/** Status and body of an answer; null: no body. */
export interface CloudAnswer {
  readonly status: number;
  readonly body: unknown;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/i;
const NOT_FOUND: CloudAnswer = { status: 404, body: { error: 'not_found' } };
const NOT_ALLOWED: CloudAnswer = { status: 405, body: { error: 'method_not_allowed' } };
const DONE: CloudAnswer = { status: 204, body: null };

/** The operations of catalogs/demo_cloud.yaml, and nothing else. Who may call them is the gateway's business. */
export function answerCall(store: CloudStore, call: CloudCall): CloudAnswer {
  const [root, project, collection, id, ...rest] = call.segments;
  if (root !== 'projects' || rest.length > 0) return NOT_FOUND;
  if (project === undefined) return projects(store, call);
  if (store.project(project) === null) return NOT_FOUND;
  if (collection === undefined) return oneProject(store, call, project);
  if (!isCollection(collection)) return NOT_FOUND;
  return id === undefined
    ? manyItems(store, call, { project, collection })
    : oneItem(store, call, { project, collection, id });
}

function projects(store: CloudStore, { method, body }: CloudCall): CloudAnswer {
  if (method === 'GET') return { status: 200, body: { projects: store.projects() } };
  if (method !== 'POST') return NOT_ALLOWED;
  const { id = '', name = id } = body;
  if (!NAME.test(id)) return invalid('id must be letters, digits, dots, - and _, at most 64');
  return store.addProject(id, name) ? { status: 201, body: store.project(id) } : conflict();
}

function oneProject(store: CloudStore, { method }: CloudCall, project: string): CloudAnswer {
  if (method === 'GET') return { status: 200, body: store.project(project) };
  if (method !== 'DELETE') return NOT_ALLOWED;
  store.removeProject(project);
  return DONE;
}

interface Place {
  readonly project: string;
  readonly collection: Collection;
}

function manyItems(store: CloudStore, call: CloudCall, { project, collection }: Place): CloudAnswer {
  if (call.method === 'GET') {
    const items = store.items(project, collection);
    // The value of a secret is shown only to who asks for that secret.
    const shown = collection === 'secrets' ? items.map(({ id }) => ({ id })) : items;
    return { status: 200, body: { [collection]: shown } };
  }
  if (call.method !== 'POST' || collection === 'secrets') return NOT_ALLOWED;
  const { ref = 'refs/heads/main', commit } = call.body;
  const id = store.nextId(collection);
  const source = commit === undefined ? { ref } : { ref, commit };
  const item = {
    id,
    project,
    ...source,
    state: collection === 'builds' ? 'queued' : 'rolling_out',
    created_by: call.caller,
  };
  return store.put(project, collection, item) ? { status: 201, body: item } : conflict();
}

function oneItem(store: CloudStore, call: CloudCall, { project, collection, id }: Place & { id: string }): CloudAnswer {
  if (call.method === 'PUT' && collection === 'secrets') {
    const { value } = call.body;
    if (!NAME.test(id) || value === undefined) return invalid('a secret needs a name and a value');
    return store.put(project, collection, { id, value }) ? DONE : conflict();
  }
  const item = store.item(project, collection, id);
  if (item === null) return NOT_FOUND;
  if (call.method === 'GET') return { status: 200, body: item };
  if (call.method !== 'DELETE') return NOT_ALLOWED;
  store.remove(project, collection, id);
  return DONE;
}

function isCollection(name: string): name is Collection {
  return (COLLECTIONS as readonly string[]).includes(name);
}

function invalid(message: string): CloudAnswer {
  return { status: 400, body: { error: 'invalid', message } };
}

function conflict(): CloudAnswer {
  return { status: 409, body: { error: 'conflict', message: 'it exists already, or there is no room' } };
}
