import type { WorkflowConfig } from '../config/workflows_schema.ts';
import { type Detail, narrowDetails } from './details.ts';
import { granted, type Outcome, refuse } from './refusal.ts';
import type { TokenAsk } from './token_request.ts';

/** What the authorization server is asked for: what the job asked for and its workflow may have. */
export interface NarrowedRequest {
  readonly scopes: readonly string[];
  readonly details: readonly Detail[];
  /** At least one. */
  readonly resources: readonly string[];
}

/**
 * Narrows a request to the ceiling of a workflow. What was not said asks for the whole of it; what was said and has nothing in common with it
 * is refused, so that a job never gets a token for something else than it asked for.
 */
export function narrow(workflow: WorkflowConfig, ask: TokenAsk): Outcome<NarrowedRequest> {
  const resources =
    ask.resources.length === 0
      ? defaultResource(workflow)
      : ask.resources.filter((one) => workflow.resources.includes(one));
  if (resources === null) return refuse('resource_needed');
  if (resources.length === 0) return beyond('resource: none of those asked for is among the resources of the workflow');
  const said = ask.scopes !== null || ask.details !== null;
  const scopes = said ? (ask.scopes ?? []).filter((scope) => workflow.scopes.includes(scope)) : workflow.scopes;
  const details = said
    ? narrowDetails(workflow.authorization_details, ask.details ?? [])
    : workflow.authorization_details;
  if (ask.scopes !== null && scopes.length === 0)
    return beyond('scope: none of those asked for is among the scopes of the workflow');
  if (ask.details !== null && details.length === 0) {
    return beyond('authorization_details: no item asked for has anything in common with what the workflow may have');
  }
  return granted({ scopes, details, resources });
}

function defaultResource({ resources }: WorkflowConfig): readonly string[] | null {
  return resources.length === 1 ? resources : null;
}

function beyond(what: string) {
  return refuse('beyond_ceiling', { detail: what });
}
