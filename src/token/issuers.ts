import type { IssuerConfig, RouteConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { allowedAlgorithms, type SignatureAlgorithm } from '../oauth/algorithms.ts';
import { Jwks, type JwksHealth } from '../oauth/jwks.ts';
import { type LoadKeys, loadFileKeys, loadRemoteKeys } from '../oauth/key_loader.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { Introspection } from './introspection.ts';
import type { TokenLog } from './outage_log.ts';
import { StatusLists } from './status_lists.ts';
import type { StatusRules } from './status_reference.ts';

/** An authorization server whose tokens are taken. */
export interface TrustedIssuer {
  readonly issuer: string;
  /** Signature algorithms that its tokens may use (RFC 8725 §3.1). */
  readonly algorithms: ReadonlyMap<string, SignatureAlgorithm>;
  readonly keys: Jwks;
  /** How it is asked about tokens; null where it is not. */
  readonly introspection: Introspection | null;
  /** Which status lists its tokens may name. */
  readonly statusRules: StatusRules;
  /** Its status lists; null where they are not checked. */
  readonly statusLists: StatusLists | null;
}

/** The keys of one issuer, for readiness and metrics. */
export interface IssuerHealth extends JwksHealth {
  readonly issuer: string;
  /** True when its tokens can be verified without its keys: it is asked about them. */
  readonly needsNoKeys: boolean;
}

/** What `TrustedIssuers` is made with. */
export interface IssuersOptions {
  /** The routes, which may name the issuer of their opaque tokens. */
  readonly routes?: readonly Pick<RouteConfig, 'name' | 'opaque_issuer'>[] | undefined;
  readonly clock: Clock;
  readonly log?: TokenLog | undefined;
  /** Issuers of the configuration before: where the source of an issuer's keys did not change, its keys are taken over. */
  readonly previous?: TrustedIssuers | undefined;
}

/** The longest time a request waits for the keys of an issuer. */
const MAX_ANSWER_MS = 1000;
/** How old the content of a jwks_file may be: reading it is cheap. */
const FILE_AGE_MS = 5000;

/** The issuers of the configuration, by their identifier. Their keys load in the background from the start. */
export class TrustedIssuers {
  readonly #issuers: ReadonlyMap<string, TrustedIssuer>;
  readonly #configs: ReadonlyMap<string, IssuerConfig>;
  readonly #algorithms: ReadonlySet<string>;
  /** Issuers of opaque tokens, where the route names one. */
  readonly #ofRoutes = new Map<string, TrustedIssuer>();
  /** The issuer of opaque tokens, where there is only one. */
  readonly #onlyOfOpaque: TrustedIssuer | undefined;

  /** @throws Error when what an issuer is asked with cannot be used */
  constructor(configs: readonly IssuerConfig[], options: IssuersOptions) {
    // Before anything is loaded: what throws here leaves nothing behind.
    const clientKeys = configs.map((config) => openClientKey(config, options.log));
    this.#configs = new Map(configs.map((config) => [config.issuer, config]));
    this.#issuers = new Map(
      configs.map((config, index) => [config.issuer, trust(config, clientKeys[index] ?? null, options)]),
    );
    this.#algorithms = new Set([...this.#issuers.values()].flatMap(({ algorithms }) => [...algorithms.keys()]));
    const opaque = [...this.#issuers.values()].filter(({ introspection }) => introspection?.takesOpaque === true);
    this.#onlyOfOpaque = opaque.length === 1 ? opaque[0] : undefined;
    for (const { name, opaque_issuer: named } of options.routes ?? []) {
      const issuer = opaque.find((one) => one.issuer === named);
      if (issuer !== undefined) this.#ofRoutes.set(name, issuer);
    }
  }

  /** The issuer whose identifier equals `iss` byte for byte (RFC 9068 §4). */
  get(iss: unknown): TrustedIssuer | undefined {
    return typeof iss === 'string' ? this.#issuers.get(iss) : undefined;
  }

  /** The issuer that opaque tokens of a route come from; undefined where none are taken. */
  ofOpaqueTokens(route: string): TrustedIssuer | undefined {
    return this.#ofRoutes.get(route) ?? this.#onlyOfOpaque;
  }

  /** Whether any issuer may use a signature algorithm: what can be said before the issuer is known. */
  allow(alg: unknown): alg is string {
    return typeof alg === 'string' && this.#algorithms.has(alg);
  }

  /** The keys of an issuer, when they come from where `config` says; for `previous`. */
  keysFrom(config: IssuerConfig): Jwks | undefined {
    const own = this.#configs.get(config.issuer);
    const same = own !== undefined && own.jwks_uri === config.jwks_uri && own.jwks_file === config.jwks_file;
    return same ? this.#issuers.get(config.issuer)?.keys : undefined;
  }

  health(): readonly IssuerHealth[] {
    return [...this.#issuers.values()].map(({ issuer, keys, introspection }) => {
      const needsNoKeys = introspection?.takesOpaque === true && !introspection.needsKeys;
      return { issuer, needsNoKeys, ...keys.health() };
    });
  }

  /** Resolves when the loads under way have ended, well or not. */
  async settled(): Promise<void> {
    await Promise.all([...this.#issuers.values()].map(({ keys }) => keys.settled()));
  }

  close(): void {
    for (const { keys } of this.#issuers.values()) keys.close();
  }
}

/** The key that the gateway authenticates with at an issuer; null where it asks nothing. @throws Error when it cannot be used */
function openClientKey({ issuer, introspection }: IssuerConfig, log: TokenLog | undefined): SigningKeyFile | null {
  if (introspection === undefined) return null;
  return new SigningKeyFile(introspection.private_key_file, (problem) =>
    log?.warn({ issuer, problem }, 'the new key for introspection cannot be used; the old one stays'),
  );
}

function trust(config: IssuerConfig, clientKey: SigningKeyFile | null, options: IssuersOptions): TrustedIssuer {
  const { clock, log, previous } = options;
  const maxAgeMs = config.keys.max_age_seconds * 1000;
  const keys = new Jwks({
    load: loaderOf(config, clock),
    clock,
    maxAgeMs: config.jwks_file === undefined ? maxAgeMs : Math.min(maxAgeMs, FILE_AGE_MS),
    staleMs: config.keys.stale_seconds * 1000,
    cooldownMs: config.keys.cooldown_seconds * 1000,
    answerMs: Math.min(config.keys.timeout_ms, MAX_ANSWER_MS),
    onLoad: log === undefined ? undefined : reporter(config.issuer, log),
    previous: previous?.keysFrom(config),
  });
  const { issuer, introspection, status_list: lists } = config;
  const algorithms = allowedAlgorithms(config.algorithms);
  const common = { issuer, keys, clock, log };
  const asked = introspection !== undefined && clientKey !== null;
  return {
    issuer,
    algorithms,
    keys,
    introspection: asked ? new Introspection({ ...common, clientKey, config: introspection }) : null,
    statusRules: { config: lists ?? null, issuer, allowInsecure: config.allow_insecure },
    statusLists: lists === undefined ? null : new StatusLists({ ...common, algorithms, config: lists }),
  };
}

function loaderOf(config: IssuerConfig, clock: Clock): LoadKeys {
  if (config.jwks_file !== undefined) return loadFileKeys(config.jwks_file);
  return loadRemoteKeys({
    issuer: config.issuer,
    jwksUri: config.jwks_uri,
    timeoutMs: config.keys.timeout_ms,
    allowInsecure: config.allow_insecure,
    metadataAgeMs: config.keys.max_age_seconds * 1000,
    clock,
  });
}

/** Logs what changed, so that an outage is one line when it begins and one when it ends. */
function reporter(issuer: string, log: TokenLog): (health: JwksHealth) => void {
  let last = '';
  return ({ state, keys, skipped, problem }) => {
    const now = JSON.stringify([state, keys, skipped, problem]);
    if (now === last) return;
    last = now;
    const fields = { issuer, state, keys, skipped, ...(problem === null ? {} : { problem }) };
    if (problem === null) log.info(fields, 'keys of the issuer loaded');
    else log.warn(fields, 'keys of the issuer cannot be loaded');
  };
}
