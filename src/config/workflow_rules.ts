import type { BrokerConfig } from './broker_schema.ts';
import type { SettingProblem } from './problems.ts';
import type { WorkflowConfig } from './workflows_schema.ts';
import { isPublicIssuer, type WorkloadIssuerConfig } from './workload_issuers.ts';

/** What the file of workflows and the configuration of the broker say together: each would be good by itself. */
export function findWorkflowProblems(
  workflows: readonly WorkflowConfig[],
  broker: Pick<BrokerConfig, 'workload_issuers' | 'authorization_server'>,
): SettingProblem[] {
  return workflows.flatMap(({ match, client }, index): SettingProblem[] => {
    const problems: SettingProblem[] = [];
    const issuer = broker.workload_issuers.find((one) => one.issuer === match.issuer);
    if (issuer === undefined) {
      const message = 'is none of workload_issuers of the broker, so that no job would ever be of this workflow';
      problems.push({ path: [index, 'match', 'issuer'], message });
    } else if (isOpenToStrangers(match, issuer)) {
      problems.push({
        path: [index, 'match'],
        message:
          'anybody can get tokens of this issuer: name whose jobs, by repository_id, subject or claims such as repository_owner_id',
      });
    }
    if (client === undefined && broker.authorization_server.registration === undefined) {
      problems.push({
        path: [index, 'name'],
        message:
          'names no client, and authorization_server.registration of the broker does not say how one is registered',
      });
    }
    return problems;
  });
}

/** A branch, an event or the name of a file can be had by everybody who has a repository; whose it is, only by one. */
function isOpenToStrangers(match: WorkflowConfig['match'], issuer: WorkloadIssuerConfig): boolean {
  if (!isPublicIssuer(issuer.issuer) || Object.keys(issuer.conditions).length > 0) return false;
  const { subject, repository_id: id, repository, claims = {}, workflow } = match;
  // Buildkite names no repository; its pipelines are named with their organization.
  const whose = [subject, id, repository, issuer.provider === 'buildkite' ? workflow : undefined];
  return whose.every((one) => one === undefined) && Object.keys(claims).length === 0;
}
