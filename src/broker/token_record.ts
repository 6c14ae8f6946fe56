import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { WorkloadIdentity } from '../oauth/workload_identity.ts';
import type { NarrowedRequest } from './ceiling.ts';
import type { BrokerJob } from './jobs_file.ts';
import type { Outcome } from './refusal.ts';
import type { TokenAnswer } from './token_endpoint.ts';

/** What is known of a request so far, for its record. */
export interface Noted {
  identity?: WorkloadIdentity;
  thumbprint?: string;
  workflow?: WorkflowConfig;
  job?: BrokerJob;
  narrowed?: NarrowedRequest;
}

/** What stands in the record of a request: who asked, for what, and what came of it. */
export function recordOf(
  { identity, thumbprint, workflow, job, narrowed }: Noted,
  outcome: Outcome<TokenAnswer>,
): Record<string, unknown> {
  return {
    job_id: job?.id ?? null,
    workflow: workflow?.name ?? null,
    issuer: identity?.issuer ?? null,
    subject: identity?.subject ?? null,
    run_id: identity?.job.run_id ?? null,
    repository: identity?.job.repository ?? null,
    repository_id: identity?.job.repository_id ?? null,
    jkt: thumbprint ?? null,
    asked:
      narrowed === undefined
        ? null
        : { scopes: narrowed.scopes, authorization_details: narrowed.details, resources: narrowed.resources },
    ...(outcome.ok
      ? {
          granted: {
            scope: outcome.value.body['scope'],
            authorization_details: outcome.value.body['authorization_details'] ?? null,
          },
          expires_at: job === undefined ? null : new Date(job.tokensUntil).toISOString(),
        }
      : {
          status: outcome.status,
          error: outcome.error,
          reason: `broker.${outcome.reason}`,
          description: outcome.description,
        }),
  };
}
