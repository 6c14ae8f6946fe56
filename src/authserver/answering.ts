import { certificateAbilities } from '../config/authserver_front_proxies.ts';
import { secondsOf } from '../kernel/clock.ts';
import type { Answer } from '../net/plain_server.ts';
import { AccessTokens } from './access_tokens.ts';
import { clientOfAssertion } from './assertion_client.ts';
import type { AuthServerOptions, OpenParts } from './authserver.ts';
import { createCertificateReader } from './certificate.ts';
import { checkAssertion } from './client_assertion.ts';
import { makeEndpoints } from './endpoints.ts';
import { introspect, revoke } from './introspection.ts';
import { describeServer, supportedGrants } from './metadata.ts';
import { makeDoor } from './provider.ts';
import { RegistrationEndpoint } from './registration_endpoint.ts';
import { issueToken } from './token_endpoint.ts';

/** What requests are answered with. */
export interface AnsweringParts extends OpenParts {
  readonly issuer: string;
  readonly options: AuthServerOptions & { readonly clock: () => number };
}

/** Puts the endpoints together. The only way to here is an import at run time, since oidc-provider comes with it. */
export function answerRequests(parts: AnsweringParts): Answer {
  const { issuer, store, keys, clients, workloads, types, counts, options } = parts;
  const { config, clock, log } = options;
  const common = { issuer, store, keys, clients, clock, log };
  const tokens = new AccessTokens({ issuer, keys, store, resourceServers: config.resource_servers, clock });
  const policy = options.issuancePolicy ?? null;
  const certificates = certificateAbilities(config.listen);
  const door = makeDoor({
    issuer,
    grants: supportedGrants(workloads.any),
    jwk: keys.anyKey,
    findClient: (clientId) => clients.known(clientId),
    checkAssertion: (ctx, claims, header) =>
      checkAssertion(ctx, claims, { header, rules: { issuer, now: secondsOf(clock()) } }),
    issueToken: (ctx) => issueToken(ctx, { ...common, workloads, types, policy, tokens, counts }),
    introspect: (ctx) => introspect(ctx, { ...common, tokens }),
    revoke: (ctx) => revoke(ctx, { ...common, tokens }),
    counts,
    nonce: { required: config.dpop.nonce === 'required', secret: parts.nonceSecret },
    log,
  });
  return makeEndpoints({
    introspection: config.resource_servers.length > 0,
    metadata: describeServer({
      issuer,
      detailTypes: [...types.keys()],
      certificates: certificates.asked,
      certificateAuthority: certificates.authority,
      workloads: workloads.any,
      introspection: config.resource_servers.length > 0,
      registration: parts.registrars !== null,
    }),
    door,
    counts,
    publishedKeys: () => keys.published(),
    clientOfAssertion: (assertion) => clientOfAssertion(workloads.readUnverified(assertion), clients.configured),
    certificateOf: createCertificateReader(config.listen, clock),
    registration: makeRegistration(parts, certificates),
    log,
  });
}

function makeRegistration(
  parts: AnsweringParts,
  certificates: { readonly asked: boolean; readonly authority: boolean },
): RegistrationEndpoint | null {
  const { config, clock, log } = parts.options;
  const { issuer, registrars, statements, clients, types, store } = parts;
  if (registrars === null || config.registration === undefined) return null;
  const { registration } = config;
  return new RegistrationEndpoint({
    config: registration,
    issuer,
    registrars,
    statements,
    clients,
    types,
    store,
    certificates,
    clock,
    log,
  });
}
