import type { BrokerReason } from './reasons.ts';
import { type Refusal, refuseFor } from './refusal.ts';

/** Whose something is, of those that share the broker. */
export interface QuotaOwner {
  /** Of one run, by a name of its own. */
  readonly run: string;
  readonly workflow: string;
}

/** How many there may be: of all together, of one run, of one workflow. */
export interface QuotaBounds {
  readonly all: number;
  readonly run: number;
  readonly workflow: number;
}

/** Seconds after which it is worth asking again: others end, or one's own must. */
const RETRY = { all: 5, own: 30 } as const;

/** Counts what is remembered for each run and each workflow, so that none of them can take the places of the others. */
export class JobQuota {
  readonly #bounds: QuotaBounds;
  readonly #runs = new Map<string, number>();
  readonly #workflows = new Map<string, number>();
  #all = 0;

  constructor(bounds: QuotaBounds) {
    this.#bounds = bounds;
  }

  /** Why there may be no further one; null when there may. Refuses with `jobs_of_run`, `jobs_of_workflow`, `jobs_full`. */
  refusal({ run, workflow }: QuotaOwner): Refusal | null {
    const full = (reason: BrokerReason, seconds: number) => refuseFor(seconds, reason);
    if ((this.#runs.get(run) ?? 0) >= this.#bounds.run) return full('jobs_of_run', RETRY.own);
    if ((this.#workflows.get(workflow) ?? 0) >= this.#bounds.workflow) return full('jobs_of_workflow', RETRY.own);
    return this.#all >= this.#bounds.all ? full('jobs_full', RETRY.all) : null;
  }

  add({ run, workflow }: QuotaOwner): void {
    this.#all++;
    change(this.#runs, run, 1);
    change(this.#workflows, workflow, 1);
  }

  remove({ run, workflow }: QuotaOwner): void {
    this.#all--;
    change(this.#runs, run, -1);
    change(this.#workflows, workflow, -1);
  }
}

function change(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by;
  if (count > 0) counts.set(name, count);
  else counts.delete(name);
}
