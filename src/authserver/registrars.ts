import type {
  InitialAccessTokenConfig,
  RegisteringWorkloadConfig,
  RegistrationConfig,
} from '../config/authserver_registration.ts';
import { BearerTokenFile } from '../net/bearer_token_file.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import { plainClaim } from '../oauth/workload_claims.ts';
import type { WorkloadIdentity, WorkloadIssuers } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { grantDetails } from './authorization_details.ts';
import type { StoredClient } from './client_directory.ts';
import { type Ceiling, type ClientRecord, lists } from './clients.ts';
import { checkCeiling, type DetailTypes } from './detail_types.ts';
import type { JobRules } from './job_claims.ts';
import { fits, type WorkloadRule } from './workload_rule.ts';

/** What a registration is let in by, and what its client may have at most. */
export interface Registrar {
  readonly name: string;
  readonly ceiling: Ceiling;
  readonly job: JobRules;
}

/** A registration that was let in. */
export interface Admission {
  readonly registrar: Registrar;
  /** Present: the client is this workload, by its immutable identifiers. */
  readonly workload?: {
    readonly clientId: string;
    readonly rule: WorkloadRule;
    /** To be used up with the registration. */
    readonly identity: WorkloadIdentity;
  };
}

/** Why nobody was let in. `unavailable`: nothing can be said now. */
export type AdmissionRefused = 'missing' | 'wrong' | 'unavailable';

/** What registrars are made with. */
export interface RegistrarsParts {
  readonly types: DetailTypes;
  readonly issuers: WorkloadIssuers;
  /** Seconds, where a registrar has none of its own. */
  readonly tokenLifetimeSeconds: number;
  readonly log: Log;
}

interface ByToken {
  readonly file: BearerTokenFile;
  readonly registrar: Registrar;
}

interface ByWorkload {
  readonly rule: WorkloadRule;
  readonly identityClaims: readonly string[];
  readonly registrar: Registrar;
}

/** Who may register a client (RFC 7591 §3): the holders of initial access tokens, and workloads that show their identity token. */
export class Registrars {
  readonly #tokens: readonly ByToken[];
  readonly #workloads: readonly ByWorkload[];
  readonly #issuers: WorkloadIssuers;
  readonly #types: DetailTypes;

  /** @throws ConfigError or Error that names what is wrong */
  constructor(config: RegistrationConfig, parts: RegistrarsParts) {
    this.#issuers = parts.issuers;
    this.#types = parts.types;
    this.#tokens = config.initial_access_tokens.map((entry, index) => ({
      file: new BearerTokenFile(entry.token_file, (problem) =>
        parts.log.error({ problem, name: entry.name }, 'an initial access token cannot be used; nobody gets in by it'),
      ),
      registrar: makeRegistrar(entry, { parts, key: `registration.initial_access_tokens[${index}]` }),
    }));
    this.#workloads = config.workloads.map((entry, index) => ({
      rule: { issuer: entry.issuer, claims: lists(entry.claims), job: lists(entry.job) },
      identityClaims: entry.identity_claims,
      registrar: makeRegistrar(entry, { parts, key: `registration.workloads[${index}]` }),
    }));
  }

  /** A registrar by its name; undefined when the configuration has it no more. */
  named(name: string): Registrar | undefined {
    return [...this.#tokens, ...this.#workloads].find(({ registrar }) => registrar.name === name)?.registrar;
  }

  /**
   * A registered client with what it may have now: never more than its registrar may let it have today. Null where the configuration has its
   * registrar no more.
   */
  limit({ client, by }: StoredClient): ClientRecord | null {
    const limit = this.named(by)?.ceiling;
    if (limit === undefined) return null;
    const { resources, scopes, authorizationDetails, tokenLifetimeSeconds } = client.ceiling;
    const ceiling = {
      resources: resources.filter((one) => limit.resources.includes(one)),
      scopes: scopes.filter((one) => limit.scopes.includes(one)),
      authorizationDetails: grantDetails(this.#types, limit.authorizationDetails, authorizationDetails),
      tokenLifetimeSeconds: Math.min(tokenLifetimeSeconds, limit.tokenLifetimeSeconds),
    };
    return { ...client, ceiling };
  }

  /** Judges the value of an Authorization header. */
  async admit(authorization: string | undefined): Promise<Admission | AdmissionRefused> {
    let unavailable = false;
    for (const { file, registrar } of this.#tokens) {
      const verdict = file.judge(authorization);
      if (verdict === 'good') return { registrar };
      unavailable ||= verdict === 'unavailable';
    }
    const presented = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (presented === undefined) return 'missing';
    if (this.#workloads.length === 0 || !presented.includes('.')) return unavailable ? 'unavailable' : 'wrong';
    return this.#admitWorkload(presented);
  }

  async #admitWorkload(token: string): Promise<Admission | AdmissionRefused> {
    const verified = await this.#issuers.verify(token);
    if (!verified.ok) return verified.why === 'unavailable' ? 'unavailable' : 'wrong';
    const identity = verified.value;
    const found = this.#workloads.find(({ rule }) => fits(rule, identity));
    if (found === undefined) return 'wrong';
    const values = found.identityClaims.map((name) => [name, plainClaim(identity.claims, name)] as const);
    // Without one of its identifiers, the workload would be everybody who has the others.
    if (values.some(([, value]) => value === null)) return 'wrong';
    const claims = Object.fromEntries(values.map(([name, value]) => [name, [value ?? '']]));
    const { name } = found.registrar;
    const clientId = `wl_${sha256Base64url(JSON.stringify([name, identity.issuer, values]))}`;
    const rule = { issuer: identity.issuer, claims: { ...found.rule.claims, ...claims }, job: found.rule.job };
    return { registrar: found.registrar, workload: { clientId, rule, identity } };
  }
}

function makeRegistrar(
  entry: InitialAccessTokenConfig | RegisteringWorkloadConfig,
  { parts, key }: { parts: RegistrarsParts; key: string },
): Registrar {
  checkCeiling(parts.types, entry.authorization_details, `${key}.authorization_details`);
  return {
    name: entry.name,
    ceiling: {
      resources: entry.resources,
      scopes: entry.scopes,
      authorizationDetails: entry.authorization_details,
      tokenLifetimeSeconds: entry.token_lifetime_seconds ?? parts.tokenLifetimeSeconds,
    },
    job: { claims: {}, from_assertion: 'job_from_assertion' in entry ? entry.job_from_assertion : [] },
  };
}
