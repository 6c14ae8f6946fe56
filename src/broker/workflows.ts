import { statSync } from 'node:fs';
import type { BrokerConfig } from '../config/broker_schema.ts';
import { loadWorkflows } from '../config/load_broker.ts';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { WorkloadIdentity } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { granted, type Outcome, refuse } from './refusal.ts';

/** Where the workflows are, and what they must fit. */
export type WorkflowsSource = Pick<BrokerConfig, 'workflows_file' | 'workload_issuers' | 'authorization_server'>;

/** Milliseconds between two looks at the file. */
const LOOK_EVERY_MS = 1000;

/**
 * The workflows of a file, read again when it changes. What cannot be used is refused with the reason in the log, and what was before stays.
 */
export class Workflows {
  readonly #file: string;
  readonly #config: WorkflowsSource;
  readonly #log: Log;
  readonly #listeners: (() => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #version: string;
  #all: readonly WorkflowConfig[];
  #problem: string | null = null;

  /** @throws ConfigError which names file, line and key */
  constructor(config: WorkflowsSource, log: Log) {
    const { workflows_file: file } = config;
    this.#file = file;
    this.#config = config;
    this.#log = log;
    this.#version = versionOf(file);
    this.#all = loadWorkflows(file, config);
    this.#warn();
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS).unref();
  }

  get all(): readonly WorkflowConfig[] {
    return this.#all;
  }

  /** Why the file as it is now was refused; null when it is in use. */
  get problem(): string | null {
    return this.#problem;
  }

  find(name: string): WorkflowConfig | undefined {
    return this.#all.find((workflow) => workflow.name === name);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Looks now. */
  look(): void {
    const seen = versionOf(this.#file);
    if (seen === this.#version) return;
    this.#version = seen;
    try {
      this.#all = loadWorkflows(this.#file, this.#config);
      this.#problem = null;
    } catch (error) {
      this.#problem = (error as Error).message;
      this.#log.error({ err: error }, 'the new workflows were refused; the old ones stay');
      return;
    }
    this.#log.info({ workflows: this.#all.length }, 'the workflows were replaced');
    this.#warn();
    for (const listener of this.#listeners) listener();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #warn(): void {
    for (const { name, match } of this.#all) {
      if (match.repository === undefined || match.repository_id !== undefined) continue;
      this.#log.warn(
        { workflow: name },
        'the workflow matches by the name of a repository, which may change hands: add repository_id',
      );
    }
  }
}

/** Finds the workflow of a job: the one it names, or the first that matches. Refuses with `access_denied`. */
export function workflowOf(
  workflows: readonly WorkflowConfig[],
  identity: WorkloadIdentity,
  named: string | null,
): Outcome<WorkflowConfig> {
  const candidates = named === null ? workflows : workflows.filter(({ name }) => name === named);
  const workflow = candidates.find(({ match }) => matches(match, identity));
  if (workflow !== undefined) return granted(workflow);
  // The same words whether such a workflow exists, so that names cannot be tried out.
  return refuse('workflow_unknown');
}

/**
 * Whether an environment may be served: where a workflow lists environments, the identity token must name one of them. What a job says
 * itself only ever has to agree.
 */
export function checkEnvironment(
  { environments }: WorkflowConfig,
  { job }: WorkloadIdentity,
  said: string | null,
): Outcome<null> {
  if (said !== null && said !== job.environment) {
    return refuse('environment_not_stated');
  }
  if (environments !== undefined && !environments.includes(job.environment ?? '')) {
    return refuse('environment_not_served');
  }
  return granted(null);
}

function matches(match: WorkflowConfig['match'], identity: WorkloadIdentity): boolean {
  const { issuer, subject, claims = {}, ref, ref_protected: isProtected, ...members } = match;
  const { job } = identity;
  if (issuer !== identity.issuer) return false;
  if (subject !== undefined && !subject.includes(identity.subject)) return false;
  if (isProtected !== undefined && job.ref_protected !== isProtected) return false;
  if (ref !== undefined && !ref.some((pattern) => matchesRef(pattern, job.ref))) return false;
  for (const [name, values] of Object.entries(members)) {
    const value = job[name as 'repository_id'];
    if (values !== undefined && (value === null || !values.includes(value))) return false;
  }
  return Object.entries(claims).every(([name, values]) => values.includes(plain(identity.claims, name) ?? ''));
}

/** A `*` at the end stands for the rest: refs/tags/v*. */
function matchesRef(pattern: string, ref: string | null): boolean {
  if (ref === null) return false;
  return pattern.endsWith('*') ? ref.startsWith(pattern.slice(0, -1)) : ref === pattern;
}

/** A claim as a text: issuers spell the same values as texts and as plain values. */
function plain(claims: Readonly<Record<string, unknown>>, name: string): string | null {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
  return typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value) ? String(value) : null;
}

function versionOf(file: string): string {
  const status = statSync(file, { throwIfNoEntry: false });
  return status === undefined ? 'none' : `${status.mtimeMs} ${status.size} ${status.ino}`;
}
