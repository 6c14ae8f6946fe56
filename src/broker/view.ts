import type { AdminView } from '../admin/admin.ts';
import type { AdminApi } from '../admin/api.ts';
import { createFamilyMetrics } from '../telemetry/metrics.ts';
import { brokerFamilies } from './broker_metrics.ts';
import type { BrokerJob } from './jobs_file.ts';
import type { BrokerParts } from './parts.ts';

/** What the admin port of a broker shows, and what its engine may do there. */
export function viewOf(
  parts: BrokerParts,
  place: { readonly origin: string; readonly listening: string; stopping(): boolean },
): AdminView {
  const metrics = createFamilyMetrics(parts.version, brokerFamilies(parts));
  return {
    live: () => true,
    ready: () => {
      const checks = checksOf(parts, place.stopping());
      return { ready: checks.every(({ ok }) => ok), origin: place.origin, listening: place.listening, checks };
    },
    metrics: () => metrics.render(),
    api: apiOf(parts),
  };
}

function checksOf({ server, workflows, clients, issuers, endings, records }: BrokerParts, stopping: boolean) {
  const health = issuers.health();
  const total = workflows.all.length;
  const problems = [...clients.problems].map(([name, problem]) => `${name}: ${problem}`);
  const sinks = endings.state();
  return [
    { name: 'authorization_server', ok: server.endpoints !== null, detail: server.problem || 'known' },
    {
      name: 'workload_issuers',
      ok: health.some(({ state }) => state !== 'unavailable'),
      detail: health.map(({ issuer, state }) => `${issuer}: ${state}`).join('; '),
    },
    {
      // One workflow that cannot be registered does not keep the others from their tokens.
      name: 'clients',
      ok: total === 0 || clients.usable > 0,
      detail: [`${clients.usable} of ${total} workflows have a client`, ...problems.slice(0, 5)].join('; '),
    },
    {
      name: 'workflows',
      ok: true,
      detail: workflows.problem === null ? `${total}` : `${total} (a newer file was refused: ${workflows.problem})`,
    },
    {
      name: 'ended_jobs',
      ok: sinks.every(({ up }) => up),
      detail:
        sinks.map(({ name, up, owed }) => `${name}: ${up ? 'up' : 'down'}, ${owed} owed`).join('; ') ||
        'nobody is told',
    },
    { name: 'records', ok: records.healthy },
    { name: 'running', ok: !stopping, ...(stopping && { detail: 'stopping' }) },
  ];
}

/** GET /jobs lists them, DELETE /jobs/ID ends one. */
function apiOf({ jobs, ends }: BrokerParts): AdminApi {
  return {
    '/jobs': {
      maxBodyBytes: 0,
      methods: {
        GET: ({ query }) => {
          const [run, workflow] = [query.get('run_id'), query.get('workflow')];
          const found = jobs.all.filter(
            (job) => (run ?? job.runId) === job.runId && (workflow ?? job.workflow) === job.workflow,
          );
          return { status: 200, value: { jobs: found.slice(0, 1000).map(describeJob), more: found.length > 1000 } };
        },
      },
    },
    '/jobs/': {
      maxBodyBytes: 0,
      methods: {
        DELETE: async ({ path }) => {
          const job = jobs.find(path.slice('/jobs/'.length));
          if (job === undefined) return { status: 404, value: { error: 'there is no such job' } };
          return { status: (await ends.end(job, 'engine')) ? 204 : 202 };
        },
      },
    },
  };
}

function describeJob(job: BrokerJob) {
  const time = (ms: number | null) => (ms === null || ms === 0 ? null : new Date(ms).toISOString());
  return {
    job_id: job.id,
    workflow: job.workflow,
    issuer: job.issuer,
    subject: job.subject,
    run_id: job.runId,
    repository: job.repository,
    jkt: job.thumbprint,
    started_at: time(job.startedAt),
    deadline: time(job.deadline),
    tokens_until: time(job.tokensUntil),
    ended_at: time(job.endedAt),
  };
}
