import type { AdminAnswer, AdminApi, AdminRequest } from '../admin/api.ts';
import { assemble } from '../bundle/assemble.ts';
import type { Bundle, PatchOperation } from '../bundle/bundle.ts';
import { segmentsOf } from '../bundle/patch.ts';
import { pushedBundle, readJsonPatch, withChanges, withModule, withoutModule } from '../bundle/pushed.ts';
import { readBundleFile } from '../bundle/read.ts';
import { writeSnapshot } from '../bundle/snapshot.ts';
import type { BundleStore } from '../bundle/store.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import { parseExactJson } from '../policy/exact_json.ts';
import { readPolicyFolder } from '../policy/folder.ts';
import { storeOf } from './bundle_sources.ts';
import type { PolicyFolder } from './policy_build.ts';
import { PolicyHolder } from './policy_holder.ts';
import type { PolicySource, PolicySourceParts } from './policy_source.ts';

/** Bytes of one module, and of one document of data. */
const LIMITS = { module: 1_048_576, data: 33_554_432, unpacked: 134_217_728 } as const;
const NAME = 'pushed';
const ORIGIN = 'pushed';
const POLICIES = '/v1/policies';
const DATA = '/v1/data';

/**
 * A policy that others push through the admin port, in the way of OPA's REST API, as OPAL does. It begins with a folder, or with what was
 * pushed in an earlier run where that is kept. @throws Error when the policy that it begins with cannot be used
 */
export async function startPushedPolicy(
  folder: PolicyFolder,
  kept: string | undefined,
  parts: PolicySourceParts,
): Promise<PolicySource> {
  const store = storeOf(kept, parts.keep);
  const { bundle, artifact } = await firstPolicy(folder, store, parts);
  return new PushedPolicy(bundle, await PolicyHolder.start(artifact, parts), { folder, store, ...parts });
}

interface Parts extends PolicySourceParts {
  readonly folder: PolicyFolder;
  readonly store: BundleStore | null;
}

class PushedPolicy implements PolicySource {
  readonly holder: PolicyHolder;
  readonly api: AdminApi;
  readonly #parts: Parts;
  #bundle: Bundle;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(bundle: Bundle, holder: PolicyHolder, parts: Parts) {
    this.#bundle = bundle;
    this.holder = holder;
    this.#parts = parts;
    this.api = {
      '/health': { maxBodyBytes: 0, methods: { GET: () => ({ status: 200, value: {} }) } },
      [POLICIES]: { maxBodyBytes: 0, methods: { GET: () => ({ status: 200, value: { result: this.#list() } }) } },
      [`${POLICIES}/*`]: {
        maxBodyBytes: LIMITS.module,
        methods: {
          GET: (request) => this.#show(request),
          PUT: (request) => this.#putModule(request),
          DELETE: (request) => this.#deleteModule(request),
        },
      },
      [DATA]: this.#dataEndpoint(),
      [`${DATA}/*`]: this.#dataEndpoint(),
    };
  }

  rebuild(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async close(): Promise<void> {
    await this.#turn;
  }

  #dataEndpoint(): AdminApi[string] {
    return {
      maxBodyBytes: LIMITS.data,
      methods: {
        GET: (request) => this.#readData(request),
        PUT: (request) =>
          this.#changeData(() => [{ op: 'upsert', path: dataPath(request), value: parseExactJson(textOf(request)) }]),
        PATCH: (request) => this.#changeData(() => readJsonPatch(parseExactJson(textOf(request)), dataPath(request))),
        DELETE: (request) => this.#changeData(() => [{ op: 'remove', path: dataPath(request) }]),
      },
    };
  }

  #list(): unknown[] {
    return this.#bundle.modules.map(({ path: id, text: raw }) => ({ id, raw }));
  }

  #show(request: AdminRequest): AdminAnswer {
    const id = idOf(request);
    const found = this.#bundle.modules.find(({ path }) => path === id);
    if (found === undefined) return refusal(404, 'resource_not_found', 'there is no policy of this id');
    return { status: 200, value: { result: { id: found.path, raw: found.text } } };
  }

  #putModule(request: AdminRequest): Promise<AdminAnswer> {
    const module = () => ({ path: idOf(request), text: textOf(request) });
    return this.#change((before) => withModule(before, module()), { status: 200, value: {} });
  }

  #deleteModule(request: AdminRequest): Promise<AdminAnswer> {
    return this.#change((before) => withoutModule(before, idOf(request)), { status: 200, value: {} });
  }

  #readData(request: AdminRequest): AdminAnswer {
    let node: unknown = this.#bundle.data;
    for (const name of segmentsOf(dataPath(request))) {
      node = typeof node === 'object' && node !== null && Object.hasOwn(node, name) ? (node as never)[name] : undefined;
    }
    return { status: 200, value: node === undefined ? {} : { result: node } };
  }

  #changeData(read: () => readonly PatchOperation[]): Promise<AdminAnswer> {
    return this.#change((before) => withChanges(before, read()), { status: 204 });
  }

  /** One change after the other: what is answered is in use when the answer comes, and nothing is when it is a refusal. */
  #change(make: (before: Bundle) => Bundle | null, done: AdminAnswer): Promise<AdminAnswer> {
    const turn = this.#turn.then(() => this.#changeNow(make, done));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #changeNow(make: (before: Bundle) => Bundle | null, done: AdminAnswer): Promise<AdminAnswer> {
    let next: Bundle | null;
    try {
      next = make(this.#bundle);
    } catch (error) {
      return refusal(400, 'invalid_parameter', (error as Error).message);
    }
    if (next === null) return refusal(404, 'resource_not_found', 'there is no policy of this id');
    const bundle = next;
    const why = await this.holder.tryReplace(() => artifactOf(bundle, this.#parts.folder), NAME);
    if (why !== null) return refusal(400, 'invalid_parameter', why);
    this.#bundle = bundle;
    await this.#keep(bundle);
    return done;
  }

  async #keep(bundle: Bundle): Promise<void> {
    const { store, log } = this.#parts;
    try {
      await store?.save(NAME, ORIGIN, { bytes: await writeSnapshot(bundle), etag: '', superseded: [] });
    } catch (error) {
      log.error({ err: error }, 'what was pushed could not be kept for a restart');
    }
  }
}

/** What was kept, if it can be used, else the folder. */
async function firstPolicy(
  folder: PolicyFolder,
  store: BundleStore | null,
  { log }: PolicySourceParts,
): Promise<{ bundle: Bundle; artifact: PolicyArtifact }> {
  try {
    const kept = (await store?.load(NAME, ORIGIN)) ?? null;
    if (kept !== null) {
      const read = await readBundleFile(kept.bytes, { unpackedBytes: LIMITS.unpacked });
      if (read.type === 'snapshot') {
        const modules = read.modules.map(({ path, text }) => ({ path: path.replace(/^\//, ''), text }));
        const bundle = pushedBundle(modules, read.data);
        return { bundle, artifact: await artifactOf(bundle, folder) };
      }
    }
  } catch (error) {
    log.error({ err: error }, 'what was pushed earlier cannot be used; the policy begins with the folder');
  }
  const { modules, data } = await readPolicyFolder(folder.path, folder.data);
  const bundle = pushedBundle(modules, data);
  return { bundle, artifact: await artifactOf(bundle, folder) };
}

function artifactOf(bundle: Bundle, { entrypoint }: PolicyFolder): Promise<PolicyArtifact> {
  return assemble(new Map([[NAME, bundle]]), { entrypoint, data: {} });
}

function idOf({ path }: AdminRequest): string {
  return decoded(path.slice(POLICIES.length + 1));
}

/** The path below data, each segment as in a JSON pointer. */
function dataPath({ path }: AdminRequest): string {
  return path
    .slice(DATA.length)
    .split('/')
    .map((part) => decoded(part).replaceAll('~', '~0').replaceAll('/', '~1'))
    .join('/');
}

/** What is no percent-encoding stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function textOf({ body }: AdminRequest): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(body);
}

/** An error as OPA's REST API words it. */
function refusal(status: number, code: string, message: string): AdminAnswer {
  return { status, value: { code, message } };
}
