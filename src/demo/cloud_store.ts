/** A thing of the demo cloud, as its API shows it. */
export type CloudItem = Readonly<Record<string, string>>;

/** What a project holds, by the name it has in paths. */
export const COLLECTIONS = ['builds', 'deployments', 'secrets'] as const;
/** Name of one of them. */
export type Collection = (typeof COLLECTIONS)[number];

interface Project {
  readonly id: string;
  readonly name: string;
  readonly items: Readonly<Record<Collection, Map<string, CloudItem>>>;
}

/** How much is held; beyond it nothing more is taken. */
const MAXIMUM_PROJECTS = 20;
const MAXIMUM_ITEMS = 200;

/** What the demo cloud holds: projects with builds, deployments and secrets. In memory, bounded, gone when the process ends. */
export class CloudStore {
  readonly #projects = new Map<string, Project>();
  #count = 0;

  /** Two projects to begin with: `p1` belongs to the demo's workflow, `p2` does not. */
  constructor() {
    this.addProject('p1', 'shop');
    this.addProject('p2', 'payroll');
    this.put('p1', 'builds', { id: this.nextId('builds'), project: 'p1', ref: 'refs/heads/main', state: 'succeeded' });
    this.put('p2', 'secrets', { id: 'bank-password', value: 'only-for-payroll' });
  }

  projects(): CloudItem[] {
    return [...this.#projects.values()].map(({ id, name }) => ({ id, name }));
  }

  project(id: string): CloudItem | null {
    const project = this.#projects.get(id);
    return project === undefined ? null : { id, name: project.name };
  }

  /** @returns false when there is one already, or no room */
  addProject(id: string, name: string): boolean {
    if (this.#projects.has(id) || this.#projects.size >= MAXIMUM_PROJECTS) return false;
    this.#projects.set(id, { id, name, items: { builds: new Map(), deployments: new Map(), secrets: new Map() } });
    return true;
  }

  removeProject(id: string): boolean {
    return this.#projects.delete(id);
  }

  items(project: string, collection: Collection): CloudItem[] {
    return [...(this.#projects.get(project)?.items[collection].values() ?? [])];
  }

  item(project: string, collection: Collection, id: string): CloudItem | null {
    return this.#projects.get(project)?.items[collection].get(id) ?? null;
  }

  /** Adds or replaces. @returns false when there is no room */
  put(project: string, collection: Collection, item: CloudItem & { readonly id: string }): boolean {
    const items = this.#projects.get(project)?.items[collection];
    if (items === undefined || (!items.has(item.id) && items.size >= MAXIMUM_ITEMS)) return false;
    items.set(item.id, item);
    return true;
  }

  remove(project: string, collection: Collection, id: string): boolean {
    return this.#projects.get(project)?.items[collection].delete(id) ?? false;
  }

  /** A new name for a build or a deployment, such as `b2`. */
  nextId(collection: Collection): string {
    this.#count++;
    return `${collection.slice(0, 1)}${this.#count}`;
  }
}
