import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerConfig } from '../config/agent_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import type { SigningKey } from '../oauth/signing_key.ts';
import { askBroker, type BrokerAnswer, type BrokerEndpoints, endJobAt, findBroker } from './broker_client.ts';
import { fetchIdentityToken, type Variables } from './identity.ts';
import { ServerMemory } from './server_memory.ts';
import { type AskedRights, type TokenSource, TokenUnavailable } from './token_source.ts';

/** What a broker is asked with. */
export interface BrokerSourceOptions {
  readonly config: BrokerConfig;
  readonly key: SigningKey;
  /** Where the identity token is looked for. */
  readonly variables: Variables;
  /** For one token, all attempts and waiting included. */
  readonly timeoutMs: number;
  readonly allowPlaintext: boolean;
  readonly clock: Clock;
}

/** Milliseconds for telling the broker that the job is over. */
const END_MS = 5000;
/** Times that nobody answered, after which it is given up. */
const UNANSWERED = 4;
const FIRST_PAUSE_MS = 250;
/** A clock that is further away than this is why a proof was refused. */
const SKEW_MS = 2000;

/** Gets a job's tokens from the broker, and ends the job there. */
export class BrokerSource implements TokenSource {
  readonly #options: BrokerSourceOptions;
  readonly #authorizationServer: ServerMemory;
  readonly #broker: ServerMemory;
  readonly #jobs = new Set<string>();
  #endpoints: BrokerEndpoints | null = null;

  constructor(options: BrokerSourceOptions) {
    this.#options = options;
    this.#authorizationServer = new ServerMemory(options.clock);
    this.#broker = new ServerMemory(options.clock);
  }

  async request(asked: AskedRights): Promise<IssuedToken> {
    const deadline = performance.now() + this.#options.timeoutMs;
    const left = () => Math.max(1, Math.ceil(deadline - performance.now()));
    let nonceUsed = false;
    let skewLearned = false;
    for (let unanswered = 0; ; ) {
      const offsetBefore = this.#authorizationServer.offsetMs;
      const answer = await this.#ask(asked, left());
      if (answer.kind === 'token') {
        this.#jobs.add(answer.jobId);
        return answer.token;
      }
      if (answer.kind === 'nonce' && !nonceUsed) {
        nonceUsed = true; // RFC 9449 §8: once more, with a new proof.
        continue;
      }
      if (answer.kind === 'nonce')
        throw new TokenUnavailable('the authorization server takes no nonce that it gave', true);
      const learned = Math.abs(this.#authorizationServer.offsetMs - offsetBefore) > SKEW_MS;
      if (learned && !skewLearned) {
        skewLearned = true;
        continue;
      }
      if (answer.kind === 'refused') throw new TokenUnavailable(answer.why, false);
      const pause = answer.afterMs > 0 ? answer.afterMs : FIRST_PAUSE_MS * 2 ** unanswered;
      if (answer.afterMs === 0 && ++unanswered >= UNANSWERED) throw new TokenUnavailable(answer.why, true);
      if (pause >= left()) throw new TokenUnavailable(answer.why, true);
      await sleep(pause);
    }
  }

  async end(): Promise<string | null> {
    const { key, clock } = this.#options;
    const problems: string[] = [];
    for (const job of this.#jobs) {
      const template = this.#endpoints?.jobEndEndpoint ?? '';
      const url = template.replace('{id}', encodeURIComponent(job));
      const problem = await endJobAt(url, { key, memory: this.#broker, timeoutMs: END_MS, clock });
      if (problem !== null) problems.push(problem);
    }
    return problems.length === 0 ? null : problems.join('; ');
  }

  async #ask(asked: AskedRights, timeoutMs: number): Promise<BrokerAnswer> {
    const { config, key, variables, allowPlaintext, clock } = this.#options;
    try {
      this.#endpoints ??= await findBroker(config, timeoutMs, allowPlaintext);
    } catch (error) {
      if (!(error instanceof TokenUnavailable) || !error.passing) throw error;
      return { kind: 'later', afterMs: 0, why: error.message };
    }
    const identityToken = await fetchIdentityToken(config.identity, { variables, timeoutMs }).catch((error: Error) => {
      throw new TokenUnavailable(error.message, false);
    });
    const memory = this.#authorizationServer;
    return askBroker({ config, endpoints: this.#endpoints, key, identityToken, memory, timeoutMs, clock }, asked);
  }
}
