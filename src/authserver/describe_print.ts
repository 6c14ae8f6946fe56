import { printConditions } from './conditions.ts';
import type { AuthServerDescription, CeilingDescription, ClientDescription } from './describe.ts';

/** The description as people read it, line by line. */
export function printAuthServerDescription(description: AuthServerDescription): string[] {
  const { signing_keys: signing, policy, registration, admin, certificates } = description;
  return [
    `issuer    ${description.issuer} (listens on ${description.listen}${admin === null ? '' : `, admin ${admin}`})`,
    ...(certificates === null ? [] : [`clients   may show certificates: ${certificates}`]),
    `keys      ${signing.file}: ${keysOf(signing.keys)}`,
    `storage   ${description.storage}`,
    `tokens    ${description.token_lifetime_seconds} s, nonce ${description.nonce}`,
    `types     ${description.authorization_details_types.join(', ') || 'none'}`,
    ...description.workload_issuers.map(
      ({ issuer, audience }) => `trusts    ${issuer}, audience ${audience.join(' or ')}`,
    ),
    policy === null
      ? 'policy    none: the ceiling of a client decides'
      : `policy    ${policy.from}, entrypoint ${policy.entrypoint}, revision ${policy.revision}`,
    ...(registration === null || registration.software_statements.length === 0
      ? []
      : [
          `believes  software statements of ${registration.software_statements.join(', ')}${registration.statement_required ? ', and registers nobody without' : ''}`,
        ]),
    ...(registration?.registrars ?? []).flatMap((one) => [
      '',
      `registers ${one.name}: ${one.by === 'initial_access_token' ? 'whoever has its initial access token' : printConditions(one.by)}`,
      ...printCeiling(one),
    ]),
    ...description.clients.flatMap((client) => ['', ...printClient(client)]),
    ...(description.resource_servers.length === 0 ? [] : ['']),
    ...description.resource_servers.map(({ client_id: id, resources, token_format: format }) => {
      return `asks      ${id}: about tokens for ${resources.join(', ')} (token_format ${format})`;
    }),
    ...(description.warnings.length === 0 ? [] : ['']),
    ...description.warnings.map((warning) => `warning   ${warning}`),
  ];
}

function keysOf(count: number): string {
  if (count === 0) return 'made at the first start';
  return count === 1 ? '1 key' : `${count} keys`;
}

function printClient(client: ClientDescription): string[] {
  const how =
    client.token_endpoint_auth_method === 'none' ? 'by its workload identity' : client.token_endpoint_auth_method;
  return [
    `client    ${client.client_id}: ${how}, tokens bound to ${client.bound_to.map((one) => `its ${one}`).join(' and ')}`,
    ...client.workloads.map((one) => `          workload   ${printConditions(one)}`),
    ...printCeiling(client),
  ];
}

function printCeiling(ceiling: CeilingDescription): string[] {
  return [
    `          resources  ${ceiling.resources.join(', ')}`,
    `          scopes     ${ceiling.scopes.join(' ') || 'none'}`,
    ...ceiling.authorization_details.map((item) => `          details    ${JSON.stringify(item)}`),
    `          lifetime   ${ceiling.token_lifetime_seconds} s`,
  ];
}
