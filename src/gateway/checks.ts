import type { Checks } from '../kernel/check.ts';
import type {
  AuthorizedRequest,
  Decision,
  Evidence,
  RequestContext,
  VerifiedProof,
  VerifiedToken,
} from '../kernel/context.ts';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';
import type { CallerRequest } from '../net/http_server.ts';
import type { Decide } from '../policy/decide.ts';
import type { ProofVerifier } from '../proof/verifier.ts';
import type { RateLimits } from '../rate/rate_limits.ts';
import type { BodyReader } from '../request/body.ts';
import { checkJobRuns, type JobKeys } from '../token/job_ended.ts';
import type { TokenVerifier } from '../token/verify_token.ts';

/** The stages that judge; shared by all requests. */
export interface Judges {
  readonly tokens: TokenVerifier;
  /** Null where jobs do not end before their tokens. */
  readonly endedKeys: JobKeys | null;
  readonly proofs: ProofVerifier;
  readonly bodies: BodyReader;
  readonly decide: Decide;
  readonly rates: RateLimits;
}

/** A request whose body has not been read. */
export interface PendingBody {
  readonly request: CallerRequest;
  /** True while the caller holds the body back (`Expect: 100-continue`). */
  readonly heldBack: boolean;
  /** Sends `100 Continue` once, when the caller waits for it. */
  askFor(): void;
  /** Called when the request is over, however it ended. */
  onOver(release: () => void): void;
}

/** The checks for one request: each stage, its time taken down in the evidence. Where a stage answers at once, so does this. */
export class TimedChecks implements Checks {
  readonly #judges: Judges;
  readonly #body: PendingBody;

  constructor(judges: Judges, body: PendingBody) {
    this.#judges = judges;
    this.#body = body;
  }

  verifyToken(context: RequestContext, evidence: Evidence): MaybePromise<Checked<VerifiedToken>> {
    const started = performance.now();
    const verified = this.#judges.tokens.verify(context);
    const token = this.#judges.endedKeys === null ? verified : this.#checkJob(verified, evidence);
    if (token instanceof Promise) return timed(token, { evidence, stage: 'token', started });
    evidence.timings.token = performance.now() - started;
    return token;
  }

  /** Whose job a refused token was of, the record says. */
  #checkJob(verified: MaybePromise<Checked<VerifiedToken>>, evidence: Evidence): MaybePromise<Checked<VerifiedToken>> {
    if (verified instanceof Promise) return verified.then((token) => this.#checkJob(token, evidence));
    if (!verified.ok) return verified;
    evidence.token = verified.value;
    return checkJobRuns(verified.value, this.#judges.endedKeys as JobKeys);
  }

  verifyProof(context: RequestContext, token: VerifiedToken, evidence: Evidence): MaybePromise<Checked<VerifiedProof>> {
    const started = performance.now();
    const proof = this.#judges.proofs.verify(context, token);
    if (proof instanceof Promise) return timed(proof, { evidence, stage: 'proof', started });
    evidence.timings.proof = performance.now() - started;
    return proof;
  }

  readBody(context: RequestContext): MaybePromise<Checked<RequestContext>> {
    const { request } = this.#body;
    return this.#judges.bodies.readBody(context, request, () => this.#body.askFor());
  }

  decide(context: RequestContext, token: VerifiedToken, proof: VerifiedProof, evidence: Evidence): Checked<Decision> {
    const started = performance.now();
    const decision = this.#judges.decide(context, token, proof, evidence);
    evidence.timings.policy = performance.now() - started;
    return decision;
  }

  admit(authorized: AuthorizedRequest): MaybePromise<Checked<AuthorizedRequest>> {
    if (authorized.decision.obligations.rateClasses.length === 0) return pass(authorized);
    return this.#admit(authorized);
  }

  async #admit(authorized: AuthorizedRequest): Promise<Checked<AuthorizedRequest>> {
    const admitted = await this.#judges.rates.admit(authorized);
    if (!admitted.ok) return admitted;
    this.#body.onOver(admitted.value);
    return pass(authorized);
  }
}

/** A stage that waits for somebody else. */
interface Waiting {
  readonly evidence: Evidence;
  readonly stage: 'token' | 'proof';
  readonly started: number;
}

async function timed<T>(result: Promise<T>, { evidence, stage, started }: Waiting): Promise<T> {
  try {
    return await result;
  } finally {
    evidence.timings[stage] = performance.now() - started;
  }
}
